"""Masks of faces from landmarks: laws that hold for every choice."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from styleflow.training.masks import HULLS, MaskChoice, draw_mask_choice, soft_masks

SIZE = 252
PLAIN = MaskChoice(hull="face", grow=0.0, feather=0.0, lift=0.6, bend_across=(), bend_down=())
seeds = st.integers(0, 2**31 - 1)
hulls = st.sampled_from(sorted(HULLS))


def drawn_face(frames: int = 3) -> Tensor:
    """[frames,68,2]: an egg of a jaw, straight brows, a cross of a nose, oval eyes and mouth; it sways a little."""

    def oval(count: int, x: float, y: float, wide: float, high: float) -> list[tuple[float, float]]:
        turns = [2 * math.pi * step / count for step in range(count)]
        return [(x + wide * math.cos(turn), y + high * math.sin(turn)) for turn in turns]

    jaw = [(126 - 60 * math.cos(math.pi * step / 16), 130 + 100 * math.sin(math.pi * step / 16)) for step in range(17)]
    brows = [(x, 106.0) for x in (72, 82, 92, 102, 112, 140, 150, 160, 170, 180)]
    nose = [(126.0, y) for y in (122, 134, 146, 158)] + [(x, 166.0) for x in (114, 120, 126, 132, 138)]
    eyes = oval(6, 96, 122, 10, 4) + oval(6, 156, 122, 10, 4)
    face = torch.tensor([*jaw, *brows, *nose, *eyes, *oval(20, 126, 190, 24, 9)])
    sway = torch.linspace(0, 3, frames).view(-1, 1, 1)
    return face + sway


def choice_of(seed: int, hull: str) -> MaskChoice:
    drawn = draw_mask_choice(torch.Generator().manual_seed(seed))
    low, high = HULLS[hull].grow
    return dataclasses.replace(drawn, hull=hull, grow=min(max(drawn.grow, low), high))


@given(seeds, hulls)
@settings(max_examples=25, deadline=None)
def test_masks_lie_between_zero_and_one_and_have_one_channel(seed: int, hull: str) -> None:
    masks = soft_masks(drawn_face(), SIZE, choice_of(seed, hull))
    assert masks.shape == (3, 1, SIZE, SIZE)
    assert masks.dtype == torch.float32
    assert 0 <= float(masks.min()) <= float(masks.max()) <= 1


@given(seeds, hulls)
@settings(max_examples=25, deadline=None)
def test_the_mouth_is_inside_every_mask_and_the_corners_are_outside(seed: int, hull: str) -> None:
    masks = soft_masks(drawn_face(), SIZE, choice_of(seed, hull))
    corners = masks[:, 0, [0, 0, -1, -1], [0, -1, 0, -1]]
    assert float(masks[:, 0, 190, 126].min()) > 0.4
    assert float(corners.max()) < 0.01


@given(seeds)
@settings(max_examples=25, deadline=None)
def test_the_same_generator_state_gives_the_same_mask(seed: int) -> None:
    first, second = (draw_mask_choice(torch.Generator().manual_seed(seed)) for _ in range(2))
    assert first == second
    assert torch.equal(soft_masks(drawn_face(), SIZE, first), soft_masks(drawn_face(), SIZE, second))


@given(seeds, hulls, st.integers(-5, 5), st.integers(-5, 5))
@settings(max_examples=25, deadline=None)
def test_a_clip_that_is_moved_gets_its_masks_moved(seed: int, hull: str, right: int, down: int) -> None:
    choice = dataclasses.replace(choice_of(seed, hull), feather=0.01)  # its tails stay clear of the picture's edge
    shift = torch.tensor([2.0 * right, 2.0 * down])
    still = soft_masks(drawn_face(), SIZE, choice)
    moved = soft_masks(drawn_face() + shift, SIZE, choice)
    expected = still.roll((2 * down, 2 * right), (2, 3))
    inner = slice(20, SIZE - 20)
    assert torch.allclose(moved[..., inner, inner], expected[..., inner, inner], atol=1e-3)


def test_each_frame_has_the_mask_of_its_own_landmarks() -> None:
    face = drawn_face(1)
    masks = soft_masks(torch.cat([face, face + torch.tensor([20.0, 0.0])]), SIZE, PLAIN)
    assert torch.allclose(masks[1], masks[0].roll(20, 2), atol=1e-3)


def test_a_plain_mask_covers_the_area_of_the_convex_hull() -> None:
    square = torch.tensor([[50.0, 60.0], [150.0, 60.0], [150.0, 140.0], [50.0, 140.0]])
    points = torch.cat([square, torch.tensor([[100.0, 100.0]]).expand(64, 2)])[None]
    area = float(soft_masks(points, SIZE, PLAIN).sum())
    assert area == pytest.approx(100 * 80, rel=0.01)


def test_growing_by_a_hundredth_moves_the_outline_by_a_hundredth_of_the_side() -> None:
    point = torch.full((1, 68, 2), 126.0)
    grown = soft_masks(point, SIZE, dataclasses.replace(PLAIN, grow=30 / SIZE))
    assert float(grown.sum()) == pytest.approx(math.pi * 30**2, rel=0.02)


@pytest.mark.parametrize("hull", sorted(HULLS))
def test_a_larger_growth_covers_at_least_as_much_everywhere(hull: str) -> None:
    low, high = HULLS[hull].grow
    small, large = (soft_masks(drawn_face(), SIZE, dataclasses.replace(PLAIN, hull=hull, grow=g)) for g in (low, high))
    assert bool((large >= small - 1e-6).all())
    assert float(large.sum()) > 1.1 * float(small.sum())


def test_a_larger_feather_softens_the_edge_and_keeps_the_area() -> None:
    sharp, soft = (
        soft_masks(drawn_face(), SIZE, dataclasses.replace(PLAIN, hull="inner", feather=f)) for f in (0.006, 0.04)
    )

    def steepest(masks: Tensor) -> float:
        return float(masks.diff(dim=3).abs().max())

    assert steepest(soft) < steepest(sharp) / 3
    assert float(soft.sum()) == pytest.approx(float(sharp.sum()), rel=0.01)


def test_the_extended_hull_reaches_up_the_forehead_and_no_further_down() -> None:
    face, extended = (soft_masks(drawn_face(), SIZE, dataclasses.replace(PLAIN, hull=h)) for h in ("face", "extended"))
    assert float(face[:, 0, 90, 126].max()) < 0.01
    assert float(extended[:, 0, 90, 126].min()) > 0.99
    assert torch.allclose(face[:, :, 150:], extended[:, :, 150:], atol=0.02)


def test_components_leave_the_cheeks_out_and_the_face_takes_them_in() -> None:
    parts, face = (
        soft_masks(drawn_face(), SIZE, dataclasses.replace(PLAIN, hull=h, grow=0.012)) for h in ("components", "face")
    )
    assert float(parts[:, 0, 150, 90].max()) < 0.01
    assert float(face[:, 0, 150, 90].min()) > 0.99
    assert float(parts[:, 0, 122, [96, 156]].min()) > 0.95


def test_bending_changes_the_outline_and_not_the_middle() -> None:
    bent = next(c for c in (choice_of(seed, "face") for seed in range(50)) if c.bend_across[0].strength > 0.008)
    straight = dataclasses.replace(bent, bend_across=(), bend_down=())
    first, second = (soft_masks(drawn_face(), SIZE, choice) for choice in (bent, straight))
    assert float((first - second).abs().max()) > 0.1
    assert float((first - second)[:, 0, 170, 126].abs().max()) < 0.01


def test_landmarks_that_all_lie_in_one_place_give_finite_masks() -> None:
    for hull in HULLS:
        masks = soft_masks(torch.zeros(2, 68, 2), SIZE, choice_of(1, hull))
        assert bool(masks.isfinite().all())


def test_every_hull_is_drawn() -> None:
    generator = torch.Generator().manual_seed(5)
    assert {draw_mask_choice(generator).hull for _ in range(200)} == set(HULLS)


def test_an_odd_size_is_covered_to_its_last_pixel() -> None:
    masks = soft_masks(torch.full((1, 68, 2), 40.0), 81, dataclasses.replace(PLAIN, grow=2.0))
    assert masks.shape == (1, 1, 81, 81)
    assert float(masks.min()) > 0.99
