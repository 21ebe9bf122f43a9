from __future__ import annotations

import copy
import dataclasses
from typing import get_args

import pytest
import torch
from torch import nn

from styleflow.models import fused_style_encoder
from styleflow.models.fused_style_encoder import FusedHeads, fused
from styleflow.models.sizes import COMPACT, PAPER, FlowLevel, StyleEncoderSizes
from styleflow.models.style_encoder import GradualStyleEncoder
from tests.models.named_values import drawn, filled, relative_error, shapes_of
from tests.models.small_networks import TINY

PAPER_LIKE = dataclasses.replace(PAPER.style_encoder, input_size=128, channels=(8, 16, 24, 32), style_width=32)
"""The paper's depths, levels and heads, on smaller pictures and with fewer channels."""


def plain(sizes: StyleEncoderSizes, seed: int) -> GradualStyleEncoder:
    encoder = GradualStyleEncoder(sizes)
    encoder.load_state_dict(filled(shapes_of(encoder), seed=seed))
    return encoder.eval().requires_grad_(False)


def crops_for(sizes: StyleEncoderSizes, count: int = 3, seed: int = 0) -> torch.Tensor:
    return drawn("crops", (count, 3, sizes.input_size, sizes.input_size), spread=0.5, seed=seed).clamp(-1, 1)


@pytest.mark.parametrize(
    "sizes", [TINY.style_encoder, COMPACT.style_encoder, PAPER_LIKE], ids=["tiny", "compact", "paper"]
)
@pytest.mark.parametrize("seed", [0, 7, 11])
def test_the_fused_encoder_equals_the_plain_one(sizes: StyleEncoderSizes, seed: int) -> None:
    encoder, crops = plain(sizes, seed), crops_for(sizes, seed=seed)
    expected = encoder(crops)

    found = fused(encoder)(crops)

    assert found.dtype == torch.float32
    assert found.shape == expected.shape
    # Style by style: a style that is small beside the others counts as much as they do.
    for style in range(sizes.styles):
        assert relative_error(found[:, style], expected[:, style]) <= 1e-4


@pytest.mark.parametrize("level", get_args(FlowLevel))
def test_only_the_heads_of_its_level_are_there_and_they_give_its_styles(level: FlowLevel) -> None:
    encoder, crops = plain(COMPACT.style_encoder, 7), crops_for(COMPACT.style_encoder)
    read = COMPACT.style_encoder.read_by(level)

    served = fused(encoder, level)

    assert relative_error(served(crops, level), encoder(crops)[:, read]) <= 1e-4
    assert sum(module.heads for module in served.modules() if isinstance(module, FusedHeads)) == read.stop - read.start


def test_a_level_that_it_was_not_made_for_is_refused() -> None:
    served = fused(plain(TINY.style_encoder, 7), "coarse")

    with pytest.raises(ValueError, match="computes coarse, not total"):
        served(crops_for(TINY.style_encoder), "total")


def test_the_encoder_that_it_was_made_from_is_left_as_it_was() -> None:
    encoder, crops = plain(TINY.style_encoder, 7), crops_for(TINY.style_encoder)
    before, expected = copy.deepcopy(encoder.state_dict()), encoder(crops)

    fused(encoder)(crops)

    assert all(torch.equal(value, before[name]) for name, value in encoder.state_dict().items())
    torch.testing.assert_close(encoder(crops), expected, rtol=1e-5, atol=1e-6)


def test_every_norm_is_folded_but_the_one_that_opens_a_unit() -> None:
    served = fused(plain(COMPACT.style_encoder, 7))

    norms = [name for name, module in served.named_modules() if isinstance(module, nn.BatchNorm2d)]

    assert norms == [f"body.{index}.norm" for index in range(sum(COMPACT.style_encoder.depths))]


def test_frames_are_put_through_in_chunks_that_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = TINY.style_encoder
    served, crops = fused(plain(sizes, 7)), crops_for(sizes, count=5)
    assert served.frames_at_once(crops) >= 5
    expected = served(crops)
    monkeypatch.setitem(fused_style_encoder.CHUNK_BYTES, "cpu", 2 * sizes.channels[0] * sizes.input_size**2 * 4)

    assert served.frames_at_once(crops) == 2
    torch.testing.assert_close(served(crops), expected, rtol=1e-5, atol=1e-6)


def test_a_chunk_is_at_least_one_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(fused_style_encoder.CHUNK_BYTES, "cpu", 1)

    assert fused(plain(TINY.style_encoder, 7)).frames_at_once(crops_for(TINY.style_encoder)) == 1
