from __future__ import annotations

import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from styleflow.models.sizes import (
    COMPACT,
    PAPER,
    SIZES,
    SMALL,
    ContentSizes,
    DetectorSizes,
    FlowLevel,
    MobileContentSizes,
    StyleEncoderSizes,
    size_name,
)
from tests.models.small_networks import TINY, TINY_MOBILE


@pytest.mark.parametrize("sizes", [*SIZES.values(), TINY, TINY_MOBILE])
def test_sizes_survive_the_card(sizes: DetectorSizes) -> None:
    assert DetectorSizes.from_json(json.loads(json.dumps(sizes.to_json()))) == sizes


def test_a_misspelt_or_senseless_size_in_a_card_is_an_error() -> None:
    misspelt = SMALL.to_json()
    misspelt["content"]["sterm"] = 3
    negative = SMALL.to_json()
    negative["content"]["stem"] = -3

    for card in (misspelt, negative, {}, None):
        with pytest.raises(ValueError, match="validation error"):
            DetectorSizes.from_json(card)


@pytest.mark.parametrize(
    ("part", "field", "value"),
    [
        ("content", "stem", 0),
        ("content", "stem", 3.0),
        ("content", "stem", "3"),
        ("content", "stem", True),
        ("content", "inner", [1, 2]),
        ("content", "backbone", "resnet"),
        ("content", "backbone", ["mobilenet_v2"]),
        ("content", "width", 128),
        ("style_gru", "level", "highest"),
        ("style_gru", "hidden", None),
        ("style_encoder", "input_size", 64.5),
    ],
)
def test_the_field_that_is_wrong_is_named(part: str, field: str, value: object) -> None:
    card = SMALL.to_json()
    card[part][field] = value

    with pytest.raises(ValueError, match=rf"^validation error at {part}\.{field}: "):
        DetectorSizes.from_json(card)


def test_a_number_in_a_row_of_numbers_is_named_by_its_place() -> None:
    card = SMALL.to_json()
    card["content"]["inner"][2] = -1

    with pytest.raises(ValueError, match=r"content\.inner\.2: must be a positive whole number, not -1$"):
        DetectorSizes.from_json(card)


def test_a_card_from_before_there_was_a_choice_of_backbones_means_the_resnet() -> None:
    card = SMALL.to_json()
    assert card["content"].pop("backbone") == "fully_temporal_resnet"

    assert DetectorSizes.from_json(card) == SMALL


def test_each_backbone_has_its_own_sizes_and_says_how_its_pictures_are_normalised() -> None:
    content = {name: sizes.content for name, sizes in SIZES.items()}

    assert [name for name, part in content.items() if isinstance(part, MobileContentSizes)] == ["compact"]
    assert [name for name, part in content.items() if isinstance(part, ContentSizes)] == ["small", "paper"]
    assert (content["compact"].mean, content["compact"].std) == ((0.5,) * 3, (0.5,) * 3)
    assert content["small"].mean == content["paper"].mean == (0.485, 0.456, 0.406)
    assert not {"mean", "std"} & COMPACT.to_json()["content"].keys()


def test_the_small_size_differs_from_the_compact_one_in_its_content_branch_only() -> None:
    assert dataclasses.replace(COMPACT, content=SMALL.content) == SMALL != COMPACT
    assert COMPACT.content.width == SMALL.content.width


def test_parts_that_do_not_fit_each_other_are_refused() -> None:
    with pytest.raises(ValueError, match="must split into tokens"):
        dataclasses.replace(COMPACT, style_gru=dataclasses.replace(COMPACT.style_gru, hidden=100))
    with pytest.raises(ValueError, match="even number of frames"):
        dataclasses.replace(COMPACT, clip_frames=31)
    with pytest.raises(ValueError, match="power of two"):
        dataclasses.replace(COMPACT.style_encoder, input_size=100)
    with pytest.raises(ValueError, match="power of two"):
        dataclasses.replace(COMPACT.style_encoder, input_size=2048)
    with pytest.raises(ValueError, match="multiple of 16 up to 1024"):
        dataclasses.replace(COMPACT.content, input_size=4194304)
    with pytest.raises(ValueError, match="multiple of 16"):
        dataclasses.replace(COMPACT.content, input_size=100)
    with pytest.raises(ValueError, match="multiple of 16"):
        dataclasses.replace(SMALL.content, input_size=100)


@given(counts=st.tuples(st.integers(1, 5), st.integers(1, 5), st.integers(1, 12)))
def test_the_levels_split_the_styles_without_gap_or_overlap(counts: tuple[int, int, int]) -> None:
    sizes = StyleEncoderSizes(
        input_size=64, depths=(1, 1, 1, 1), channels=(4, 4, 4, 4), style_width=4, styles_per_level=counts
    )

    parts = [style for level in sizes.levels() for style in range(level.start, level.stop)]

    assert parts == list(range(sizes.styles))


@pytest.mark.parametrize(
    ("level", "read"),
    [
        ("coarse", slice(0, 3)),
        ("middle", slice(3, 7)),
        ("fine", slice(7, 18)),
        ("middle+", slice(3, 18)),
        ("coarse+", slice(0, 7)),
        ("total", slice(0, 18)),
    ],
)
def test_the_six_levels_read_the_published_styles(level: FlowLevel, read: slice) -> None:
    assert PAPER.style_encoder.read_by(level) == read


def test_sizes_are_named() -> None:
    named = (COMPACT, SMALL, PAPER, TINY, TINY_MOBILE)

    assert [size_name(sizes) for sizes in named] == ["compact", "small", "paper", "custom", "custom"]


def test_attention_from_style_to_content_needs_as_many_style_tokens_as_content_tokens() -> None:
    assert dataclasses.replace(PAPER, style_attention="style_query").style_tokens == PAPER.content_tokens == 16
    with pytest.raises(ValueError, match=r"as many style tokens \(4\) as content tokens \(16\)"):
        dataclasses.replace(COMPACT, style_attention="style_query")


def test_a_card_from_before_there_were_variants_means_the_published_one() -> None:
    card = COMPACT.to_json()
    del card["style_attention"]

    assert DetectorSizes.from_json(card) == COMPACT


def test_the_level_and_the_roles_do_not_change_the_word_for_the_sizes() -> None:
    coarse = dataclasses.replace(PAPER.style_gru, level="coarse")

    assert size_name(dataclasses.replace(PAPER, style_gru=coarse, style_attention="style_query")) == "paper"
    assert size_name(dataclasses.replace(PAPER, style_gru=dataclasses.replace(coarse, hidden=2048))) == "custom"
