"""Bodies that webhooks carry, as `styleflow.webhooks.announce` writes them; for the description alone."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from api.schemas.body import ResponseBody, Timestamp


class EventError(ResponseBody):
    """Why it failed."""

    code: str
    message: str


class JobEventLinks(ResponseBody):
    """Where to read on."""

    self: str
    result: str | None


class TopSegment(ResponseBody):
    """A stretch of one face that looks manipulated; scores are calibrated probabilities."""

    track_id: str
    start_ms: int
    end_ms: int
    peak: float
    mean: float


class JobEventData(ResponseBody):
    """The job as it was when the event happened. `sequence` grows with each event of the job."""

    job_id: str
    client_ref: str | None
    state: Literal["queued", "running", "succeeded", "failed", "canceled", "expired"]
    outcome: Literal["scored", "not_applicable", "inconclusive"] | None
    reason: str | None
    verdict: Literal["no_evidence", "weak", "suspicious", "strong"] | None
    score: float | None
    probability: float | None
    top_segments: Annotated[
        list[TopSegment] | None,
        Field(
            description="With `job.succeeded` only: the three highest stretches of the video by the usual rule of"
            " `/segments`. Null where the outcome is not `scored`, and with zero retention."
        ),
    ] = None
    error: EventError | None
    sequence: int
    links: JobEventLinks
    finished_at: Timestamp | None
    tags: dict[str, Any]
    truncated: Annotated[bool, Field(description="The tags were left out for their length.")] = False
    progress: Annotated[dict[str, Any] | None, Field(description="With `job.progress` only.")] = None


class JobEvent(ResponseBody):
    """Something that happened to a job."""

    type: str
    timestamp: Timestamp
    data: JobEventData


class BatchEventLinks(ResponseBody):
    """Where to read on."""

    self: str
    errors: str


class BatchEventData(ResponseBody):
    """The batch when the event happened, and how many of its items stood where."""

    batch_id: str
    name: str
    state: str
    counts: dict[str, int]
    error: EventError | None
    sequence: int
    links: BatchEventLinks
    finished_at: Timestamp | None


class BatchEvent(ResponseBody):
    """Something that happened to a batch."""

    type: str
    timestamp: Timestamp
    data: BatchEventData


class OtherEvent(ResponseBody):
    """Something that happened to neither job nor batch."""

    type: str
    timestamp: Timestamp
    data: dict[str, Any]
