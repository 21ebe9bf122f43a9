from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from styleflow.report import (
    FaceTrack,
    InconclusiveReason,
    NotApplicableReason,
    Outcome,
    VideoReport,
    report_from_json,
    report_to_json,
)
from tests.jobs.reports import scored_report

SCORED = scored_report()
NO_NUMBERS: dict[str, Any] = {"score": None, "probability": None, "verdict": None, "thresholds": None}
UNSURE: dict[str, Any] = {
    "outcome": Outcome.INCONCLUSIVE,
    "reason": InconclusiveReason.COVERAGE_TOO_THIN,
    **NO_NUMBERS,
}
NOT_NUMBERS = (math.nan, math.inf, -math.inf)


def silenced(track: FaceTrack) -> FaceTrack:
    """The track as it stands in a report that is not scored."""
    return replace(
        track,
        score=None,
        probability=None,
        clips=tuple(replace(clip, logit=None, probability=None) for clip in track.clips),
        frames=replace(track.frames, score=(None,) * track.frame_count),
    )


def with_frame_score(track: FaceTrack, score: float | None) -> FaceTrack:
    return replace(track, frames=replace(track.frames, score=(score, *track.frames.score[1:])))


def with_clip(track: FaceTrack, **numbers: float | None) -> FaceTrack:
    return replace(track, clips=(replace(track.clips[0], **numbers),))  # type: ignore[arg-type]


def scored(**changes: Any) -> VideoReport:
    return replace(SCORED, **changes)


def unsure(**changes: Any) -> VideoReport:
    return replace(SCORED, **{**UNSURE, "tracks": (QUIET,), **changes})


QUIET = silenced(SCORED.tracks[0])
LOUD = SCORED.tracks[0]


def test_a_scored_report_has_numbers_on_every_level_and_survives_json() -> None:
    assert report_from_json(report_to_json(SCORED)) == SCORED


def test_a_report_from_before_the_cards_sha256_was_recorded_can_be_read() -> None:
    value = report_to_json(SCORED)
    del value["pipeline"]["scoring_sha256"]

    assert report_from_json(value).pipeline.scoring_sha256 is None


@pytest.mark.parametrize("reason", [*InconclusiveReason, *NotApplicableReason])
def test_a_report_without_numbers_has_a_reason_and_survives_json(reason: str) -> None:
    outcome = Outcome.INCONCLUSIVE if reason in set(InconclusiveReason) else Outcome.NOT_APPLICABLE
    report = unsure(outcome=outcome, reason=reason)

    assert report_from_json(report_to_json(report)) == report


@pytest.mark.parametrize("name", NO_NUMBERS)
def test_a_scored_report_without_one_of_its_numbers_cannot_be_built(name: str) -> None:
    with pytest.raises(ValueError, match=f"^{name} must be given"):
        scored(**{name: None})


@pytest.mark.parametrize("name", NO_NUMBERS)
def test_a_report_that_is_not_scored_cannot_be_built_with_a_number(name: str) -> None:
    with pytest.raises(ValueError, match=f"^{name} must be given exactly when"):
        unsure(**{name: getattr(SCORED, name)})


@pytest.mark.parametrize(
    "track",
    [
        replace(QUIET, score=9.0),
        replace(QUIET, probability=0.99),
        with_clip(QUIET, logit=9.0),
        with_clip(QUIET, probability=0.99),
        with_frame_score(QUIET, 0.97),
        replace(QUIET, score=math.nan),
    ],
    ids=["score", "probability", "clip logit", "clip probability", "frame score", "NaN"],
)
@pytest.mark.parametrize("outcome", [Outcome.INCONCLUSIVE, Outcome.NOT_APPLICABLE])
def test_no_face_clip_or_frame_has_a_number_unless_the_outcome_is_scored(outcome: Outcome, track: FaceTrack) -> None:
    reason = InconclusiveReason.COVERAGE_TOO_THIN if outcome is Outcome.INCONCLUSIVE else NotApplicableReason.TOO_SHORT

    with pytest.raises(ValueError, match="no face, clip or frame has a number"):
        unsure(outcome=outcome, reason=reason, tracks=(QUIET, track))


def test_a_pack_without_calibration_scores_nothing() -> None:
    with pytest.raises(ValueError, match="without calibration"):
        scored(pipeline=replace(SCORED.pipeline, calibration=None))


@pytest.mark.parametrize("number", NOT_NUMBERS)
def test_a_logit_is_finite_on_every_level(number: float) -> None:
    for changes in (
        {"score": number},
        {"tracks": (replace(LOUD, score=number),)},
        {"tracks": (LOUD, with_clip(LOUD, logit=number))},
    ):
        with pytest.raises(ValueError, match="finite"):
            scored(**changes)


@pytest.mark.parametrize("number", [*NOT_NUMBERS, -0.001, 1.001, 7.0])
def test_a_probability_lies_within_0_and_1_on_every_level(number: float) -> None:
    for changes in (
        {"probability": number},
        {"tracks": (replace(LOUD, probability=number),)},
        {"tracks": (LOUD, with_clip(LOUD, probability=number))},
        {"tracks": (with_frame_score(LOUD, number),)},
    ):
        with pytest.raises(ValueError, match=r"within 0\.\.1"):
            scored(**changes)


def test_the_ends_0_and_1_are_probabilities() -> None:
    assert scored(probability=0.0).probability == 0.0
    assert scored(probability=1.0, tracks=(with_frame_score(LOUD, 1.0),)).probability == 1.0


def test_a_face_in_a_scored_report_that_was_not_judged_has_no_number() -> None:
    assert scored(tracks=(LOUD, QUIET)).tracks[1].score is None


def test_numbers_cannot_be_read_back_into_a_report_that_is_not_scored() -> None:
    value = report_to_json(SCORED) | {"outcome": "inconclusive", "reason": "coverage_too_thin"} | NO_NUMBERS

    with pytest.raises(ValueError, match="no face, clip or frame"):
        report_from_json(value)
