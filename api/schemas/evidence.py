"""Bodies of a job's result, its tracks and its frames. Times are milliseconds from the start of the video."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, StringConstraints

from api.schemas.body import Milliseconds, RequestBody, ResponseBody, Text
from styleflow.report import Outcome, Verdict
from styleflow.segments import GAP_MS, MIN_MS


class Coverage(ResponseBody):
    """How much of the video was looked at. `truncated` is true when any part was left out."""

    media_ms: int | None
    analysed_ms: int
    frames_decoded: int
    frames_with_face: int
    clips_planned: int
    clips_analysed: int
    faces_tracked: int
    sampling: str
    truncated: bool


class Clip(ResponseBody):
    """32 consecutive aligned crops of one face, judged together."""

    index: int
    start_ms: int
    end_ms: int
    first_frame: int
    last_frame: int
    logit: float | None
    probability: float | None


class ClipRow(Clip):
    """A clip, and whose it is."""

    track_id: str


class ClipPage(ResponseBody):
    """Track by track, in order of time."""

    data: list[ClipRow]
    next_cursor: str | None
    has_more: bool


class SegmentRule(ResponseBody):
    """What a segment is: frames of at least `leave` in a row of which one reaches `enter`."""

    enter: float
    leave: float
    min_ms: int
    gap_ms: int


class Segment(ResponseBody):
    """A stretch of one face that looks manipulated, from its first frame to its last."""

    track_id: str
    start_ms: int
    end_ms: int
    peak: Annotated[float, Field(description="Highest score of its frames.")]
    mean: Annotated[float, Field(description="Mean score of its frames.")]


class SegmentList(ResponseBody):
    """Track by track, in order of time."""

    job_id: str
    rule: Annotated[SegmentRule | None, Field(description="Null where the outcome is not `scored`.")]
    data: list[Segment]


class TrackSummary(ResponseBody):
    """One face over time."""

    track_id: str
    start_ms: int
    end_ms: int
    frame_count: int
    detection_confidence: float
    face_size_px: float
    score: float | None
    probability: float | None
    clip_count: int


class Track(TrackSummary):
    """One face over time, with its clips."""

    job_id: str
    clips: list[Clip]


class TrackPage(ResponseBody):
    """The faces of one video, in the order in which they were found."""

    data: list[Track]
    next_cursor: str | None
    has_more: bool


class CropShown(ResponseBody):
    """A picture of a face: which it is, on which frame, and what the frame scored."""

    artifact_id: Annotated[str, Field(description="The picture is at `/artifacts/{artifact_id}` while it is kept.")]
    track_id: str
    clip_index: Annotated[int, Field(description="The clip of the track that it was chosen for.")]
    frame_index: int
    t_ms: int
    score: float | None
    attention: Annotated[float | None, Field(description="0 to 1, relative to the largest of the clip.")]


class Result(ResponseBody):
    """The answer about one video. It never changes; score, probability and verdict are there exactly when `scored`."""

    job_id: str
    outcome: Outcome
    reason: str | None
    score: float | None
    probability: float | None
    verdict: Verdict | None
    pooling: str
    thresholds: dict[str, Any] | None
    coverage: Coverage
    tracks: Annotated[list[TrackSummary], Field(description="The first 16; all of them at `/tracks`.")]
    crops: Annotated[
        list[CropShown],
        Field(description="Pictures that were kept of the highest clips of each face, the most telling first."),
    ]
    media: dict[str, Any]
    pipeline: dict[str, Any]
    warnings: list[dict[str, Any]]
    timing_ms: dict[str, int]
    report_version: str
    links: dict[str, str]


class Flow(ResponseBody):
    """L2 norm of the change of style that arrives at the frame, per level of the style space."""

    coarse: float | None
    middle: float | None
    fine: float | None


class FrameRow(ResponseBody):
    """One face in one frame."""

    track_id: str
    frame_index: int
    t_ms: int
    box: Annotated[list[float], Field(description="Left, top, right, bottom in pixels of the displayed frame.")]
    detection_confidence: Annotated[float | None, Field(description="Null where the box was interpolated.")]
    score: float | None
    flow: Flow
    attention: Annotated[float | None, Field(description="0 to 1, relative to the largest of the clip.")]


class FramePage(ResponseBody):
    """Track by track, in order of time."""

    data: list[FrameRow]
    next_cursor: str | None
    has_more: bool


class FrameQuery(RequestBody):
    """The query of `/frames`."""

    track_id: Annotated[Text, StringConstraints(max_length=64)] | None = None
    from_ms: Milliseconds | None = None
    to_ms: Milliseconds | None = None
    limit: Annotated[int, Field(ge=1, description="At most 1,000; more is taken as 1,000.")] = 200
    cursor: Annotated[Text, StringConstraints(max_length=1024)] | None = None


class TrackQuery(RequestBody):
    """The query of `/tracks`."""

    limit: Annotated[int, Field(ge=1, description="At most 200; more is taken as 200.")] = 200
    cursor: Annotated[Text, StringConstraints(max_length=1024)] | None = None


class ClipQuery(FrameQuery):
    """The query of `/clips`."""


class SegmentQuery(RequestBody):
    """The query of `/segments`. Scores are calibrated probabilities."""

    track_id: Annotated[Text, StringConstraints(max_length=64)] | None = None
    min_score: Annotated[float, Field(ge=0, le=1)] | None = Field(
        default=None, description="A segment reaches it; the policy's threshold for `suspicious` when left out."
    )
    leave_score: Annotated[float, Field(ge=0, le=1)] | None = Field(
        default=None, description="A segment stays at or above it; 0.1 below `min_score` when left out."
    )
    min_ms: Annotated[Milliseconds, Field(description="Shorter segments are left out.")] = MIN_MS
    gap_ms: Annotated[Milliseconds, Field(description="Segments no further apart are one.")] = GAP_MS
