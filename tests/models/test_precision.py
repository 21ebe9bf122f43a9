from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from styleflow.errors import ConfigurationError
from styleflow.models.detector import ClipOutput, StyleFlowDetector
from styleflow.models.precision import chosen_precision, has_bfloat16
from styleflow.models.sizes import COMPACT, PAPER, SMALL, DetectorSizes
from styleflow.models.style_gru import StyleGRU, last_states
from styleflow.models.weights import load_detector, preprocessing_of, write_random_pack
from styleflow.packs import COMPONENTS, Pack, PackCard, Training, WeightsFile, read_pack, sha256_of, write_card
from tests.models.named_values import drawn, filled, relative_error, shapes_of
from tests.models.small_networks import TINY, TINY_MOBILE, random_clips

REDUCED_PAPER = dataclasses.replace(
    PAPER,
    style_encoder=dataclasses.replace(PAPER.style_encoder, input_size=64, channels=(16, 32, 64, 128), style_width=128),
    style_gru=dataclasses.replace(PAPER.style_gru, hidden=256),
    content=dataclasses.replace(PAPER.content, input_size=64, stem=16, inner=(16, 32, 64)),
)
"""The paper's depths, heads, levels and clip, with a quarter of its channels."""

needs_bfloat16 = pytest.mark.skipif(
    not has_bfloat16(torch.device("cpu")), reason="this CPU has no instructions for bfloat16"
)


def filled_pack(directory: Path, sizes: DetectorSizes, seed: int) -> Pack:
    """A pack whose parameters follow the golden fill rule."""
    pack = write_random_pack(directory, sizes, seed=seed)
    with torch.device("meta"):
        shapes = shapes_of(StyleFlowDetector(sizes))
    save_file(filled(shapes, seed=seed), pack.weights_path)
    size, sha256 = pack.weights_path.stat().st_size, sha256_of(pack.weights_path)
    weights = pack.card.weights.model_copy(update={"sha256": sha256, "size_bytes": size})
    write_card(pack.card.model_copy(update={"weights": weights}), pack.directory)
    return read_pack(pack.directory)


def judged(pack: Pack, clips: tuple[Tensor, Tensor], precision: str, *, serving: bool) -> ClipOutput:
    with torch.inference_mode():
        output: ClipOutput = load_detector(pack, "cpu", precision, serving=serving)(*clips)
    return output


@needs_bfloat16
@pytest.mark.parametrize("serving", [False, True])
@pytest.mark.parametrize("sizes", [COMPACT, SMALL, REDUCED_PAPER], ids=["compact", "small", "reduced paper"])
@pytest.mark.parametrize("seed", [7, 8])
def test_bfloat16_moves_the_probability_by_at_most_a_hundredth(
    tmp_path: Path, seed: int, sizes: DetectorSizes, serving: bool
) -> None:
    pack = filled_pack(tmp_path, sizes, seed)
    clips = random_clips(sizes, clips=1, seed=seed)

    reference = judged(pack, clips, "float32", serving=False)
    reduced = judged(pack, clips, "bfloat16", serving=serving)

    assert 0 < (reduced.logit.sigmoid() - reference.logit.sigmoid()).abs().max().item() <= 0.01
    assert relative_error(reduced.flow_norms, reference.flow_norms) <= 0.05
    assert {value.dtype for value in vars(reduced).values()} == {torch.float32}


@pytest.fixture
def paper_pack(tmp_path: Path) -> Iterator[Pack]:
    """At the paper's size, filled by the golden rule; without the golden clip, whose logit costs three more forwards.

    Its 3.7 GB are taken away again: pytest keeps a test's folder.
    """
    path = tmp_path / "model.safetensors"
    with torch.device("meta"):
        shapes = shapes_of(StyleFlowDetector(PAPER))
    save_file(filled(shapes, seed=7), path)
    card = PackCard(
        name="styleflow-paper",
        version="filled-7",
        size="paper",
        sizes=PAPER.to_json(),
        components=COMPONENTS,
        weights=WeightsFile(sha256=sha256_of(path), size_bytes=path.stat().st_size),
        preprocessing=preprocessing_of(PAPER),
        calibration=None,
        training=Training(trained=False, statement="filled by the golden rule", seed=7),
        created=datetime(2026, 1, 1, tzinfo=UTC),
    )
    yield Pack(card, tmp_path)
    path.unlink()


@pytest.mark.skipif("PAPER_SIZE" not in os.environ, reason="takes minutes and 8 GB: set PAPER_SIZE=1")
@needs_bfloat16
def test_bfloat16_moves_the_probability_by_at_most_a_hundredth_at_the_papers_full_size(paper_pack: Pack) -> None:
    clips = random_clips(PAPER, clips=1, seed=7)

    reference = judged(paper_pack, clips, "float32", serving=False)
    reduced = judged(paper_pack, clips, "bfloat16", serving=True)

    assert 0 < (reduced.logit.sigmoid() - reference.logit.sigmoid()).abs().max().item() <= 0.01
    assert relative_error(reduced.flow_norms, reference.flow_norms) <= 0.05
    assert bool(reference.flow_norms.isfinite().all())


@needs_bfloat16
@pytest.mark.parametrize("sizes", [TINY, TINY_MOBILE], ids=["resnet", "mobile"])
def test_only_convolutions_and_the_grus_matrices_are_reduced(tmp_path: Path, sizes: DetectorSizes) -> None:
    pack = write_random_pack(tmp_path, sizes, seed=3)

    state = load_detector(pack, "cpu", "bfloat16").state_dict()

    reduced = {name for name, value in state.items() if value.dtype == torch.bfloat16}
    assert reduced == {
        name
        for name, value in state.items()
        if name.startswith("style_gru.gru.weight")
        or (name.startswith(("style_encoder.", "content.")) and value.dim() >= 4)
        or (name.startswith(("content.trunk.", "content.projection.")) and name.endswith(".bias"))
        or (name.startswith(("style_encoder.styles.", "style_encoder.latlayer")) and ".linear." not in name)
        or name in _prelu_slopes(state)
    }
    assert {value.dtype for name, value in state.items() if name not in reduced} == {torch.float32, torch.int64}


def _prelu_slopes(state: dict[str, Tensor]) -> set[str]:
    """Without a norm's neighbours, a one-dimensional parameter of the encoder's body is a slope."""
    return {
        name
        for name, value in state.items()
        if name.startswith("style_encoder.")
        and name.endswith(".weight")
        and value.dim() == 1
        and name.replace(".weight", ".running_var") not in state
    }


@needs_bfloat16
def test_a_face_that_stands_still_has_no_flow_in_bfloat16_either(tmp_path: Path) -> None:
    content, style = random_clips(TINY, clips=1)

    output = judged(
        write_random_pack(tmp_path, TINY, seed=3), (content, style[:, :1].expand_as(style)), "bfloat16", serving=True
    )

    assert not output.flow_norms.any()


@pytest.mark.parametrize("layers", [2, 3])
def test_the_gru_that_keeps_its_state_in_float32_is_torchs_own(layers: int) -> None:
    network = StyleGRU(features=10, hidden=6, steps=5, layers=layers)
    network.load_state_dict(filled(shapes_of(network)))
    network.eval().requires_grad_(False)
    steps, start = drawn("steps", (3, 5, 10)), drawn("start", (2 * layers, 3, 6))

    _, expected = network.gru(steps, start)

    torch.testing.assert_close(last_states(network.gru, steps, start), expected, rtol=1e-5, atol=1e-6)


def test_auto_is_float32_on_a_cpu_and_float16_on_cuda() -> None:
    assert chosen_precision("auto", "cpu") == "float32"
    assert chosen_precision("auto", "cuda:1") == "float16"


def test_a_precision_that_the_device_does_not_have_is_a_configuration_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigurationError, match="float16 needs an accelerator"):
        chosen_precision("float16", "cpu")
    with pytest.raises(ConfigurationError, match="must be one of auto, float32, bfloat16, float16"):
        chosen_precision("int4", "cpu")
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True, "avx512_bf16": False})
    with pytest.raises(ConfigurationError, match="CPU has no instructions for bfloat16; use float32"):
        chosen_precision("bfloat16", "cpu")


def test_a_cpu_that_multiplies_bfloat16_may_be_asked_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for instructions in ("avx512_bf16", "amx_bf16", "bf16"):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda name=instructions: {name: True})
        assert chosen_precision("bfloat16", "cpu") == "bfloat16"


def test_a_worker_that_cannot_have_its_precision_does_not_load_the_pack(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="float16 needs an accelerator"):
        load_detector(write_random_pack(tmp_path, TINY, seed=3), "cpu", "float16")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_an_accelerator_in_reduced_precision_moves_the_probability_by_at_most_a_hundredth(
    tmp_path: Path, precision: str
) -> None:
    pack = filled_pack(tmp_path, COMPACT, seed=7)
    content, style = random_clips(COMPACT, clips=2)
    reference = judged(pack, (content, style), "float32", serving=False)

    reduced = load_detector(pack, "cuda", precision, serving=True)(content.cuda(), style.cuda()).logit.cpu()

    assert (reduced.sigmoid() - reference.logit.sigmoid()).abs().max().item() <= 0.01
