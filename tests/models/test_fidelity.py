"""A published state dict, filled by the rule with any seed, through our names and our classes, against `by_hand`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import pytest
import torch
from torch import Tensor

from styleflow.models.detector import StyleFlowDetector
from styleflow.models.published import PSP, STAGE_TWO, STYLE_GRU, renamed
from styleflow.models.sizes import DetectorSizes, TransformerSizes
from styleflow.models.style_gru import StyleGRUClassifier
from tests.models import by_hand
from tests.models.named_values import drawn, filled, golden, relative_error, shapes_of
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


def published(sizes: DetectorSizes, prefixes: Mapping[str, str | None], seed: int) -> dict[str, Tensor]:
    """The part of the whole network that `prefixes` name, under its published names, filled by them."""
    back = {here: there for there, here in prefixes.items() if here is not None}
    shapes = {}
    for name, shape in shapes_of(StyleFlowDetector(sizes)).items():
        for here, there in back.items():
            if name.startswith(here):
                shapes[there + name.removeprefix(here)] = shape
    return filled(shapes, seed=seed)


def loaded(sizes: DetectorSizes, *states: dict[str, Tensor]) -> StyleFlowDetector:
    network = StyleFlowDetector(sizes)
    together: dict[str, Tensor] = {}
    for state in states:
        together |= state
    network.load_state_dict(together, strict=True)
    return network.eval().requires_grad_(False)


def all_parts(sizes: DetectorSizes, seed: int) -> tuple[dict[str, Tensor], dict[str, Tensor], dict[str, Tensor]]:
    psp, gru, stage_two = (published(sizes, prefixes, seed) for prefixes in (PSP, STYLE_GRU, STAGE_TWO))
    return psp, gru, stage_two


def whole(sizes: DetectorSizes, seed: int) -> StyleFlowDetector:
    psp, gru, stage_two = all_parts(sizes, seed)
    return loaded(sizes, renamed(psp, PSP), renamed(gru, STYLE_GRU), renamed(stage_two, STAGE_TWO))


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
    mixed = renamed(psp, PSP)
    one, other = "style_encoder.styles.3.convs.0.weight", "style_encoder.styles.4.convs.0.weight"
    mixed[one], mixed[other] = mixed[other], mixed[one]
    crops = random_clips(TINY, clips=1)[1][0]

    found = loaded(TINY, mixed, renamed(gru, STYLE_GRU), renamed(stage_two, STAGE_TWO)).style_encoder(crops)

    expected = by_hand.psp(psp, crops, TINY.style_encoder.depths, TINY.style_encoder.styles_per_level)
    assert relative_error(found, expected) > 1e-2
