"""From clip logits to an answer about the video. Pure: no pixel, no network, no clock.

The order of decisions is that of `decide`: first whether there is anything to judge, then whether we can say,
and only then a number. docs/concepts/verdicts.md explains each reason to a caller.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass as checked_dataclass

from styleflow.packs import Calibration
from styleflow.report import InconclusiveReason, NotApplicableReason, Outcome, Thresholds, Verdict
from styleflow.verdicts import verdict
from styleflow.video.clips import SHORTEST_CLIP


@checked_dataclass(frozen=True, kw_only=True)
class Policy:
    """The rules that are not the pack's."""

    pooling: Literal["mean", "top_k"] = "mean"
    """How a track's clips become its score; the video's is always the highest of its tracks."""
    top_k: Annotated[int, Field(ge=1)] = 3
    min_coverage: Annotated[float, Field(ge=0, le=1)] = 0.1
    """Least share of the planned frames in which a face was judged. Below it a video would be cleared, or
    accused, by a glimpse."""

    @property
    def pooling_name(self) -> str:
        """As the report names the rule."""
        rule = "mean_logit" if self.pooling == "mean" else f"top_{self.top_k}_mean_logit"
        return f"{rule}_per_track_max_over_tracks"


@dataclass(frozen=True, kw_only=True)
class TrackFindings:
    """What was found about one face, as far as decisions need it."""

    large_enough: bool
    """Its median size reaches the least face size."""
    large_clips: int = 0
    """Clips in which it is large enough."""
    judgeable_clips: int = 0
    """Those of them above the quality floor."""
    logits: tuple[float, ...] = ()
    """Of the judged clips; finite."""


@dataclass(frozen=True, kw_only=True)
class Findings:
    """What was found in a video, as far as decisions need it."""

    has_video_stream: bool
    frames_examined: int
    """0 only where the part asked for lies outside the video: elsewhere a video without frames is damaged."""
    frames_planned: int
    frames_with_face: int
    """Distinct frames with at least one face that is large enough."""
    frames_judged: int
    """Distinct frames in at least one judged clip."""
    tracks: tuple[TrackFindings, ...]


@dataclass(frozen=True, kw_only=True)
class Decision:
    """The answer. Numbers exist exactly where `outcome` is `scored`."""

    outcome: Outcome
    reason: str | None = None
    score: float | None = None
    probability: float | None = None
    verdict: Verdict | None = None
    thresholds: Thresholds | None = None


def decide(findings: Findings, calibration: Calibration | None, policy: Policy) -> Decision:
    """The one way to an outcome."""
    nothing = not_applicable_reason(findings)
    if nothing is not None:
        return Decision(outcome=Outcome.NOT_APPLICABLE, reason=nothing)
    doubt = inconclusive_reason(findings, calibration, policy)
    if doubt is not None or calibration is None:
        return Decision(outcome=Outcome.INCONCLUSIVE, reason=doubt)
    score = pool_video([pool_track(track.logits, policy) for track in findings.tracks if track.logits])
    probability = calibrated(score, calibration)
    if in_doubt(probability, calibration):
        return Decision(outcome=Outcome.INCONCLUSIVE, reason=InconclusiveReason.AMBIGUOUS_EVIDENCE)
    return Decision(
        outcome=Outcome.SCORED,
        score=score,
        probability=probability,
        verdict=verdict(probability, calibration.thresholds),
        thresholds=calibration.thresholds,
    )


def not_applicable_reason(findings: Findings) -> NotApplicableReason | None:
    """Why there is nothing to judge, or None. The first that holds, in this order, is the one to tell."""
    if not findings.has_video_stream:
        return NotApplicableReason.NO_VIDEO_STREAM
    if not findings.frames_examined:
        return NotApplicableReason.TOO_SHORT
    if not findings.tracks:
        return NotApplicableReason.NO_FACE
    if not any(track.large_enough or track.large_clips for track in findings.tracks):
        return NotApplicableReason.FACE_TOO_SMALL
    if any(track.judgeable_clips for track in findings.tracks):
        return None
    if any(track.large_clips for track in findings.tracks):
        return NotApplicableReason.BELOW_QUALITY_FLOOR
    if findings.frames_with_face < SHORTEST_CLIP:
        return NotApplicableReason.TOO_SHORT
    return None


def inconclusive_reason(
    findings: Findings, calibration: Calibration | None, policy: Policy
) -> InconclusiveReason | None:
    """Why we cannot say, or None. Missing calibration comes first: nothing in the video could mend it."""
    if calibration is None:
        return InconclusiveReason.UNCALIBRATED_WEIGHTS
    if not any(track.logits for track in findings.tracks):
        return InconclusiveReason.TRACKS_TOO_UNSTABLE
    if findings.frames_judged < policy.min_coverage * findings.frames_planned:
        return InconclusiveReason.COVERAGE_TOO_THIN
    return None


def pool_track(logits: Sequence[float], policy: Policy) -> float:
    """The track's score: the mean of its clips' logits, or of the highest k. The order of clips does not
    matter.

    Raises ValueError for no logit and for one that is not finite: a failure must not become a number.
    """
    if not logits or not all(map(math.isfinite, logits)):
        raise ValueError("a track without finite logits has no score")
    kept = sorted(logits, reverse=True)[: policy.top_k if policy.pooling == "top_k" else None]
    return math.fsum(kept) / len(kept)


def pool_video(track_scores: Sequence[float]) -> float:
    """The video's score: its most suspicious face. Raises ValueError for no track."""
    return max(track_scores)


def calibrated(logit: float, calibration: Calibration) -> float:
    """The probability, 0..1, that the pack's calibration gives to a logit."""
    value = calibration.slope * logit + calibration.intercept
    return 1 / (1 + math.exp(-value)) if value >= 0 else math.exp(value) / (1 + math.exp(value))


def in_doubt(probability: float, calibration: Calibration) -> bool:
    """Whether the calibration found that probabilities like this one tell nothing."""
    if calibration.abstain is None:
        return False
    low, high = calibration.abstain
    return low <= probability < high
