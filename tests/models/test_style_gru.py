from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from styleflow.models.sizes import PAPER, FlowLevel
from styleflow.models.style_gru import LatentDropout, StyleGRU, StyleGRUClassifier
from tests.models.named_values import drawn, filled, golden, relative_error, shapes_of


def test_stage_one_reproduces_the_published_logit_and_embedding() -> None:
    network = StyleGRUClassifier(features=96, hidden=24, head_hidden=32)
    network.load_state_dict(filled(shapes_of(network)), strict=True)
    network.eval()

    with torch.inference_mode():
        logit, embedding = network(drawn("stylegru.input", (3, 31, 96)))

    expected = golden("style_gru")
    assert relative_error(logit, expected["logit"]) <= 1e-4
    assert relative_error(embedding, expected["embedding"]) <= 1e-4


def test_the_headless_network_gives_the_same_embedding() -> None:
    classifier = StyleGRUClassifier(features=96, hidden=24, head_hidden=32).eval()
    served = StyleGRU(features=96, hidden=24).eval()
    kept = {name: value for name, value in classifier.state_dict().items() if not name.startswith("dense.")}
    served.load_state_dict(kept, strict=True)
    flow = drawn("flow", (2, 31, 96))

    assert torch.equal(served(flow), classifier(flow)[1])


@pytest.mark.parametrize(
    ("level", "features", "parameters"),
    [
        ("coarse", 1536, 574_771_263),
        ("middle", 2048, 587_354_175),
        ("fine", 5632, 675_434_559),
        ("middle+", 7680, 725_766_207),
        ("coarse+", 3584, 625_102_911),
        ("total", 9216, 763_514_943),
    ],
)
def test_paper_size_has_the_published_number_of_parameters_at_every_level(
    level: FlowLevel, features: int, parameters: int
) -> None:
    read = PAPER.style_encoder.read_by(level)
    assert (read.stop - read.start) * PAPER.style_encoder.style_width == features
    with torch.device("meta"):
        network = StyleGRUClassifier(features=features, hidden=4096, head_hidden=4096)

    assert sum(parameter.numel() for parameter in network.parameters()) == parameters


@given(half=st.integers(1, 40), steps=st.integers(1, 5), batch=st.integers(1, 3), seed=st.integers(0, 2**31))
def test_latent_dropout_drops_both_halves_together_at_every_step_of_every_clip(
    half: int, steps: int, batch: int, seed: int
) -> None:
    dropout = LatentDropout(0.2).train()
    torch.manual_seed(seed)

    dropped = dropout(torch.ones(batch, steps, 2 * half))

    mask = dropped[0, 0, :half]
    assert set(mask.tolist()) <= {0.0, 1.25}
    assert torch.equal(dropped, mask.repeat(2).expand(batch, steps, -1))


def test_latent_dropout_is_absent_when_serving() -> None:
    flow = drawn("flow", (2, 31, 10))

    assert torch.equal(LatentDropout().eval()(flow), flow)
