"""What the service answers, as values. Members that this version does not know are kept, and enumerations are open:
states, outcomes, verdicts and codes are plain text that may have words which do not exist yet.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

SETTLED = frozenset({"succeeded", "failed", "canceled", "expired"})
SETTLED_BATCH = frozenset({"completed", "completed_with_errors", "canceled"})


class Shown(BaseModel):
    """A body of the service. `model_dump(mode="json")` has everything that it sent."""

    model_config = ConfigDict(extra="allow", frozen=True, protected_namespaces=())


class Failure(Shown):
    """Why something failed; `code` as in docs/api/errors.md."""

    code: str
    message: str = ""
    retryable: bool = False


class Progress(Shown):
    """How far a job is; `fraction` from 0 to 1."""

    phase: str
    fraction: float = 0.0
    clips_done: int | None = None
    clips_total: int | None = None


class Job(Shown):
    """Where one video stands. There is a score, a probability and a verdict exactly when the outcome is `scored`."""

    id: str
    state: str
    outcome: str | None = None
    reason: str | None = None
    verdict: str | None = None
    score: float | None = None
    probability: float | None = None
    progress: Progress | None = None
    source: dict[str, Any] | None = None
    media: dict[str, Any] | None = None
    model: str | None = None
    pipeline: dict[str, Any] | None = None
    options: dict[str, Any] = Field(default_factory=dict)
    lane: str | None = None
    attempt: int | None = None
    max_attempts: int | None = None
    cancel_requested: bool = False
    error: Failure | None = None
    parent_job_id: str | None = None
    batch_id: str | None = None
    client_ref: str | None = None
    tags: dict[str, str] = Field(default_factory=dict)
    metadata: dict[str, Any] = Field(default_factory=dict)
    deadline: datetime | None = None
    created_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    expires_at: datetime | None = None
    links: dict[str, str | None] = Field(default_factory=dict)

    @property
    def is_settled(self) -> bool:
        """Whether it will never change again."""
        return self.state in SETTLED


class Attempt(Shown):
    """One worker's try."""

    number: int
    worker: str | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    ended: str | None = None
    error_code: str | None = None


class Result(Shown):
    """The answer about one video."""

    job_id: str
    outcome: str
    reason: str | None = None
    score: float | None = None
    probability: float | None = None
    verdict: str | None = None
    thresholds: dict[str, Any] | None = None
    coverage: dict[str, Any] = Field(default_factory=dict)
    tracks: list[Track] = Field(default_factory=list)
    crops: list[dict[str, Any]] = Field(default_factory=list)
    media: dict[str, Any] = Field(default_factory=dict)
    pipeline: dict[str, Any] = Field(default_factory=dict)
    warnings: list[dict[str, Any]] = Field(default_factory=list)


class Clip(Shown):
    """Consecutive crops of one face that were judged together. Times are milliseconds of the video."""

    index: int
    start_ms: int
    end_ms: int
    track_id: str | None = None
    first_frame: int | None = None
    last_frame: int | None = None
    logit: float | None = None
    probability: float | None = None


class Track(Shown):
    """One face over time. Times are milliseconds of the video."""

    track_id: str
    start_ms: int
    end_ms: int
    frame_count: int | None = None
    score: float | None = None
    probability: float | None = None
    clip_count: int | None = None
    clips: list[Clip] = Field(default_factory=list)


class Segment(Shown):
    """A stretch of one face that looks manipulated. Times are milliseconds of the video."""

    track_id: str
    start_ms: int
    end_ms: int
    peak: float | None = None
    mean: float | None = None


class Frame(Shown):
    """One face in one frame. `box` is left, top, right, bottom in pixels of the displayed frame."""

    track_id: str
    frame_index: int
    t_ms: int
    box: list[float] = Field(default_factory=list)
    detection_confidence: float | None = None
    score: float | None = None
    flow: dict[str, float | None] = Field(default_factory=dict)
    attention: float | None = None


class Batch(Shown):
    """Where many videos stand. `counts` is items by state."""

    id: str
    state: str
    name: str | None = None
    counts: dict[str, int] = Field(default_factory=dict)
    progress: float | None = None
    eta: datetime | None = None
    cost: dict[str, float | None] = Field(default_factory=dict)
    error: Failure | None = None
    created_at: datetime | None = None
    finished_at: datetime | None = None

    @property
    def is_settled(self) -> bool:
        """Whether all of it is over."""
        return self.state in SETTLED_BATCH


class BatchItem(Shown):
    """One video of a batch, or one line that names none."""

    position: int
    state: str
    source: dict[str, Any] | None = None
    client_ref: str | None = None
    job_id: str | None = None
    error: Failure | None = None


class BatchError(Shown):
    """One line that is wrong, or one job that failed."""

    line: int
    code: str
    state: str | None = None
    message: str = ""
    source: dict[str, Any] | None = None
    client_ref: str | None = None
    job_id: str | None = None


class Upload(Shown):
    """A place to put the bytes of a file."""

    id: str
    state: str
    mode: str = "put"
    method: str | None = None
    url: str | None = None
    headers: dict[str, str] = Field(default_factory=dict)
    part_size: int | None = None
    part_count: int | None = None
    size_bytes: int | None = None
    sha256: str | None = None
    expires_at: datetime | None = None


class PartAddress(Shown):
    """Where one part of an upload goes."""

    n: int
    url: str
    method: str = "PUT"
    headers: dict[str, str] = Field(default_factory=dict)


class Endpoint(Shown):
    """An address that is told of events. `secret` is there only in the answer that made it."""

    id: str
    url: str | None = None
    state: str | None = None
    events: list[str] = Field(default_factory=list)
    description: str = ""
    disabled_reason: str | None = None
    secret: str | None = Field(default=None, repr=False)
    created_at: datetime | None = None
    etag: str | None = None


class Delivery(Shown):
    """One event on its way to one endpoint."""

    id: str
    state: str
    endpoint_id: str | None = None
    event_id: str | None = None
    event_type: str | None = None
    job_id: str | None = None
    redelivery_of: str | None = None
    attempt: int | None = None
    attempts: list[dict[str, Any]] | None = None
    created_at: datetime | None = None


class Event(Shown):
    """What happened; `event` is the body that webhooks carry."""

    id: str
    type: str
    job_id: str | None = None
    sequence: int | None = None
    created_at: datetime | None = None
    event: dict[str, Any] = Field(default_factory=dict)


class WebhookEvent(Shown):
    """The body of a webhook. `id` is its `webhook-id`: drop what you have seen."""

    id: str
    type: str
    timestamp: datetime | None = None
    data: dict[str, Any] = Field(default_factory=dict)


class Model(Shown):
    """A weights pack that is served."""

    id: str
    name: str | None = None
    version: str | None = None
    default: bool = False
    calibrated: bool | None = None


class Export(Shown):
    """A copy of many rows in files."""

    id: str
    state: str
    format: str | None = None
    counts: dict[str, Any] = Field(default_factory=dict)
    files: list[dict[str, Any]] | None = None
    error: Failure | None = None

    @property
    def is_settled(self) -> bool:
        return self.state in SETTLED


class ExportFile(Shown):
    """One file of an export. `url` is None where it lies in your own bucket, at `key`."""

    name: str
    rows: int | None = None
    size_bytes: int
    sha256: str
    key: str | None = None
    url: str | None = None


class Artifact(Shown):
    """A file behind a result: the whole `report`, or a `crop`, of which `shows` says what is to be seen."""

    id: str
    kind: str
    content_type: str | None = None
    size_bytes: int | None = None
    created_at: datetime | None = None
    shows: dict[str, Any] | None = None


class ApiKey(Shown):
    """A key; `secret`, the whole text to send, is there only in the answer that made it."""

    id: str
    name: str | None = None
    scopes: list[str] = Field(default_factory=list)
    state: str | None = None
    secret: str | None = Field(default=None, repr=False)
    created_at: datetime | None = None
    expires_at: datetime | None = None
    revoked_at: datetime | None = None


class Policy(Shown):
    """By what a verdict is given. `etag` is for `put`, so that nobody else's change is overwritten."""

    id: str | None = None
    name: str | None = None
    etag: str | None = None


class Relabeling(Shown):
    """How far a policy's words are on stored results."""

    id: str
    policy: str | None = None
    state: str
    looked_at: int = 0
    changed: int = 0


class ProjectRetention(Shown):
    """How long what is kept of a project's jobs. `etag` is for `put_retention`."""

    project: dict[str, Any] = Field(default_factory=dict)
    effective: dict[str, Any] = Field(default_factory=dict)
    maximum: dict[str, Any] = Field(default_factory=dict)
    updated_at: datetime | None = None
    etag: str | None = None


class LegalHold(Shown):
    """A hold on one job."""

    job_id: str
    reason: str
    placed_at: datetime | None = None
    released_at: datetime | None = None


class Erasure(Shown):
    """An order to erase. Once it is `completed` the last object is gone, and `proof` says what was erased."""

    id: str
    state: str
    selector: dict[str, Any] = Field(default_factory=dict)
    counts: dict[str, Any] = Field(default_factory=dict)
    proof: dict[str, Any] | None = None
    created_at: datetime | None = None
    finished_at: datetime | None = None


class AuditEvent(Shown):
    """One administrative act. `hash` covers everything else, `previous_hash` included."""

    id: str
    sequence: int
    actor: str
    action: str
    target: str
    details: dict[str, Any] = Field(default_factory=dict)
    created_at: datetime | None = None
    previous_hash: str | None = None
    hash: str | None = None


class Record(Shown):
    """A body that this version gives no names to; members as the service sent them."""
