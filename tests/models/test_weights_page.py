"""The Python of docs/concepts/weights.md runs as it stands, on small networks in place of the paper's."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from styleflow.models import sizes
from styleflow.models.published import STAGE_TWO
from styleflow.models.sizes import DetectorSizes
from styleflow.packs import CONTENT_ONLY
from tests.models.named_values import relative_error
from tests.models.official_states import content_only, official, write_checkpoints
from tests.models.small_networks import TINY, filled_detector

PAGE = (Path(__file__).parents[2] / "docs" / "concepts" / "weights.md").read_text()
BLOCKS = re.findall(
    r"^### (.+?)\n.*?```python\n(.*?)```", PAGE.partition("## From Python")[2], re.DOTALL | re.MULTILINE
)
SHAPES: dict[str, dict[str, tuple[int, ...]]] = {
    "pSp encoder": {"latents": (2, 6, 6)},
    "StyleGRU": {"embedding": (1, 32), "logit": (1, 1)},
    "FTCN: fully temporal ResNet and temporal transformer": {
        "tokens": (1, 4, 16),
        "logit": (1, 1),
        "attention": (1, 4),
    },
    "Stage 2 with style attention": {
        "fused": (1, 4, 16),
        "attention": (1, 4, 2),
        "logit": (1, 1),
        "content_logit": (1, 1),
    },
}


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs a block in a folder with the files that the page names, PAPER standing for TINY."""
    files = write_checkpoints(tmp_path)
    files["style_encoder"].rename(tmp_path / "psp_ffhq_encode.pt")
    files["style_gru"].rename(tmp_path / "style_gru.pth")
    files["stage_two"].rename(tmp_path / "stage2.pth")
    torch.save(content_only(official(STAGE_TWO)), tmp_path / "ftcn_tt.pth")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sizes, "PAPER", TINY)

    def run(block: str) -> dict[str, Any]:
        names: dict[str, Any] = {}
        exec(block, names)
        return names

    return run


def test_the_page_shows_each_of_the_four_networks() -> None:
    assert [title for title, _ in BLOCKS] == list(SHAPES)


@pytest.mark.parametrize(("title", "block"), BLOCKS, ids=list(SHAPES))
def test_a_block_runs_and_gives_what_its_comments_say(run: Any, title: str, block: str) -> None:
    found = run(block)

    for name, shape in SHAPES[title].items():
        assert found[name].shape == shape, name
        assert bool(found[name].isfinite().all())


def test_the_blocks_together_make_the_network_that_is_served(run: Any) -> None:
    parts: dict[str, Any] = {}
    for _, block in BLOCKS:
        parts |= run(block)
    content, style = torch.randn(1, 3, 8, 32, 32), torch.rand(1, 8, 3, 32, 32) * 2 - 1

    latents: Tensor = parts["encoder"](style[0])
    embedding = parts["gru"](latents.flatten(1).diff(dim=0)[None])
    stage_two = parts["stage_two"]
    logit, _ = stage_two.temporal_transformer(stage_two.fuse(stage_two.content(content), embedding)[0])

    served = filled_detector()
    state = parts["stage_two"].state_dict()
    state |= {f"style_encoder.{name}": value for name, value in parts["encoder"].state_dict().items()}
    state |= {f"style_gru.{name}": value for name, value in parts["gru"].state_dict().items()}
    served.load_state_dict(state, strict=True)
    assert relative_error(served(content, style).logit, logit[:, 0]) <= 1e-4


def test_what_the_page_says_about_names_is_so() -> None:
    assert f"components: [{', '.join(CONTENT_ONLY)}]" in PAGE
    roles = re.findall(r"^\| `(\w+)`[^|]*\|[^|]*\|[^|]*\|[^|]*\|", PAGE, re.MULTILINE)
    for name in roles:
        described = DetectorSizes.from_json(sizes.PAPER.to_json() | {"style_attention": name})
        assert described.style_attention == name
    assert len(roles) == 4
