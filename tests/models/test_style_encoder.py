from __future__ import annotations

import pytest
import torch

from styleflow.models.fused_style_encoder import fused
from styleflow.models.published import load_style_encoder
from styleflow.models.sizes import PAPER, FlowLevel
from styleflow.models.style_encoder import GradualStyleEncoder
from tests.models.named_values import drawn, filled, golden, relative_error, shapes_of
from tests.models.small_networks import TINY, filled_detector, random_clips


def test_paper_size_encoder_reproduces_the_published_one_plain_and_fused() -> None:
    with torch.device("meta"):
        encoder = GradualStyleEncoder(PAPER.style_encoder)
    shapes = shapes_of(encoder)
    assert len(shapes) == 621
    encoder = load_style_encoder({f"encoder.{name}": value for name, value in filled(shapes).items()})
    crops = drawn("psp.input", (2, 3, 256, 256), spread=0.5).clamp(-1, 1)

    with torch.inference_mode():
        latents = encoder(crops)
        fused_latents = fused(encoder)(crops)

    assert relative_error(latents, golden("psp_encoder")["latents"]) <= 1e-4
    assert relative_error(fused_latents, golden("psp_encoder")["latents"]) <= 1e-4


def test_paper_size_encoder_has_the_published_number_of_parameters() -> None:
    with torch.device("meta"):
        encoder = GradualStyleEncoder(PAPER.style_encoder)

    assert sum(parameter.numel() for parameter in encoder.parameters()) == 267_136_704


@pytest.mark.parametrize("level", ["coarse", "middle", "fine", "middle+", "coarse+"])
def test_a_level_alone_gives_the_same_styles_as_the_whole(level: FlowLevel) -> None:
    encoder = filled_detector().style_encoder
    crops = random_clips(TINY, clips=1)[1][0]

    whole = encoder(crops)

    torch.testing.assert_close(encoder(crops, level), whole[:, TINY.style_encoder.read_by(level)])


def test_each_crop_is_encoded_for_itself() -> None:
    encoder = filled_detector().style_encoder
    crops = random_clips(TINY, clips=1)[1][0]

    alone = torch.cat([encoder(crop[None]) for crop in crops])

    torch.testing.assert_close(encoder(crops), alone, rtol=1e-4, atol=1e-5)
