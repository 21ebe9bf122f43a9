from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from styleflow.faces.align import (
    CROP_LONG_SIDE_PX,
    FFHQ_CENTRE,
    FFHQ_SIDE_PX,
    TEMPLATE,
    Affine,
    clip_alignment,
    compose,
    cut_crop,
    ffhq_alignment,
    ffhq_framing,
    similarity,
    warp,
)

GOLDEN = Path(__file__).parents[1] / "golden" / "alignment.npz"

coordinate = st.floats(-2000, 2000)


def applied(matrix: Affine, points: np.ndarray) -> np.ndarray:
    return np.asarray(points) @ matrix[:, :2].T + matrix[:, 2]


def gradient(width: int, height: int) -> np.ndarray:
    """Red grows with x, green with y, so that a pixel tells where it came from."""
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    return np.stack([x * 255 / width, y * 255 / height, np.zeros_like(x)], axis=2).astype(np.uint8)


def test_the_alignment_is_that_of_the_published_code() -> None:
    golden = np.load(GOLDEN)

    assert np.allclose(golden["template"], TEMPLATE, atol=1e-9, rtol=0)
    for landmarks, matrix in zip(golden["landmarks"], golden["matrix"], strict=True):
        assert np.allclose(clip_alignment(landmarks), matrix, atol=1e-9, rtol=1e-9)


def test_the_forward_fit_would_be_another_transform() -> None:
    landmarks = np.load(GOLDEN)["landmarks"][-1]
    forward = similarity(landmarks.reshape(-1, 2), np.tile(TEMPLATE, (32, 1)))

    assert not np.allclose(forward, clip_alignment(landmarks), rtol=1e-3)


@given(st.floats(0.05, 20), st.floats(-np.pi, np.pi), coordinate, coordinate)
def test_a_face_that_is_a_turned_and_scaled_template_is_taken_back_onto_it(
    scale: float, angle: float, x: float, y: float
) -> None:
    cosine, sine = scale * np.cos(angle), scale * np.sin(angle)
    placed = np.array([[cosine, -sine, x], [sine, cosine, y]])
    clip = np.repeat(applied(placed, TEMPLATE)[None], 32, axis=0)

    assert np.allclose(applied(clip_alignment(clip), clip[0]), TEMPLATE, atol=1e-6)


@given(st.permutations(range(32)), st.integers(0, 2**32 - 1))
def test_the_order_of_frames_does_not_matter(order: list[int], seed: int) -> None:
    clip = TEMPLATE + np.random.default_rng(seed).normal(0, 5, (32, 5, 2))

    assert np.allclose(clip_alignment(clip), clip_alignment(clip[order]), atol=1e-8)


def test_points_that_coincide_span_no_face() -> None:
    with pytest.raises(ValueError, match="no face"):
        clip_alignment(np.full((32, 5, 2), 7.0))


@pytest.mark.parametrize("size", [64, 256])
def test_the_ffhq_square_becomes_the_whole_picture(size: int) -> None:
    half = FFHQ_SIDE_PX / 2
    corners = np.array([[-half, -half], [half, half]]) + FFHQ_CENTRE

    assert np.allclose(applied(ffhq_framing(size), corners), [[-0.5, -0.5], [size - 0.5, size - 0.5]])


def test_ffhqs_rule_on_the_template_gives_the_square_that_one_transform_per_clip_uses() -> None:
    edges = np.array([[-0.5, 127.5], [255.5, 127.5]])
    rule = ffhq_alignment(TEMPLATE, 256)
    turned_back = np.column_stack([np.linalg.inv(rule[:, :2]), -np.linalg.inv(rule[:, :2]) @ rule[:, 2]])

    left, right = applied(turned_back, edges)

    assert (left + right) / 2 == pytest.approx(np.array(FFHQ_CENTRE), abs=0.1)
    assert np.hypot(*(right - left)) == pytest.approx(FFHQ_SIDE_PX, abs=0.5)
    assert abs(np.degrees(np.arctan2(*(right - left)[::-1]))) < 1.5


@pytest.mark.parametrize(
    ("points", "side"),
    [
        # Eyes 100 apart, mouth 90 below: the eyes decide, 4 * 100. Mouth 150 below: it does, 3.6 * 150.
        ([[0, 0], [100, 0], [50, 50], [20, 90], [80, 90]], 400.0),
        ([[0, 0], [100, 0], [50, 50], [20, 150], [80, 150]], 540.0),
    ],
)
def test_ffhqs_square_is_as_large_as_eyes_or_mouth_ask_for_and_a_tenth_below_the_eyes(
    points: list[list[float]], side: float
) -> None:
    five = np.array(points, dtype=np.float64)
    centre = np.array([50.0, 0.1 * five[3, 1]])
    corners = centre + np.array([[-side, -side], [side, -side], [side, side]]) / 2

    found = applied(ffhq_alignment(five, 256), corners)

    assert np.allclose(found, [[-0.5, -0.5], [255.5, -0.5], [255.5, 255.5]])


@given(st.floats(0.05, 20), st.floats(-np.pi, np.pi), coordinate, coordinate)
def test_ffhqs_framing_follows_a_face_that_turns_grows_and_moves(
    scale: float, angle: float, x: float, y: float
) -> None:
    cosine, sine = scale * np.cos(angle), scale * np.sin(angle)
    moved = applied(np.array([[cosine, -sine, x], [sine, cosine, y]]), TEMPLATE)

    assert np.allclose(
        applied(ffhq_alignment(moved, 256), moved), applied(ffhq_alignment(TEMPLATE, 256), TEMPLATE), atol=1e-6
    )


def test_composing_applies_the_inner_map_first() -> None:
    double, shift = np.array([[2.0, 0, 0], [0, 2.0, 0]]), np.array([[1.0, 0, 10], [0, 1.0, 20]])

    assert applied(compose(double, shift), np.array([1.0, 1.0])).tolist() == [22.0, 42.0]


def test_a_crop_is_the_box_grown_by_half_its_size_and_clipped() -> None:
    crop = cut_crop(gradient(400, 300), (100, 50, 200, 250))

    assert crop.pixels.shape == (300, 200, 3)
    assert applied(crop.to_frame, np.array([0.0, 0.0])).tolist() == [50.0, 0.0]


@pytest.mark.parametrize("box", [(-50.0, -50.0, -10.0, -10.0), (395.0, 295.0, 800.0, 700.0), (10.0, 10.0, 10.1, 10.1)])
def test_a_box_at_or_beyond_the_edge_still_has_pixels(box: tuple[float, float, float, float]) -> None:
    assert cut_crop(gradient(400, 300), box).pixels.size > 0


def test_a_crop_owns_its_pixels_so_that_the_frame_can_go() -> None:
    frame = gradient(400, 300)

    for box in [(100.0, 50.0, 200.0, 250.0), (0.0, 0.0, 400.0, 300.0)]:
        assert not np.shares_memory(cut_crop(frame, box).pixels, frame)


def test_a_large_crop_is_kept_small_and_still_knows_where_it_was() -> None:
    crop = cut_crop(gradient(2000, 1600), (500, 300, 1500, 1300))

    assert max(crop.pixels.shape) == CROP_LONG_SIDE_PX
    middle = np.array([200.0, 150.0])
    x, y = applied(crop.to_frame, middle)
    assert crop.pixels[150, 200, :2].astype(float) == pytest.approx([x * 255 / 2000, y * 255 / 1600], abs=2)


@pytest.mark.parametrize("scale", [0.12, 0.4, 0.7, 1.0, 2.5])
def test_every_pixel_of_a_warp_comes_from_its_place_in_the_frame(scale: float) -> None:
    frame = gradient(1200, 1000)
    to_picture = np.array([[scale, 0.0, -300 * scale], [0.0, scale, -200 * scale]])

    picture = warp(cut_crop(frame, (300, 200, 900, 800)), to_picture, 64)

    for column, row in [(10, 10), (40, 20), (55, 60)]:
        x, y = column / scale + 300, row / scale + 200
        if x < 900 and y < 800:
            assert picture[row, column, :2].astype(float) == pytest.approx([x * 255 / 1200, y * 255 / 1000], abs=2.5)


def test_a_strong_shrink_does_not_alias() -> None:
    stripes = np.zeros((480, 480, 3), np.uint8)
    stripes[:, ::2] = 200

    picture = warp(cut_crop(stripes, (120, 120, 360, 360)), np.array([[0.2, 0, 0], [0, 0.2, 0]]), 90)

    assert picture[10:80, 10:80].std() < 12
    assert picture[10:80, 10:80].mean() == pytest.approx(100, abs=4)


def test_what_lies_outside_the_crop_is_black() -> None:
    white = np.full((100, 100, 3), 255, np.uint8)

    picture = warp(cut_crop(white, (0, 0, 100, 100)), np.array([[1.0, 0, 50], [0, 1.0, 50]]), 256)

    assert not picture[:40].any()
    assert picture[60:140, 60:140].min() == 255
