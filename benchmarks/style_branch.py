"""The style encoder plain and fused, both branches, and the whole network: milliseconds per clip of 32 frames.

    python -m benchmarks.style_branch [--sizes compact small paper] [--rounds N] [--precision float32 bfloat16]

Weights are random; the arithmetic does not depend on them. The plain and the fused style encoder take turns within
each round of one process, so that whatever else the machine does meets both; given are medians over rounds, the
least, and the median of each round's ratio. The whole network is measured one variant after the other, so that the
paper's fits into memory. CPU time per thread stands beside the wall clock's: on a busy machine it says more.
"""

from __future__ import annotations

import argparse
import copy
import functools
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from styleflow.models.fused_style_encoder import fused
from styleflow.models.precision import DTYPES, Precision, chosen_precision
from styleflow.models.sizes import SIZES, DetectorSizes
from styleflow.models.style_encoder import GradualStyleEncoder
from styleflow.models.weights import load_detector, write_random_pack
from styleflow.packs import Pack

Times = dict[str, list[float]]


def timed(call: Callable[[], object], device: torch.device) -> tuple[float, float]:
    """Milliseconds: wall clock, and CPU time per thread."""
    _settle(device)
    wall, cpu = time.perf_counter(), time.process_time()
    call()
    _settle(device)
    return (time.perf_counter() - wall) * 1e3, (time.process_time() - cpu) * 1e3 / torch.get_num_threads()


def _settle(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def alternating(variants: dict[str, Callable[[], object]], rounds: int, device: torch.device) -> tuple[Times, Times]:
    """Wall and CPU milliseconds of each variant in each round; one round before them is not counted."""
    walls: Times = {name: [] for name in variants}
    cpus: Times = {name: [] for name in variants}
    for number in range(rounds + 1):
        for name, call in variants.items():
            wall, cpu = timed(call, device)
            if number:
                walls[name].append(wall)
                cpus[name].append(cpu)
    return walls, cpus


def add_rows(table: Table, part: str, walls: Times, cpus: Times, *, alternatives: bool = True) -> None:
    """`alternatives`: the rows do the same thing, so that the first is what the others are faster than."""
    first = next(iter(walls))
    for name, times in walls.items():
        ratio = statistics.median(one / other for one, other in zip(walls[first], times, strict=True))
        cpu_ratio = statistics.median(one / other for one, other in zip(cpus[first], cpus[name], strict=True))
        table.add_row(
            part,
            name,
            f"{statistics.median(times):.0f}",
            f"{min(times):.0f}",
            f"{statistics.median(cpus[name]):.0f}",
            f"{ratio:.2f}" if alternatives else "",
            f"{cpu_ratio:.2f}" if alternatives else "",
        )


def style_branch(sizes: DetectorSizes, rounds: int, device: torch.device) -> tuple[Times, Times]:
    torch.manual_seed(0)
    plain = GradualStyleEncoder(sizes.style_encoder).eval().requires_grad_(False).to(device)
    served = fused(copy.deepcopy(plain))  # a copy: fusing lays what both would share out anew
    side = sizes.style_encoder.input_size
    crops = torch.rand(sizes.clip_frames, 3, side, side, device=device) * 2 - 1
    return alternating({"plain": lambda: plain(crops), "fused": lambda: served(crops)}, rounds, device)


def whole_network(pack: Pack, rounds: int, device: torch.device, precisions: list[Precision]) -> tuple[Times, Times]:
    content, style = clip_of(DetectorSizes.from_json(pack.card.sizes), device)
    walls: Times = {}
    cpus: Times = {}
    for serving, precision in [(False, "float32"), *((True, wish) for wish in precisions)]:
        detector = load_detector(pack, device, precision, serving=serving)
        name = f"{'serving' if serving else 'plain'} {precision}"
        wall, cpu = alternating({name: functools.partial(detector, content, style)}, rounds, device)
        walls |= wall
        cpus |= cpu
        del detector
    return walls, cpus


def branches(pack: Pack, rounds: int, device: torch.device, precision: Precision) -> tuple[Times, Times]:
    """As served: what is seen in the clip, what becomes of the style, and what both meet in."""
    content, style = clip_of(DetectorSizes.from_json(pack.card.sizes), device)
    detector = load_detector(pack, device, precision, serving=True)
    dtype = DTYPES[precision]
    flow = detector.style_flow(style).flatten(2)
    tokens, embedding = detector.content(content.to(dtype)), detector.style_gru(flow)
    parts: dict[str, Callable[[], object]] = {
        "content network": lambda: detector.content(content.to(dtype)),
        "style encoder, flow": lambda: detector.style_flow(style),
        "StyleGRU": lambda: detector.style_gru(flow),
        "attention, transformer": lambda: detector.temporal_transformer(detector.fuse(tokens, embedding)[0]),
    }
    return alternating({f"{name} {precision}": call for name, call in parts.items()}, rounds, device)


def clip_of(sizes: DetectorSizes, device: torch.device) -> tuple[Tensor, Tensor]:
    content_side, style_side = sizes.content.input_size, sizes.style_encoder.input_size
    content = torch.randn(1, 3, sizes.clip_frames, content_side, content_side, device=device)
    return content, torch.rand(1, sizes.clip_frames, 3, style_side, style_side, device=device) * 2 - 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", default=["compact"], choices=sorted(SIZES))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--precision", nargs="+", default=["float32"])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--only", choices=["style", "branches", "network"])
    asked = parser.parse_args()
    device = torch.device(asked.device)
    precisions = [chosen_precision(wish, device) for wish in asked.precision]
    columns = ("part", "variant", "ms median", "ms least", "CPU ms", "speed-up", "by CPU ms")
    table = Table(*columns, title=f"one clip of 32 frames, {torch.get_num_threads()} threads, {device}")
    with torch.inference_mode(), tempfile.TemporaryDirectory() as folder:
        for name in asked.sizes:
            if asked.only in (None, "style"):
                add_rows(table, f"style encoder, {name}", *style_branch(SIZES[name], asked.rounds, device))
            if asked.only == "style":
                continue
            pack = write_random_pack(Path(folder), SIZES[name], seed=0)
            if asked.only in (None, "branches"):
                for precision in precisions:
                    times = branches(pack, asked.rounds, device, precision)
                    add_rows(table, f"branches, {name}", *times, alternatives=False)
            if asked.only in (None, "network"):
                add_rows(table, f"network, {name}", *whole_network(pack, asked.rounds, device, precisions))
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
