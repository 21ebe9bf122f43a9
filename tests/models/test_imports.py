"""Who trains has torch, numpy and safetensors: the networks must not ask for more."""

from __future__ import annotations

import subprocess
import sys

import pytest

ABSENT = ("pydantic", "pydantic_core", "cv2", "av", "structlog", "torchvision", "facenet_pytorch", "rich", "typer")
NETWORKS = (
    "styleflow.components",
    "styleflow.models.content",
    "styleflow.models.detector",
    "styleflow.models.folding",
    "styleflow.models.fused_style_encoder",
    "styleflow.models.layout",
    "styleflow.models.mobile_content",
    "styleflow.models.precision",
    "styleflow.models.published",
    "styleflow.models.random_parameters",
    "styleflow.models.sizes",
    "styleflow.models.style_attention",
    "styleflow.models.style_encoder",
    "styleflow.models.style_gru",
    "styleflow.models.temporal_transformer",
)
PROGRAM = """
import sys
for name in {absent!r}:
    sys.modules[name] = None
import importlib
for name in {modules!r}:
    importlib.import_module(name)
from styleflow.models.sizes import COMPACT, DetectorSizes
assert DetectorSizes.from_json(COMPACT.to_json()) == COMPACT
"""


def imported(*modules: str) -> subprocess.CompletedProcess[str]:
    program = PROGRAM.format(absent=ABSENT, modules=modules)
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)


def test_networks_and_their_sizes_are_imported_where_only_torch_is_installed() -> None:
    done = imported(*NETWORKS)

    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("module", ["styleflow.packs", "styleflow.models.weights"])
def test_what_reads_cards_does_need_pydantic_so_the_test_above_can_fail(module: str) -> None:
    done = imported(module)

    assert done.returncode != 0
    assert "pydantic" in done.stderr
