from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from styleflow.faces.align import ALIGNED_PX, FFHQ_CENTRE, FFHQ_SIDE_PX
from styleflow.training import geometry
from styleflow.training.geometry import Geometry

SIZES = st.integers(1, 16).map(lambda sixteenths: 16 * sixteenths)


def test_the_compact_network_reads_192_of_252_pixels() -> None:
    compact = Geometry(192)

    assert (compact.wide_size, compact.content_left, compact.content_top) == (252, 30, 57)


def test_the_constants_are_those_of_faces_align() -> None:
    assert geometry.ALIGNED_PX == ALIGNED_PX
    assert geometry.FFHQ_CENTRE == FFHQ_CENTRE
    assert geometry.FFHQ_SIDE_PX == FFHQ_SIDE_PX


@given(SIZES)
def test_the_styles_square_is_ffhqs_to_a_pixel(size: int) -> None:
    wide, scale = Geometry(size), size / ALIGNED_PX
    left, top, side = wide.style_square

    assert side == pytest.approx(FFHQ_SIDE_PX * scale, abs=1)
    assert left == pytest.approx((wide.left_margin + FFHQ_CENTRE[0] - FFHQ_SIDE_PX / 2) * scale, abs=1)
    assert top == pytest.approx((wide.top_margin + FFHQ_CENTRE[1] - FFHQ_SIDE_PX / 2) * scale, abs=1)
    assert left >= 0
    assert top >= 0
    assert max(left, top) + side <= wide.wide_size


@given(SIZES)
def test_the_wide_picture_holds_ffhqs_square_but_for_half_a_pixel(size: int) -> None:
    wide = Geometry(size)
    x, y = FFHQ_CENTRE
    half = FFHQ_SIDE_PX / 2

    assert x - half >= -wide.left_margin
    assert y - half >= -wide.top_margin
    assert x + half <= wide.side - wide.left_margin
    assert y + half <= wide.side - wide.top_margin + 0.5


@given(SIZES)
def test_the_content_lies_on_whole_pixels_and_within(size: int) -> None:
    wide = Geometry(size)

    assert wide.content_left * ALIGNED_PX == wide.left_margin * size
    assert wide.content_top * ALIGNED_PX == wide.top_margin * size
    assert wide.wide_size * ALIGNED_PX == wide.side * size
    assert wide.content_left + size <= wide.wide_size
    assert wide.content_top + size <= wide.wide_size


@pytest.mark.parametrize("size", [112, 192, 224])
def test_the_wide_picture_has_an_even_side(size: int) -> None:
    assert Geometry(size).wide_size % 2 == 0
