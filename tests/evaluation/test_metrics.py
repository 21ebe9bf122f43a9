from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, brier_score_loss, roc_auc_score

from styleflow.evaluation.metrics import (
    CALIBRATION,
    DISCRIMINATION,
    accuracy,
    brier,
    calibration_quality,
    curve_measures,
    discrimination,
    equal_mass_bins,
    expected_calibration_error,
    paired_accuracy,
)
from styleflow.evaluation.scores import Scores

rows = st.lists(st.tuples(st.integers(0, 1), st.integers(-5, 5)), min_size=2, max_size=40)


def measures(labels: list[int], scores: list[float]) -> dict[str, float]:
    return curve_measures(np.asarray(labels), np.asarray(scores, np.float64))


@given(rows)
def test_auc_is_how_often_a_fake_scores_above_a_real_with_ties_half(drawn: list[tuple[int, int]]) -> None:
    fakes = [score for label, score in drawn if label]
    reals = [score for label, score in drawn if not label]
    assume(fakes and reals)
    wins = sum((fake > real) + 0.5 * (fake == real) for fake in fakes for real in reals)

    found = measures([label for label, _ in drawn], [float(score) for _, score in drawn])

    assert found["auc"] == pytest.approx(wins / len(fakes) / len(reals))


@given(rows)
def test_curve_measures_agree_with_their_library_and_keep_their_order(drawn: list[tuple[int, int]]) -> None:
    labels, scores = np.asarray([label for label, _ in drawn]), np.asarray([float(score) for _, score in drawn])
    assume(0 < labels.sum() < len(labels))
    found = curve_measures(labels, scores)

    assert found["auc"] == pytest.approx(roc_auc_score(labels, scores))
    assert found["ap"] == pytest.approx(average_precision_score(labels, scores))
    assert found["tpr@0.1%"] <= found["tpr@1%"] <= found["tpr@5%"]
    assert 0 <= found["eer"] <= 1


@given(rows)
def test_turning_all_scores_around_mirrors_auc_and_equal_error_rate(drawn: list[tuple[int, int]]) -> None:
    labels, scores = [label for label, _ in drawn], [float(score) for _, score in drawn]
    assume(0 < sum(labels) < len(labels))
    forward, backward = measures(labels, scores), measures(labels, [-score for score in scores])

    assert forward["auc"] + backward["auc"] == pytest.approx(1)
    assert forward["eer"] + backward["eer"] == pytest.approx(1)


def test_classes_that_are_apart_have_no_error() -> None:
    found = measures([0, 0, 1, 1], [-2, -1, 1, 2])

    assert found == pytest.approx(
        {"auc": 1, "ap": 1, "eer": 0, "tpr@0.1%": 1, "tpr@1%": 1, "tpr@5%": 1},
    )


def test_one_false_alarm_among_ten_reals_is_too_many_at_five_per_cent() -> None:
    found = measures([0] * 10 + [1, 1], [*range(10), 8.5, 9.5])

    assert found["tpr@5%"] == 0.5


def test_a_missing_class_leaves_every_curve_measure_undefined() -> None:
    assert all(math.isnan(value) for value in measures([1, 1], [0.0, 1.0]).values())
    assert all(math.isnan(value) for value in measures([], []).values())


def test_all_promised_measures_are_given() -> None:
    scores = Scores.of([0, 1], [0.2, 0.9], ["a", "b"])

    assert set(discrimination(scores)) == set(DISCRIMINATION)
    assert set(calibration_quality(scores.labels, scores.values)) == set(CALIBRATION)


def test_paired_accuracy_counts_a_tie_half_and_leaves_out_the_unpaired() -> None:
    assert paired_accuracy(np.asarray([1.0, -1.0, 0.0, np.nan])) == 0.5
    assert math.isnan(paired_accuracy(np.asarray([np.nan])))


def test_margins_are_between_a_fake_and_its_own_original() -> None:
    scores = Scores.of(
        [0, 1, 1], [1.0, 3.0, 5.0], ["a", "a", "b"], names=["r", "f", "g"], originals={"f": "r", "g": "gone"}
    )

    assert scores.margins[1] == 2.0
    assert np.isnan(scores.margins[[0, 2]]).all()


def test_accuracy_counts_a_score_at_the_threshold_as_fake() -> None:
    assert accuracy(np.asarray([0, 1, 1]), np.asarray([0.4, 0.5, 0.4]), 0.5) == pytest.approx(2 / 3)


@given(st.lists(st.tuples(st.integers(0, 1), st.floats(0, 1)), min_size=1, max_size=60))
def test_calibration_measures_lie_within_their_range_and_brier_agrees_with_its_library(
    drawn: list[tuple[int, float]],
) -> None:
    labels, p = np.asarray([label for label, _ in drawn]), np.asarray([value for _, value in drawn])

    assert brier(labels, p) == pytest.approx(brier_score_loss(labels, p, labels=[0, 1]))
    assert 0 <= expected_calibration_error(labels, p) <= 1
    assert sorted(np.concatenate(equal_mass_bins(p)).tolist()) == list(range(len(drawn)))


def test_a_probability_that_is_the_share_of_fakes_is_calibrated() -> None:
    labels, p = np.asarray([0, 1] * 50), np.full(100, 0.5)

    assert expected_calibration_error(labels, p, bins=1) == 0
    assert expected_calibration_error(labels, np.full(100, 0.9), bins=1) == pytest.approx(0.4)


def test_the_error_of_an_answer_never_given_is_undefined() -> None:
    quality = calibration_quality(np.asarray([0, 1]), np.asarray([0.1, 0.2]))

    assert math.isnan(quality["ece_fake"])
    assert not math.isnan(quality["ece_real"])


def test_a_score_that_is_not_finite_is_refused() -> None:
    with pytest.raises(ValueError, match="finite"):
        Scores.of([1], [math.nan], ["a"])
