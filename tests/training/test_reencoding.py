from __future__ import annotations

import dataclasses
import io

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor

from styleflow.training.chance import Chance
from styleflow.training.reencoding import Reencoding, reencoded


def face_like(frames: int = 4, side: int = 64) -> Tensor:
    """Smooth blobs with an edge, drifting to the right."""
    ys, xs = torch.meshgrid(torch.linspace(-1, 1, side), torch.linspace(-1, 1, side), indexing="ij")
    pictures = []
    for number in range(frames):
        disc = torch.sigmoid(20 * (0.6 - torch.hypot(xs - 0.02 * number, ys)))
        pictures.append(torch.stack([0.2 + 0.6 * disc, 0.3 + 0.3 * disc * (1 + xs), 0.5 - 0.3 * disc]))
    return torch.stack(pictures).clamp(0, 1)


def test_a_neutral_choice_leaves_the_clip_as_it_is() -> None:
    torch.testing.assert_close(reencoded(face_like(), Reencoding()), face_like())


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 100_000))
def test_whatever_is_drawn_gives_pictures_of_the_same_shape_within_0_and_1(seed: int) -> None:
    found = reencoded(face_like(), Reencoding.draw(Chance.seeded(seed)))

    assert found.shape == face_like().shape
    assert found.min() >= 0
    assert found.max() <= 1


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 100_000))
def test_the_same_choice_gives_the_same_pictures(seed: int) -> None:
    choice = Reencoding.draw(Chance.seeded(seed))

    assert torch.equal(reencoded(face_like(), choice), reencoded(face_like(), choice))


@pytest.mark.parametrize("predicted", [False, True])
def test_a_lower_quality_is_further_from_the_original(predicted: bool) -> None:
    clip = face_like()
    errors = [
        (reencoded(clip, Reencoding(quality=quality, predicted=predicted)) - clip).abs().mean().item()
        for quality in (95.0, 60.0, 20.0)
    ]

    assert errors == sorted(errors)
    assert errors[0] < 0.01


def test_a_quality_changes_a_picture_about_as_much_as_a_jpeg_library_does() -> None:
    picture = face_like(frames=1)
    grain = torch.rand(picture.shape, generator=torch.Generator().manual_seed(0)) * 0.2
    picture = (picture * 0.8 + grain).clamp(0, 1)
    levels = (picture[0].permute(1, 2, 0) * 255).round().byte().numpy()
    file = io.BytesIO()
    Image.fromarray(levels).save(file, "JPEG", quality=40, subsampling="4:2:0")
    theirs = np.asarray(Image.open(file)).astype(float) / 255

    ours = reencoded(torch.from_numpy(levels).permute(2, 0, 1)[None].float() / 255, Reencoding(quality=40.0))
    plain = levels.astype(float) / 255

    their_error = np.abs(theirs - plain).mean()
    our_error = np.abs(ours[0].permute(1, 2, 0).numpy() - plain).mean()
    assert 0.8 < our_error / their_error < 1.25
    assert np.abs(ours[0].permute(1, 2, 0).numpy() - theirs).mean() < 0.5 * their_error


def test_the_block_grid_begins_where_it_is_told() -> None:
    def edges(offset: tuple[int, int]) -> int:
        """The column, modulo 8, at which neighbours differ the most."""
        coded = reencoded(face_like(1), Reencoding(quality=5.0, offset=offset))
        steps = coded.diff(dim=3).abs().mean(dim=(0, 1, 2))
        return int(torch.stack([steps[phase::8].mean() for phase in range(8)]).argmax())

    assert edges((0, 0)) == 7
    assert edges((0, 3)) == 4


def test_a_flip_is_the_last_word_on_left_and_right() -> None:
    choice = Reencoding(flip=True)

    torch.testing.assert_close(reencoded(face_like(), choice), face_like().flip(3))
    assert dataclasses.replace(choice, flip=False) == Reencoding()
