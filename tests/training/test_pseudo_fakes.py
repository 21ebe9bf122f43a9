from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from styleflow.training.chance import Chance
from styleflow.training.pseudo_fakes import MAKERS, Material, PseudoFake, pseudo_fake
from tests.training.drawn_store import drawn_clip, drawn_landmarks

SIDE, FRAMES = 48, 8


def pictures(seed: int, frames: int = FRAMES) -> Tensor:
    return torch.from_numpy(drawn_clip(seed, SIDE, frames)).permute(0, 3, 1, 2).float() / 255


def material(seed: int = 0, *, photo: bool = False) -> Material:
    marks = torch.from_numpy(drawn_landmarks(SIDE, FRAMES))
    other = pictures(seed + 50, 1 if photo else FRAMES)
    return Material(pictures(seed), marks, other, marks[: len(other)])


KINDS = st.sampled_from(sorted(MAKERS))


@settings(max_examples=60, deadline=None)
@given(KINDS, st.integers(0, 10_000), st.booleans())
def test_a_fake_is_a_clip_of_the_same_shape_within_0_and_1(kind: str, seed: int, photo: bool) -> None:
    made = MAKERS[kind](material(photo=photo), Chance.seeded(seed))

    assert made.kind == kind
    assert made.clip.shape == (FRAMES, 3, SIDE, SIDE)
    assert made.mask.shape == (FRAMES, 1, SIDE, SIDE)
    for values in (made.clip, made.mask):
        assert torch.isfinite(values).all()
        assert values.min() >= 0
        assert values.max() <= 1


@settings(max_examples=40, deadline=None)
@given(KINDS, st.integers(0, 10_000))
def test_outside_its_mask_a_fake_is_the_original(kind: str, seed: int) -> None:
    given_clip = material()

    made = MAKERS[kind](given_clip, Chance.seeded(seed))

    untouched = (made.mask == 0).expand_as(made.clip)
    torch.testing.assert_close(made.clip[untouched], given_clip.clip[untouched])


@pytest.mark.parametrize("kind", sorted(MAKERS))
def test_inside_its_mask_a_fake_is_something_else(kind: str) -> None:
    changes = [_change(MAKERS[kind](material(), Chance.seeded(seed))) for seed in range(8)]

    assert sum(change > 1e-3 for change in changes) >= 6


def _change(made: PseudoFake) -> float:
    return float(((made.clip - material().clip).abs() * made.mask).sum() / made.mask.sum().clamp_min(1))


@settings(max_examples=20, deadline=None)
@given(KINDS, st.integers(0, 10_000))
def test_the_same_chance_makes_the_same_fake(kind: str, seed: int) -> None:
    first, second = (MAKERS[kind](material(), Chance.seeded(seed)) for _ in range(2))

    assert torch.equal(first.clip, second.clip)


def test_a_choice_is_made_once_per_clip_so_a_still_clip_gives_a_still_fake() -> None:
    still = material()
    still = Material(
        still.clip[:1].expand(FRAMES, -1, -1, -1), still.landmarks, still.other[:1], still.other_landmarks[:1]
    )

    for kind in ("self_blend", "reconstruction", "swap", "animation"):
        made = MAKERS[kind](still, Chance.seeded(4))
        assert made.clip.diff(dim=0).abs().max() < 1e-4, kind


def test_an_animated_picture_follows_the_landmarks() -> None:
    plain = material()
    drifting = plain.landmarks + torch.arange(FRAMES).view(-1, 1, 1) * torch.tensor([0.6, 0.0])
    still = plain.clip[:1].expand(FRAMES, -1, -1, -1)

    moves = []
    for seed in range(6):
        made = MAKERS["animation"](Material(still, drifting, still, drifting), Chance.seeded(seed))
        columns = made.clip.mean(dim=(1, 2))
        across = torch.arange(SIDE, dtype=torch.float32)
        bright = (columns - columns.min(dim=1, keepdim=True).values).square()
        moves.append(
            float((bright[-1] * across).sum() / bright[-1].sum() - (bright[0] * across).sum() / bright[0].sum())
        )

    assert sum(move > 0.5 for move in moves) >= 5


def test_a_swap_takes_the_other_face_in_the_colours_of_this_one() -> None:
    plain = material()
    made = [MAKERS["swap"](plain, Chance.seeded(seed)) for seed in range(10)]
    widest = max(made, key=lambda fake: float(fake.mask.sum()))
    inside = (widest.mask > 0.9).expand_as(widest.clip)

    def colour(clip: Tensor) -> Tensor:
        return (clip * inside).sum(dim=(0, 2, 3)) / inside.sum(dim=(0, 2, 3))

    assert (colour(widest.clip) - colour(plain.clip)).abs().max() < 0.12
    assert (colour(plain.other) - colour(plain.clip)).abs().max() > 0.12


def test_a_painter_that_is_given_is_used() -> None:
    plain = material()
    painted = Material(plain.clip, plain.landmarks, plain.other, plain.other_landmarks, torch.zeros_like)

    darkest = min(float(MAKERS["reconstruction"](painted, Chance.seeded(seed)).clip.mean()) for seed in range(12))

    assert darkest < float(plain.clip.mean()) - 0.02


def test_kinds_are_drawn_by_their_weights() -> None:
    kinds = {pseudo_fake(material(), Chance.seeded(n), {"swap": 1.0, "animation": 1.0}).kind for n in range(20)}

    assert kinds == {"swap", "animation"}
