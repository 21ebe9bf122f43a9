from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from styleflow.training.resampling import blurred, displaced, landmark_shift, resized, sharpened


def noise(seed: int = 0, side: int = 32) -> Tensor:
    return torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(seed))


@settings(max_examples=20, deadline=None)
@given(st.floats(0.2, 6.0), st.integers(0, 100))
def test_a_blur_keeps_a_plain_picture_and_lessens_every_other_ones_variance(sigma: float, seed: int) -> None:
    plain = torch.full((1, 3, 20, 20), 0.25)

    torch.testing.assert_close(blurred(plain, sigma), plain)
    assert blurred(noise(seed), sigma).var() < noise(seed).var()


def test_no_blur_is_the_picture_itself() -> None:
    assert blurred(noise(), 0.0) is not None
    assert torch.equal(blurred(noise(), 0.0), noise())


def test_sharpening_raises_the_variance() -> None:
    assert sharpened(noise(), 0.5).var() > noise().var()


def test_shrinking_averages_over_what_a_new_pixel_covers() -> None:
    stripes = torch.zeros(1, 1, 32, 32)
    stripes[..., ::2] = 1.0

    assert (resized(stripes, 8)[..., 1:-1] - 0.5).abs().max() < 0.02


def test_no_displacement_is_the_picture_itself() -> None:
    torch.testing.assert_close(displaced(noise(), torch.zeros(2, 2, 4, 4)), noise(), rtol=0, atol=1e-5)


def test_a_displacement_reads_so_many_pixels_further_right() -> None:
    ramp = torch.arange(32.0).expand(1, 1, 32, 32)
    shift = torch.tensor([3.0, 0.0]).view(1, 2, 1, 1).expand(1, 2, 4, 4)

    torch.testing.assert_close(displaced(ramp, shift)[..., :-4], ramp[..., :-4] + 3.0, rtol=0, atol=1e-4)


@pytest.mark.parametrize(("right", "down"), [(4.0, 0.0), (0.0, -3.0), (2.5, 2.5)])
def test_moved_landmarks_are_read_from_where_they_came(right: float, down: float) -> None:
    generator = torch.Generator().manual_seed(3)
    target = 20 + 24 * torch.rand(1, 68, 2, generator=generator)
    source = target + torch.tensor([right, down])

    shift = landmark_shift(source, target, 64, cells=33, stiffness=0.0)

    middle = shift[0, :, 12:20, 12:20].flatten(1).mean(dim=1)
    torch.testing.assert_close(middle, torch.tensor([right, down]), rtol=0, atol=0.5)


def test_landmarks_that_stay_displace_nothing() -> None:
    marks = 20 + 24 * torch.rand(2, 68, 2, generator=torch.Generator().manual_seed(3))

    assert landmark_shift(marks, marks, 64).abs().max() < 1e-3
