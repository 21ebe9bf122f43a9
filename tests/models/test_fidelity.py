"""A published state dict, filled by the rule with any seed, through our names and our classes, against `by_hand`."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor

from styleflow.models.detector import StyleFlowDetector
from styleflow.models.published import (
    STAGE_TWO,
    STYLE_ENCODER,
    STYLE_GRU,
    load_stage_two,
    load_style_encoder,
    load_style_gru,
)
from styleflow.models.sizes import DetectorSizes, TransformerSizes
from styleflow.models.style_gru import StyleGRUClassifier
from tests.models import by_hand
from tests.models.named_values import drawn, filled, golden, relative_error, shapes_of
from tests.models.official_states import official_shapes
from tests.models.small_networks import TINY, random_clips

SEEDS = [0, 1, 7, 20261120]
OTHER = dataclasses.replace(
    TINY,
    style_encoder=dataclasses.replace(
        TINY.style_encoder, input_size=64, depths=(2, 1, 2, 1), channels=(5, 6, 7, 12), styles_per_level=(1, 2, 2)
    ),
    style_gru=dataclasses.replace(TINY.style_gru, hidden=12),
    content=dataclasses.replace(TINY.content, stem=5, inner=(3, 2, 3), depths=(2, 1, 3)),
    transformer=TransformerSizes(heads=3, head_width=4, mlp=9),
)
SIZES = [TINY, OTHER]


Parts = tuple[dict[str, Tensor], dict[str, Tensor], dict[str, Tensor]]


def all_parts(sizes: DetectorSizes, seed: int) -> Parts:
    """The three published state dicts, filled by their published names; pSp's names as its file has them."""
    psp = {f"encoder.{name}": shape for name, shape in official_shapes(STYLE_ENCODER, sizes).items()}
    gru, stage_two = (official_shapes(part, sizes) for part in (STYLE_GRU, STAGE_TWO))
    return filled(psp, seed=seed), filled(gru, seed=seed), filled(stage_two, seed=seed)


def loaded(sizes: DetectorSizes, parts: Parts) -> StyleFlowDetector:
    """The whole network, put together from what the public loaders give."""
    psp, gru, stage_two = parts
    together = load_stage_two(stage_two, sizes).state_dict()
    for part, network in (
        ("style_encoder", load_style_encoder(psp, sizes.style_encoder)),
        ("style_gru", load_style_gru(gru)),
    ):
        together |= {f"{part}.{name}": value for name, value in network.state_dict().items()}
    whole = StyleFlowDetector(sizes)
    whole.load_state_dict(together, strict=True)
    return whole.eval().requires_grad_(False)


def whole(sizes: DetectorSizes, seed: int) -> StyleFlowDetector:
    return loaded(sizes, all_parts(sizes, seed))


def test_what_was_written_by_hand_is_itself_the_published_style_gru() -> None:
    state = filled(shapes_of(StyleGRUClassifier(features=96, hidden=24, head_hidden=32)))

    embedding = by_hand.style_gru(state, drawn("stylegru.input", (3, 31, 96)))

    assert relative_error(embedding, golden("style_gru")["embedding"]) <= 1e-4
    assert relative_error(by_hand.style_gru_head(state, embedding), golden("style_gru")["logit"]) <= 1e-4


@pytest.mark.parametrize("seed", SEEDS)
def test_stage_one_with_its_head_is_the_published_one_for_any_parameters(seed: int) -> None:
    network = StyleGRUClassifier(features=20, hidden=6, head_hidden=5, steps=7).eval()
    state = filled(shapes_of(network), seed=seed)
    network.load_state_dict(state)
    flow = drawn("flow", (3, 7, 20), seed=seed)

    with torch.inference_mode():
        logit, embedding = network(flow)

    assert relative_error(embedding, by_hand.style_gru(state, flow)) <= 1e-4
    assert relative_error(logit, by_hand.style_gru_head(state, embedding)) <= 1e-4


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("seed", SEEDS)
def test_the_style_encoder_is_the_published_one_for_any_parameters(seed: int, sizes: DetectorSizes) -> None:
    psp, _, _ = all_parts(sizes, seed)
    crops = random_clips(sizes, clips=1, seed=seed)[1][0]

    found = whole(sizes, seed).style_encoder(crops)

    expected = by_hand.psp(psp, crops, sizes.style_encoder.depths, sizes.style_encoder.styles_per_level)
    assert relative_error(found, expected) <= 1e-4


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("seed", SEEDS)
def test_the_whole_network_is_the_published_one_for_any_parameters(seed: int, sizes: DetectorSizes) -> None:
    psp, gru, stage_two = all_parts(sizes, seed)
    clip, crops = random_clips(sizes, clips=2, seed=seed)

    found = whole(sizes, seed)(clip, crops)

    latents = torch.stack(
        [
            by_hand.psp(psp, of_clip, sizes.style_encoder.depths, sizes.style_encoder.styles_per_level)
            for of_clip in crops
        ]
    )
    flow = latents[:, 1:] - latents[:, :-1]
    tokens = by_hand.content(stage_two, clip, sizes.content.depths)
    fused = by_hand.style_attention(stage_two, tokens, by_hand.style_gru(gru, flow.flatten(2)))
    logit = by_hand.temporal_transformer(stage_two, fused, sizes.transformer.heads)
    assert relative_error(found.logit, logit[:, 0]) <= 1e-4
    coarse, middle, fine = (flow[:, :, part].flatten(2).norm(dim=2) for part in sizes.style_encoder.levels())
    assert relative_error(found.flow_norms, torch.stack([coarse, middle, fine], dim=2)) <= 1e-4


def test_two_parameters_that_change_places_are_noticed() -> None:
    """The comparison above can fail: heads of one shape exchanged give other styles."""
    psp, gru, stage_two = all_parts(TINY, 0)
    one, other = "encoder.styles.3.convs.0.weight", "encoder.styles.4.convs.0.weight"
    mixed = psp | {one: psp[other], other: psp[one]}
    crops = random_clips(TINY, clips=1)[1][0]

    found = loaded(TINY, (mixed, gru, stage_two)).style_encoder(crops)

    expected = by_hand.psp(psp, crops, TINY.style_encoder.depths, TINY.style_encoder.styles_per_level)
    assert relative_error(found, expected) > 1e-2
