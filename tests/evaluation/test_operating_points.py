from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from styleflow.evaluation.calibration import CalibrationError, ScalingWish
from styleflow.evaluation.operating_points import Rates, calibrate, choose_points, exact_bounds, threshold_for
from styleflow.evaluation.predictions import video_scores
from styleflow.evaluation.scores import Scores
from tests.evaluation.made_predictions import predictions

RATES = Rates(weak=0.2, suspicious=0.1, strong=0.05, cleared_fakes=0.2)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=60), st.floats(0, 1))
def test_no_more_reals_than_allowed_reach_a_threshold(reals: list[float], rate: float) -> None:
    column = np.asarray(reals)
    threshold = threshold_for(column, rate)

    assert (column >= threshold).sum() <= rate * len(reals) + 1e-6


def test_a_threshold_lies_halfway_in_the_gap_below_the_allowed_reals() -> None:
    assert threshold_for(np.asarray([0.1, 0.2, 0.3, 0.9]), 0.25) == pytest.approx(0.6)


def test_thresholds_come_from_reals_and_rise_with_the_word() -> None:
    held_out = video_scores(predictions(people=40))
    fitted = calibrate(held_out, wish=ScalingWish(), rates=RATES, measured_on="drawn", policy="default")
    steps = fitted.calibration.thresholds

    assert 0 < steps.weak <= steps.suspicious <= steps.strong < 1
    assert fitted.calibration.slope > 0
    for point in fitted.points:
        assert point.wrong <= point.allowed * point.wrong_of


def test_a_rate_that_too_few_people_support_never_accuses() -> None:
    held_out = video_scores(predictions(people=10))
    probabilities = 1 / (1 + np.exp(-held_out.values))
    points = {point.word: point for point in choose_points(held_out, probabilities, RATES)}

    assert (points["strong"].supported, points["strong"].threshold) == (False, 1.0)
    assert points["weak"].supported
    assert points["weak"].threshold < 1


def test_many_videos_of_one_person_support_no_rate() -> None:
    scores = Scores.of([0] * 50 + [1] * 50, np.linspace(0, 1, 100).tolist(), ["one"] * 100)
    points = choose_points(scores, scores.values, RATES)

    assert not any(point.supported for point in points)
    assert [point.threshold for point in points] == [0.0, 1.0, 1.0, 1.0]


def test_a_weak_detector_abstains_over_a_wide_band_and_a_strong_one_over_none() -> None:
    def band(gap: float) -> tuple[float, float] | None:
        held_out = video_scores(predictions(people=60, gap=gap))
        return calibrate(held_out, wish=ScalingWish(), rates=RATES, measured_on="drawn", policy="default").abstain

    poor = band(0.7)

    assert poor is not None
    assert poor[0] < poor[1]
    assert band(8.0) is None


def test_the_band_leaves_no_more_fakes_cleared_and_no_more_reals_accused_than_allowed() -> None:
    held_out = video_scores(predictions(people=60, gap=1.0))
    fitted = calibrate(held_out, wish=ScalingWish(), rates=RATES, measured_on="drawn", policy="default")
    assert fitted.abstain is not None
    low, high = fitted.abstain
    scaled = fitted.calibration.slope * held_out.values + fitted.calibration.intercept
    p = 1 / (1 + np.exp(-scaled))
    fake = held_out.labels == 1

    assert (p[fake] < low).mean() <= RATES.cleared_fakes
    assert (p[~fake] >= high).mean() <= RATES.weak


def test_cross_fitted_probabilities_are_not_those_of_the_whole_fit() -> None:
    held_out = video_scores(predictions(people=20))
    fitted = calibrate(held_out, wish=ScalingWish(), rates=RATES, measured_on="drawn", policy="default")
    whole = 1 / (1 + np.exp(-(fitted.calibration.slope * held_out.values + fitted.calibration.intercept)))

    assert fitted.cross_fitted_probabilities.shape == whole.shape
    assert np.abs(fitted.cross_fitted_probabilities - whole).max() > 1e-4


def test_one_class_gives_no_points() -> None:
    scores = Scores.of([0, 0], [0.1, 0.2], ["a", "b"])
    with pytest.raises(CalibrationError, match="both classes"):
        choose_points(scores, scores.values, RATES)


def test_exact_bounds_hold_the_share_and_are_known_where_nothing_was_seen() -> None:
    low, high = exact_bounds(3, 10)

    assert low < 0.3 < high
    assert exact_bounds(0, 100) == (0.0, pytest.approx(1 - 0.025 ** (1 / 100)))
    assert exact_bounds(5, 5)[1] == 1.0


@pytest.mark.parametrize("rates", [(0.1, 0.2, 0.3), (0.5, 0.2, -0.1), (1.5, 0.2, 0.1)])
def test_rates_that_do_not_fall_within_0_to_1_are_refused(rates: tuple[float, float, float]) -> None:
    with pytest.raises(ValueError, match="rates"):
        Rates(weak=rates[0], suspicious=rates[1], strong=rates[2], cleared_fakes=0.1)
