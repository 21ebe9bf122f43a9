"""Loading holds one copy of the network. Measured from outside the loader: anonymous memory of a fresh process."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from styleflow.models.precision import has_bfloat16
from styleflow.models.sizes import PAPER
from styleflow.models.weights import write_random_pack
from styleflow.packs import Pack
from tests.models.small_networks import TINY

SIZES = dataclasses.replace(
    PAPER,
    style_encoder=dataclasses.replace(PAPER.style_encoder, input_size=64, channels=(8, 16, 32, 176), style_width=176),
    style_gru=dataclasses.replace(PAPER.style_gru, hidden=512),
    content=dataclasses.replace(PAPER.content, input_size=32, stem=8, inner=(8, 16, 128)),
)
"""As in the paper's network, the heads that are fused and the StyleGRU make up nearly all of it."""

PROGRAM = """
import json, sys, threading
from pathlib import Path
from styleflow.models.weights import load_detector
from styleflow.packs import read_pack

def resident():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon"))

pack, tiny = read_pack(Path(sys.argv[1])), read_pack(Path(sys.argv[2]))
load_detector(tiny, "cpu", sys.argv[3], serving=True)  # what torch keeps from its first use is not the pack's
before, peak, done = resident(), 0, threading.Event()

def watch():
    global peak
    while not done.wait(0.001):
        peak = max(peak, resident())

watcher = threading.Thread(target=watch)
watcher.start()
detector = load_detector(pack, "cpu", sys.argv[3], serving=True)
done.set()
watcher.join()
print(json.dumps({"peak": peak - before, "after": resident() - before}))
"""


@pytest.fixture(scope="module")
def packs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Pack, Pack]:
    directory = tmp_path_factory.mktemp("packs")
    return write_random_pack(directory, SIZES, seed=1), write_random_pack(directory, TINY, seed=2)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
@pytest.mark.parametrize(("precision", "copies"), [("float32", 1.2), ("bfloat16", 0.85)])
def test_loading_for_serving_never_holds_a_second_copy(packs: tuple[Pack, Pack], precision: str, copies: float) -> None:
    pack, tiny = packs
    if precision == "bfloat16" and not has_bfloat16(torch.device("cpu")):
        pytest.skip("this CPU has no instructions for bfloat16")
    program = [sys.executable, "-c", PROGRAM, str(pack.directory), str(tiny.directory), precision]
    run = subprocess.run(program, capture_output=True, text=True, timeout=120, check=True)

    memory = json.loads(run.stdout)

    assert memory["peak"] <= copies * pack.card.weights.size_bytes
    assert memory["after"] >= 0.4 * pack.card.weights.size_bytes  # it was seen at all
