from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from styleflow.evaluation.calibration import (
    CalibrationError,
    Scaling,
    ScalingWish,
    Synchronisation,
    cross_fitted,
    fit_scaling,
    identity_folds,
)
from styleflow.evaluation.metrics import brier
from styleflow.evaluation.scores import Scores


def drawn(count: int = 400, *, slope: float = 0.5, shift: float = -1.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:  # type: ignore[type-arg]
    """Logits, and labels that follow sigmoid(slope * logit + shift)."""
    random = np.random.default_rng(seed)
    logits = random.normal(0, 4, count)
    labels = (random.random(count) < Scaling(slope=slope, intercept=shift).probabilities(logits)).astype(int)
    return labels, logits


def test_platt_scaling_finds_the_line_that_made_the_labels() -> None:
    labels, logits = drawn(20000)
    found = fit_scaling(labels, logits, ScalingWish(method="platt"))

    assert found.slope == pytest.approx(0.5, abs=0.03)
    assert found.intercept == pytest.approx(-1.0, abs=0.08)


def test_platt_scaling_is_logistic_regression_but_for_its_targets() -> None:
    labels, logits = drawn(2000)
    theirs = LogisticRegression(C=1e9).fit(logits[:, None], labels)
    found = fit_scaling(labels, logits, ScalingWish())

    assert found.slope == pytest.approx(float(theirs.coef_[0, 0]), rel=0.02)


def test_a_temperature_has_no_intercept_and_lowers_the_loss() -> None:
    labels, logits = drawn(shift=0.0)
    found = fit_scaling(labels, logits, ScalingWish(method="temperature"))

    assert found.intercept == 0
    assert brier(labels, found.probabilities(logits)) < brier(labels, Scaling(slope=1).probabilities(logits))


def test_classes_that_are_apart_give_a_finite_slope() -> None:
    labels = np.asarray([0] * 10 + [1] * 10)
    found = fit_scaling(labels, np.where(labels == 1, 5.0, -5.0), ScalingWish())

    assert 0 < found.slope < 2


@given(st.floats(0.01, 100), st.floats(-50, 50))
def test_units_and_offset_of_the_logits_do_not_change_platt_probabilities(scale: float, offset: float) -> None:
    labels, logits = drawn(120)
    plain = fit_scaling(labels, logits, ScalingWish()).probabilities(logits)
    moved = fit_scaling(labels, logits * scale + offset, ScalingWish()).probabilities(logits * scale + offset)

    assert moved == pytest.approx(plain, abs=1e-3)


@pytest.mark.parametrize("method", ["platt", "temperature"])
def test_scores_that_point_the_wrong_way_are_refused(method: str) -> None:
    labels, logits = drawn(shift=0.0)
    with pytest.raises(CalibrationError, match="says nothing"):
        fit_scaling(labels, -logits, ScalingWish(method=method))  # type: ignore[arg-type]


def test_scores_that_are_all_the_same_are_refused() -> None:
    with pytest.raises(CalibrationError, match="says nothing"):
        fit_scaling(np.asarray([0, 1]), np.asarray([1.0, 1.0]), ScalingWish())


def test_one_class_alone_is_refused() -> None:
    with pytest.raises(CalibrationError, match="both classes"):
        fit_scaling(np.asarray([1, 1]), np.asarray([1.0, 2.0]), ScalingWish())


def test_the_share_of_fakes_that_is_assumed_moves_probabilities() -> None:
    labels, logits = drawn()
    few = fit_scaling(labels, logits, ScalingWish(fake_share=0.1)).probabilities(logits)
    many = fit_scaling(labels, logits, ScalingWish(fake_share=0.9)).probabilities(logits)

    assert few.mean() < 0.3 < 0.7 < many.mean()


def class_losses(labels: np.ndarray, p: np.ndarray) -> tuple[float, float]:  # type: ignore[type-arg]
    return float(-np.log(1 - p[labels == 0]).mean()), float(-np.log(p[labels == 1]).mean())


def test_synchronisation_brings_the_losses_of_the_classes_together() -> None:
    labels, logits = drawn(2000, shift=-2.0)
    assert 0.1 < labels.mean() < 0.4
    plain = fit_scaling(labels, logits, ScalingWish()).probabilities(logits)
    pulled = fit_scaling(labels, logits, ScalingWish(synchronisation=Synchronisation())).probabilities(logits)
    real, fake = class_losses(labels, plain)
    real_after, fake_after = class_losses(labels, pulled)

    assert abs(real_after - fake_after) < abs(real - fake)


def test_synchronisation_pulls_no_further_than_its_weights_allow() -> None:
    assert Synchronisation(alpha=1.0, beta=1.5).pull == pytest.approx(1.5 / (1 + np.exp(-(0.5**0.5))) - 0.75)
    labels, logits = drawn(shift=-2.0)
    nothing = ScalingWish(synchronisation=Synchronisation(beta=0.0))

    assert fit_scaling(labels, logits, nothing) == fit_scaling(labels, logits, ScalingWish())


@given(st.lists(st.sampled_from("abcdefg"), min_size=1, max_size=30), st.integers(2, 5))
def test_folds_hold_every_row_once_and_never_split_an_identity(people: list[str], folds: int) -> None:
    parts = identity_folds(people, folds, seed=3)
    homes = [{people[row] for row in part} for part in parts]

    assert sorted(np.concatenate(parts).tolist()) == list(range(len(people)))
    assert sum(len(home) for home in homes) == len(set(people))


def test_a_video_s_own_label_does_not_move_its_cross_fitted_probability() -> None:
    labels, logits = drawn(60)
    people = [str(number) for number in range(60)]
    flipped = labels.copy()
    flipped[7] = 1 - flipped[7]
    before, after = (
        cross_fitted(Scores.of(column.tolist(), logits.tolist(), people), ScalingWish(), folds=5, seed=0)
        for column in (labels, flipped)
    )

    assert before[7] == after[7]
    assert (before != after).any()
