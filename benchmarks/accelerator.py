"""The paper-size network end to end on an accelerator: milliseconds per clip, share of the card's rate, memory.

    python -m benchmarks.accelerator [--precision bfloat16 float16] [--batch 1 8 32] [--rounds N]

Random weights through the same loading as in service (fused style branch, folded norms). The card's rate is that of an
8192-cubed matrix product in the same precision, measured in the same process. A clip is 2 x (66.6 + 32 x 72.5 + 19.5)
GFLOP: content network, style encoder on 32 frames, StyleGRU (multiply and add count as two).
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from styleflow.models.precision import DTYPES, Precision
from styleflow.models.sizes import PAPER
from styleflow.models.weights import load_detector, write_random_pack

CLIP_FLOP = 2e9 * (66.6 + 32 * 72.5 + 19.5)
SIDE = 8192


def milliseconds(call: Callable[[], object], rounds: int) -> list[float]:
    """Times by the device's own events, after three calls that are not counted."""
    for _ in range(3):
        call()
    times = []
    for _ in range(rounds):
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        call()
        end.record()
        end.synchronize()
        times.append(start.elapsed_time(end))
    return times


def matrix_rate(precision: Precision, rounds: int) -> float:
    """FLOP per second of a large matrix product."""
    left, right = (torch.randn(SIDE, SIDE, device="cuda").to(DTYPES[precision]) for _ in range(2))
    return float(2 * SIDE**3 / (statistics.median(milliseconds(lambda: left @ right, rounds)) / 1e3))


def inputs(batch: int) -> tuple[Tensor, Tensor]:
    """Content [B,3,32,224,224] and style [B,32,3,256,256], float32."""
    generator = torch.Generator("cuda").manual_seed(7)
    content = torch.randn(batch, 3, 32, 224, 224, device="cuda", generator=generator)
    return content, torch.rand(batch, 32, 3, 256, 256, device="cuda", generator=generator) * 2 - 1


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--precision", nargs="+", default=["bfloat16", "float16"])
    parser.add_argument("--batch", nargs="+", type=int, default=[1, 8, 32])
    parser.add_argument("--rounds", type=int, default=10)
    arguments = parser.parse_args()
    lines = [torch.cuda.get_device_name()]
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        pack = write_random_pack(Path(folder), PAPER, seed=0)
        reference = load_detector(pack, "cuda", "float32")
        content, style = inputs(1)
        expected = torch.sigmoid(reference(content, style).logit.double()).item()
        del reference
        for precision in arguments.precision:
            torch.cuda.empty_cache()
            network = load_detector(pack, "cuda", precision, serving=True)
            rate = matrix_rate(precision, arguments.rounds)
            found = torch.sigmoid(network(content, style).logit.double()).item()
            lines.append(
                f"{precision}: product {rate / 1e12:.0f} TFLOP/s, |d sigmoid| to float32 {abs(found - expected):.5f}"
            )
            for batch in arguments.batch:
                torch.cuda.reset_peak_memory_stats()
                given = inputs(batch)
                per_clip = statistics.median(milliseconds(lambda: network(*given), arguments.rounds)) / batch  # noqa: B023
                share = CLIP_FLOP / (per_clip / 1e3) / rate
                memory = torch.cuda.max_memory_allocated() / 2**30
                lines.append(
                    f"  batch {batch:2}: {per_clip:8.2f} ms per clip, {share:5.1%} of that rate, peak {memory:.1f} GiB"
                )
    print("\n".join(lines))  # noqa: T201


if __name__ == "__main__":
    main()
