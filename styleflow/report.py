"""What is known about one video, as plain frozen values: the waist through which the wings speak.

Times are seconds of presentation time from the start of the video. Boxes are pixels of the displayed frame
(rotation and pixel aspect applied), `(left, top, right, bottom)`. The laws of the format are kept here, on
construction, so that no caller can break them: numbers that judge (a score, a logit, a probability, thresholds) exist
only where the outcome is `scored`, logits are finite, and probabilities lie within 0..1.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from pydantic import TypeAdapter

REPORT_VERSION = "1"

Box = tuple[float, float, float, float]
Numbers = tuple[float | None, ...]


class Outcome(StrEnum):
    """Whether the video could be judged. Not a state (where the job stands), not a verdict."""

    SCORED = "scored"
    NOT_APPLICABLE = "not_applicable"
    INCONCLUSIVE = "inconclusive"


class Verdict(StrEnum):
    """The policy's word for a scored video."""

    NO_EVIDENCE = "no_evidence"
    WEAK = "weak"
    SUSPICIOUS = "suspicious"
    STRONG = "strong"


class NotApplicableReason(StrEnum):
    """Why there is nothing to judge. Closed list; docs/concepts/verdicts.md explains each."""

    NO_FACE = "no_face"
    FACE_TOO_SMALL = "face_too_small"
    TOO_SHORT = "too_short"
    NO_VIDEO_STREAM = "no_video_stream"
    BELOW_QUALITY_FLOOR = "below_quality_floor"


class InconclusiveReason(StrEnum):
    """Why we looked and cannot say. Closed list; docs/concepts/verdicts.md explains each."""

    UNCALIBRATED_WEIGHTS = "uncalibrated_weights"
    COVERAGE_TOO_THIN = "coverage_too_thin"
    TRACKS_TOO_UNSTABLE = "tracks_too_unstable"
    AMBIGUOUS_EVIDENCE = "ambiguous_evidence"


REASONS: Mapping[Outcome, frozenset[str]] = {
    Outcome.SCORED: frozenset(),
    Outcome.NOT_APPLICABLE: frozenset(NotApplicableReason),
    Outcome.INCONCLUSIVE: frozenset(InconclusiveReason),
}


@dataclass(frozen=True, kw_only=True)
class MediaFacts:
    """What the container says, before any pixel was decoded."""

    container: str
    codec: str | None
    width: int | None
    """Displayed width in pixels: rotation and pixel aspect ratio applied."""
    height: int | None
    rotation_degrees: int = 0
    """Clockwise turn that the metadata asks for: 0, 90, 180 or 270."""
    pixel_aspect: float = 1.0
    frame_rate: float | None = None
    duration_seconds_from_header: float | None = None
    frame_count_from_header: int | None = None
    has_audio: bool = False
    size_bytes: int = 0
    sha256: str | None = None


@dataclass(frozen=True, kw_only=True)
class ReportWarning:
    """Something that limits what the report can say. `code` is stable."""

    code: str
    message: str


@dataclass(frozen=True, kw_only=True)
class Coverage:
    """How much of the video was looked at."""

    media_seconds: float | None
    analysed_seconds: float
    frames_decoded: int
    frames_with_face: int
    clips_planned: int
    clips_analysed: int
    faces_tracked: int
    sampling: str
    """`full` or `uniform`."""
    truncated: bool
    """True when any part of the video was left out."""


@dataclass(frozen=True, kw_only=True)
class FrameEvidence:
    """One row per frame of a track, as columns of equal length, ordered by time.

    `score` is the mean calibrated probability of the clips that contain the frame, None where no clip does or
    the pack is not calibrated. The three flow columns are the L2 norm of the style flow that arrives at this frame
    (None for the first frame of a clip), per level. `attention` is the weight in 0..1 that the temporal transformer
    gives to the frame, relative to the largest of its clip.
    """

    frame_index: tuple[int, ...]
    time_seconds: tuple[float, ...]
    box: tuple[Box, ...]
    detection_confidence: tuple[float | None, ...]
    """MTCNN probability in 0..1; None where box and points were interpolated between two detections."""
    score: tuple[float | None, ...]
    flow_coarse: tuple[float | None, ...]
    flow_middle: tuple[float | None, ...]
    flow_fine: tuple[float | None, ...]
    attention: tuple[float | None, ...]

    def __post_init__(self) -> None:
        lengths = {len(column) for column in vars(self).values()}
        if len(lengths) > 1:
            raise ValueError(f"columns of frame evidence differ in length: {sorted(lengths)}")


@dataclass(frozen=True, kw_only=True)
class ClipScore:
    """32 consecutive aligned crops of one face, judged together."""

    index: int
    """Position among the clips of its track, from 0."""
    start_seconds: float
    end_seconds: float
    first_frame: int
    last_frame: int
    logit: float | None
    """Raw output of the network; None when the pack is not calibrated."""
    probability: float | None
    """Calibrated, 0..1."""


@dataclass(frozen=True, kw_only=True)
class FaceTrack:
    """One face over time."""

    track_id: str
    start_seconds: float
    end_seconds: float
    frame_count: int
    detection_confidence: float
    """Mean over detected frames, 0..1."""
    face_size_px: float
    """Median of the shorter box side."""
    score: float | None
    """Mean clip logit, pooled by the report's rule."""
    probability: float | None
    clips: tuple[ClipScore, ...]
    frames: FrameEvidence


@dataclass(frozen=True, kw_only=True)
class FaceCrop:
    """What a picture shows that was kept of the video: one aligned face on one frame."""

    crop_id: str
    """`crop-1` and so on, in order of what they tell."""
    track_id: str
    clip_index: int
    """Which clip of the track it was chosen for."""
    frame_index: int
    time_seconds: float
    score: float | None
    """Of the frame, as in its row of evidence; likewise the attention."""
    attention: float | None


@dataclass(frozen=True, kw_only=True)
class Thresholds:
    """Calibrated probabilities from which each verdict is given; they come from the pack, never from code."""

    policy: str
    weak: float
    suspicious: float
    strong: float


@dataclass(frozen=True, kw_only=True)
class Pipeline:
    """What ran, so that the same video can be judged again the same way."""

    model: str
    """Name and version as requested in a job: `name@version`."""
    pack: str
    pack_version: str
    pack_sha256: str
    """Of the parameters."""
    size: str
    """`compact`, `small`, `paper` or `custom`."""
    components: tuple[str, ...]
    """Those that the pack has: `style_encoder`, `style_gru`, `style_attention`, `content`, `temporal_transformer`."""
    calibration: str | None
    code_version: str
    device: str
    precision: str
    libraries: Mapping[str, str]
    scoring_sha256: str | None = None
    """Of what else in the pack's card decides the score: sizes, components, preprocessing, calibration. None in a
    report from before it was recorded."""


@dataclass(frozen=True, kw_only=True)
class VideoReport:
    """The whole answer about one video."""

    outcome: Outcome
    reason: str | None
    score: float | None
    """Pooled raw logit of the video, finite; None unless scored."""
    probability: float | None
    """Calibrated, 0..1; None unless scored."""
    verdict: Verdict | None
    pooling: str
    thresholds: Thresholds | None
    media: MediaFacts
    coverage: Coverage
    tracks: tuple[FaceTrack, ...]
    pipeline: Pipeline
    warnings: tuple[ReportWarning, ...] = ()
    crops: tuple[FaceCrop, ...] = ()
    """Pictures that were asked for and made. Their choice tells scores, so there are none without."""
    timing_ms: Mapping[str, int] = field(default_factory=dict)
    report_version: str = REPORT_VERSION

    def __post_init__(self) -> None:
        scored = self.outcome is Outcome.SCORED
        for name in ("score", "probability", "verdict", "thresholds"):
            if (getattr(self, name) is not None) != scored:
                raise ValueError(f"{name} must be given exactly when the outcome is scored, not {self.outcome}")
        if self.reason not in (REASONS[self.outcome] or {None}):
            raise ValueError(f"{self.reason!r} is no reason for {self.outcome}")
        if scored and self.pipeline.calibration is None:
            raise ValueError("a pack without calibration gives no score")
        if self.crops and not scored:
            raise ValueError(f"no face is picked out where the outcome is {self.outcome}")
        for logits, probabilities in _judgements(self):
            if not scored and any(number is not None for number in (*logits, *probabilities)):
                raise ValueError(f"no face, clip or frame has a number where the outcome is {self.outcome}")
            _check_logits(logits)
            _check_probabilities(probabilities)


def _judgements(report: VideoReport) -> Iterator[tuple[Numbers, Numbers]]:
    """Every number that judges, as logits and probabilities: of the video, then of each track, its clips and frames."""
    yield (report.score,), (report.probability, *(crop.score for crop in report.crops))
    for track in report.tracks:
        yield (track.score,), (track.probability,)
        yield tuple(clip.logit for clip in track.clips), tuple(clip.probability for clip in track.clips)
        yield (), track.frames.score


def _check_logits(logits: Numbers) -> None:
    if not all(logit is None or math.isfinite(logit) for logit in logits):
        raise ValueError("a logit must be a finite number")


def _check_probabilities(probabilities: Numbers) -> None:
    if not all(probability is None or 0 <= probability <= 1 for probability in probabilities):
        raise ValueError("a probability must lie within 0..1")


_ADAPTER: TypeAdapter[VideoReport] = TypeAdapter(VideoReport)


def report_to_json(report: VideoReport) -> dict[str, Any]:
    """The report as JSON values; `report_from_json` reads it back equal."""
    return dict(_ADAPTER.dump_python(report, mode="json"))


def report_from_json(value: Mapping[str, Any]) -> VideoReport:
    """Raises pydantic.ValidationError when the value is not a report of this version."""
    return _ADAPTER.validate_python(value)
