from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from styleflow.detection.score import (
    Findings,
    Policy,
    TrackFindings,
    calibrated,
    decide,
    pool_track,
    pool_video,
    verdict,
)
from styleflow.packs import Calibration
from styleflow.report import (
    REASONS,
    InconclusiveReason,
    NotApplicableReason,
    Outcome,
    Thresholds,
    Verdict,
)

THRESHOLDS = Thresholds(policy="test", weak=0.3, suspicious=0.6, strong=0.9)
CALIBRATION = Calibration(method="platt", slope=1.5, intercept=-0.5, thresholds=THRESHOLDS, measured_on="nothing")
JUDGED = TrackFindings(large_enough=True, large_clips=2, judgeable_clips=2, logits=(1.0, 3.0))
GOOD = Findings(
    has_video_stream=True,
    frames_examined=64,
    frames_planned=64,
    frames_with_face=64,
    frames_judged=64,
    tracks=(JUDGED,),
)

logits = st.lists(st.floats(-50, 50), max_size=4).map(tuple)
any_track = st.builds(
    TrackFindings,
    large_enough=st.booleans(),
    large_clips=st.integers(0, 3),
    judgeable_clips=st.integers(0, 3),
    logits=logits,
)
any_findings = st.builds(
    Findings,
    has_video_stream=st.booleans(),
    frames_examined=st.integers(0, 1000),
    frames_planned=st.integers(1, 1000),
    frames_with_face=st.integers(0, 1000),
    frames_judged=st.integers(0, 1000),
    tracks=st.lists(any_track, max_size=3).map(tuple),
)
DOUBTFUL = CALIBRATION.model_copy(update={"abstain": (0.1, 0.3)})
any_calibration = st.sampled_from([None, CALIBRATION, DOUBTFUL])
finite = st.floats(-100, 100)


def reason_for(findings: Findings, calibration: Calibration | None = CALIBRATION) -> tuple[Outcome, str | None]:
    decision = decide(findings, calibration, Policy())
    return decision.outcome, decision.reason


def not_applicable(reason: NotApplicableReason) -> tuple[Outcome, str]:
    return Outcome.NOT_APPLICABLE, reason


def inconclusive(reason: InconclusiveReason) -> tuple[Outcome, str]:
    return Outcome.INCONCLUSIVE, reason


def only(track: TrackFindings, **others: int) -> Findings:
    return replace(GOOD, tracks=(track,), **others)


@given(any_findings, any_calibration)
def test_no_path_yields_a_number_without_the_outcome_scored(
    findings: Findings, calibration: Calibration | None
) -> None:
    decision = decide(findings, calibration, Policy())
    numbers = (decision.score, decision.probability, decision.verdict, decision.thresholds)

    assert decision.reason in (REASONS[decision.outcome] or {None})
    if decision.outcome is Outcome.SCORED:
        assert calibration is not None
        assert None not in numbers
        assert any(track.logits for track in findings.tracks)
    else:
        assert set(numbers) == {None}


def test_a_good_video_with_a_calibrated_pack_is_scored() -> None:
    decision = decide(GOOD, CALIBRATION, Policy())

    assert decision.outcome is Outcome.SCORED
    assert decision.score == 2.0
    assert decision.probability == pytest.approx(1 / (1 + math.exp(-2.5)))
    assert decision.verdict is Verdict.STRONG
    assert decision.thresholds == THRESHOLDS


def test_a_file_without_video_has_no_video_stream() -> None:
    assert reason_for(replace(GOOD, has_video_stream=False)) == not_applicable(NotApplicableReason.NO_VIDEO_STREAM)


def test_a_video_without_tracks_has_no_face() -> None:
    assert reason_for(replace(GOOD, tracks=())) == not_applicable(NotApplicableReason.NO_FACE)


def test_a_part_without_a_frame_is_too_short() -> None:
    assert reason_for(replace(GOOD, frames_examined=0, tracks=())) == not_applicable(NotApplicableReason.TOO_SHORT)


def test_only_small_faces_are_too_small() -> None:
    small = TrackFindings(large_enough=False)

    assert reason_for(only(small, frames_with_face=0)) == not_applicable(NotApplicableReason.FACE_TOO_SMALL)


def test_a_small_face_beside_a_large_one_does_not_matter() -> None:
    both = replace(GOOD, tracks=(TrackFindings(large_enough=False), JUDGED))

    assert reason_for(both) == (Outcome.SCORED, None)


def test_a_mostly_small_face_that_once_came_near_is_judged_by_that_clip() -> None:
    assert reason_for(only(replace(JUDGED, large_enough=False))) == (Outcome.SCORED, None)


@pytest.mark.parametrize(("frames", "short"), [(15, True), (16, False)])
def test_fewer_frames_than_the_shortest_clip_are_too_short(frames: int, short: bool) -> None:
    glimpse = only(TrackFindings(large_enough=True), frames_with_face=frames, frames_judged=0)
    expected = NotApplicableReason.TOO_SHORT if short else None

    assert (reason_for(glimpse)[1] == expected) is short


def test_clips_of_which_none_reaches_the_floor_are_below_the_quality_floor() -> None:
    blurred = TrackFindings(large_enough=True, large_clips=3)

    assert reason_for(only(blurred)) == not_applicable(NotApplicableReason.BELOW_QUALITY_FLOOR)


def test_a_pack_without_calibration_is_inconclusive_whatever_it_says() -> None:
    assert reason_for(GOOD, None) == inconclusive(InconclusiveReason.UNCALIBRATED_WEIGHTS)


def test_a_missing_face_is_told_before_a_missing_calibration() -> None:
    assert reason_for(replace(GOOD, tracks=()), None) == not_applicable(NotApplicableReason.NO_FACE)


def test_enough_frames_but_no_clip_means_tracks_are_too_unstable() -> None:
    broken = only(TrackFindings(large_enough=True), frames_judged=0)

    assert reason_for(broken) == inconclusive(InconclusiveReason.TRACKS_TOO_UNSTABLE)


@pytest.mark.parametrize(("judged", "thin"), [(99, True), (100, False)])
def test_less_than_a_tenth_of_the_planned_frames_is_too_thin(judged: int, thin: bool) -> None:
    expected = inconclusive(InconclusiveReason.COVERAGE_TOO_THIN) if thin else (Outcome.SCORED, None)

    assert reason_for(replace(GOOD, frames_planned=1000, frames_judged=judged)) == expected


def logit_of(probability: float) -> float:
    return (math.log(probability / (1 - probability)) + 0.5) / 1.5


@pytest.mark.parametrize(("probability", "doubt"), [(0.09, False), (0.11, True), (0.29, True), (0.31, False)])
def test_a_probability_in_the_band_of_abstention_is_ambiguous(probability: float, doubt: bool) -> None:
    findings = only(replace(JUDGED, logits=(logit_of(probability),)))
    expected = inconclusive(InconclusiveReason.AMBIGUOUS_EVIDENCE) if doubt else (Outcome.SCORED, None)

    assert reason_for(findings, DOUBTFUL) == expected
    assert reason_for(findings, CALIBRATION) == (Outcome.SCORED, None)


def test_every_reason_of_the_closed_lists_can_be_reached() -> None:
    reached = {
        reason_for(replace(GOOD, has_video_stream=False))[1],
        reason_for(replace(GOOD, tracks=()))[1],
        reason_for(only(TrackFindings(large_enough=False)))[1],
        reason_for(only(TrackFindings(large_enough=True), frames_with_face=3))[1],
        reason_for(only(TrackFindings(large_enough=True, large_clips=1)))[1],
        reason_for(GOOD, None)[1],
        reason_for(only(TrackFindings(large_enough=True)))[1],
        reason_for(replace(GOOD, frames_judged=1))[1],
        reason_for(only(replace(JUDGED, logits=(logit_of(0.2),))), DOUBTFUL)[1],
    }

    assert reached == set().union(*REASONS.values())


@given(st.lists(finite, min_size=1), st.randoms(use_true_random=False), st.sampled_from(["mean", "top_k"]))
def test_the_order_of_clips_does_not_matter(values: list[float], order: object, pooling: str) -> None:
    policy = Policy(pooling=pooling)
    shuffled = order.sample(values, len(values))  # type: ignore[attr-defined]

    assert pool_track(values, policy) == pool_track(shuffled, policy)


@given(st.lists(finite, min_size=1))
def test_a_track_scores_between_its_lowest_and_highest_clip(values: list[float]) -> None:
    assert min(values) - 1e-9 <= pool_track(values, Policy()) <= max(values) + 1e-9


def test_top_k_takes_the_highest_clips() -> None:
    policy = Policy(pooling="top_k", top_k=2)

    assert pool_track([0.0, 5.0, 1.0, 3.0], policy) == 4.0
    assert pool_track([5.0], policy) == 5.0
    assert policy.pooling_name == "top_2_mean_logit_per_track_max_over_tracks"


def test_the_video_scores_like_its_most_suspicious_face() -> None:
    assert pool_video([-3.0, 0.5, -1.0]) == 0.5


@pytest.mark.parametrize("values", [[], [math.nan], [1.0, math.inf]])
def test_a_track_without_finite_logits_has_no_score(values: list[float]) -> None:
    with pytest.raises(ValueError, match="no score"):
        pool_track(values, Policy())


@given(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6))
def test_calibration_keeps_the_order_and_stays_between_0_and_1(a: float, b: float) -> None:
    low, high = sorted((a, b))

    assert 0 <= calibrated(low, CALIBRATION) <= calibrated(high, CALIBRATION) <= 1


@pytest.mark.parametrize(
    ("probability", "word"),
    [
        (0.0, Verdict.NO_EVIDENCE),
        (0.2999, Verdict.NO_EVIDENCE),
        (0.3, Verdict.WEAK),
        (0.6, Verdict.SUSPICIOUS),
        (0.8999, Verdict.SUSPICIOUS),
        (0.9, Verdict.STRONG),
        (1.0, Verdict.STRONG),
    ],
)
def test_a_threshold_itself_gives_the_higher_word(probability: float, word: Verdict) -> None:
    assert verdict(probability, THRESHOLDS) is word


def test_every_reason_and_verdict_is_explained_in_the_documentation() -> None:
    page = (Path(__file__).parents[2] / "docs" / "concepts" / "verdicts.md").read_text()

    for word in (*NotApplicableReason, *InconclusiveReason, *Verdict, *Outcome):
        assert f"| `{word}` |" in page
