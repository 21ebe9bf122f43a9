from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from styleflow.training.reconstruction import (
    LossWeights,
    face_weights,
    laplacian_pyramid,
    reconstruction_loss,
    summed,
    weighted_error,
)

ALL = torch.ones(2, dtype=torch.bool)


def pictures(seed: int, count: int = 4) -> torch.Tensor:
    return torch.rand(count, 3, 16, 16, generator=torch.Generator().manual_seed(seed)) * 2 - 1


@settings(deadline=None)
@given(seed=st.integers(0, 1000), levels=st.integers(1, 4))
def test_the_bands_of_a_pyramid_sum_back_to_the_picture(seed: int, levels: int) -> None:
    bands = laplacian_pyramid(pictures(seed), levels)

    assert len(bands) == levels
    torch.testing.assert_close(summed(bands), pictures(seed))


def test_the_same_pictures_cost_nothing_and_others_something() -> None:
    same, parts = reconstruction_loss(pictures(1), pictures(1), ALL, LossWeights())
    other, _ = reconstruction_loss(pictures(1), pictures(2), ALL, LossWeights())

    assert same.item() == pytest.approx(0, abs=1e-6)
    assert other.item() > 0.5
    assert set(parts) == {"pixels", "pyramid", "change"}


def test_a_constant_offset_costs_no_change() -> None:
    _, parts = reconstruction_loss(pictures(1) + 0.1, pictures(1), ALL, LossWeights())

    assert parts["pixels"] == pytest.approx(0.1, rel=1e-4)
    assert parts["change"] == pytest.approx(0, abs=1e-6)


def test_pairs_that_are_not_neighbours_have_no_change() -> None:
    _, parts = reconstruction_loss(pictures(1), pictures(2), ~ALL, LossWeights())

    assert "change" not in parts


def test_the_middle_of_the_face_counts_more() -> None:
    weights = face_weights(16, face=4)
    wanted = torch.zeros(1, 3, 16, 16)
    mouth, corner = wanted.clone(), wanted.clone()
    mouth[:, :, 10, 8], corner[:, :, 0, 0] = 1, 1

    assert weights.mean().item() == pytest.approx(1)
    assert weighted_error(mouth, wanted, 4) > 3 * weighted_error(corner, wanted, 4) > 0


def test_features_are_compared_and_only_what_was_made_learns() -> None:
    made, wanted = pictures(1).requires_grad_(), pictures(2).requires_grad_()
    weights = LossWeights(pixels=0, pyramid=0, change=0, features=2)

    loss, parts = reconstruction_loss(made, wanted, ALL, weights, features=lambda x: x.mean(dim=(2, 3)))
    loss.backward()  # type: ignore[no-untyped-call]

    assert loss.item() == pytest.approx(2 * parts["features"])
    assert made.grad is not None
    assert bool(made.grad.abs().sum() > 0)
    assert wanted.grad is None or not bool(wanted.grad.any())
