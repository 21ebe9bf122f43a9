"""Bodies of `/v1/jobs`."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, StringConstraints

from api.schemas.body import (
    Id,
    Moment,
    RequestBody,
    ResponseBody,
    Sha256,
    Text,
    Timestamp,
    WebAddress,
)
from api.schemas.options import Options
from api.schemas.policies import PolicyName
from api.schemas.retention import JobRetention, RetentionWishes
from styleflow.jobs.reuse import Dedupe
from styleflow.jobs.state import JobState, Lane
from styleflow.report import Outcome, Verdict

MAX_METADATA_BYTES = 8 * 1024
MAX_METADATA_DEPTH = 32
MAX_TAGS = 16

Tag = Annotated[Text, StringConstraints(max_length=256)]
TagName = Annotated[Text, StringConstraints(min_length=1, max_length=64, pattern=r"^[^:\x00]+$")]


def small(value: dict[str, Any]) -> dict[str, Any]:
    """Raises ValueError for what does not fit into a row, is nested too deeply to be read back, or is no JSON."""
    if _is_deeper(value, MAX_METADATA_DEPTH):
        raise ValueError(f"must be nested at most {MAX_METADATA_DEPTH} deep")
    try:
        size = len(json.dumps(value, ensure_ascii=False, allow_nan=False).encode())
    except UnicodeEncodeError as error:
        raise ValueError("must hold whole characters") from error
    if size > MAX_METADATA_BYTES:
        raise ValueError(f"must have at most {MAX_METADATA_BYTES} bytes as JSON")
    if "\\u0000" in json.dumps(value):
        raise ValueError("must not hold a NUL character")
    return value


def _is_deeper(value: Any, levels: int) -> bool:
    """Whether objects and lists lie within each other more often than that. Level by level, without recursion."""
    level = [value]
    for _ in range(levels):
        level = [item for held in level for item in _items(held)]
    return any(isinstance(held, dict | list) for held in level)


def _items(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


class UploadSource(RequestBody):
    """Bytes sent to this service with `POST /v1/uploads`."""

    type: Literal["upload"]
    upload_id: Id


class S3Source(RequestBody):
    """An object in a bucket that the operator allows."""

    type: Literal["s3"]
    bucket: Annotated[Text, StringConstraints(min_length=1, max_length=255)]
    key: Annotated[Text, StringConstraints(min_length=1, max_length=1024)]
    version_id: Annotated[Text, StringConstraints(min_length=1, max_length=1024)] | None = None


class UrlSource(RequestBody):
    """A file on the web; fetched when the job runs."""

    type: Literal["url"]
    url: WebAddress


Source = Annotated[UploadSource | S3Source | UrlSource, Field(discriminator="type")]


class Callback(RequestBody):
    """An endpoint that is told when the job settles, whatever its own patterns say."""

    endpoint_id: Id


class CreateJob(RequestBody):
    """One video under one promise."""

    source: Source
    model: Annotated[Text, StringConstraints(min_length=1, max_length=128)] | None = None
    lane: Lane = Lane.STANDARD
    options: Options = Options()
    client_ref: Annotated[Text, StringConstraints(min_length=1, max_length=256)] | None = None
    tags: Annotated[dict[TagName, Tag], Field(max_length=MAX_TAGS)] = Field(default_factory=dict)
    metadata: Annotated[dict[str, Any], AfterValidator(small)] = Field(default_factory=dict)
    callback: Callback | None = None
    deadline: Moment | None = None
    policy: Annotated[PolicyName, Field(description="By whose thresholds the verdict is given.")] = "default"
    dedupe: Annotated[
        Dedupe,
        Field(
            description="`reuse`: where the same bytes were judged by the same pack with the same options in this"
            " project, that result is this job's, too. `force`: judge again, and let later jobs use it. `off`: neither."
        ),
    ] = Dedupe.OFF
    retention: RetentionWishes | None = None


class RerunJob(RequestBody):
    """The same video by another pack, or with other options."""

    model: Annotated[Text, StringConstraints(min_length=1, max_length=128)]
    options: Annotated[Options | None, Field(description="Those of the job itself when left out.")] = None


class JobFilters(RequestBody):
    """The query of `GET /v1/jobs`. A misspelt filter is an error: ignoring it would list every job."""

    state: JobState | None = None
    outcome: Outcome | None = None
    verdict: Verdict | None = None
    lane: Lane | None = None
    batch_id: Id | None = None
    client_ref: Annotated[Text, StringConstraints(max_length=256)] | None = None
    tag: Annotated[Text, StringConstraints(pattern=r"^[^:]{1,64}:[^\n]{0,256}$")] | None = Field(
        default=None, description="`key:value`"
    )
    created_after: Moment | None = None
    created_before: Moment | None = None
    sort: Annotated[Literal["-created_at", "created_at"], Field(description="Newest first, or oldest first.")] = (
        "-created_at"
    )
    limit: Annotated[int, Field(ge=1, description="At most 200; more is taken as 200.")] = 50
    cursor: Annotated[Text, StringConstraints(max_length=1024)] | None = None


class JobProgress(ResponseBody):
    """How far a running job is."""

    phase: str
    fraction: float
    clips_done: int
    clips_total: int | None


class JobLinks(ResponseBody):
    """Where to go on."""

    self: str
    result: str
    attempts: str
    events: str


class JobFailure(ResponseBody):
    """Why a job failed. `code` is one of the list in docs/api/errors.md."""

    code: str
    message: str
    retryable: bool = False


class JobSource(ResponseBody):
    """Where the video came from. Members that do not apply to the type are null."""

    type: str
    upload_id: str | None = None
    bucket: str | None = None
    key: str | None = None
    version_id: str | None = None
    url: str | None = None
    etag: str | None = None
    sha256: Sha256 | None = None
    size_bytes: int | None = None


class Job(ResponseBody):
    """Where one video stands. `state` says where, `outcome` whether it could be judged, `verdict` what was found."""

    id: str
    object: Literal["job"] = "job"
    state: JobState
    outcome: Outcome | None
    reason: Annotated[str | None, Field(description="Why there is no score, from a closed list.")]
    verdict: Verdict | None
    score: Annotated[float | None, Field(description="Raw pooled logit; null unless the outcome is `scored`.")]
    probability: Annotated[float | None, Field(description="Calibrated, 0 to 1; null unless `scored`.")]
    progress: JobProgress
    source: JobSource
    media: Annotated[dict[str, Any] | None, Field(description="What the container says of the video.")]
    model: str
    pipeline: Annotated[
        dict[str, Any] | None,
        Field(
            description="What ran: pack, `pack_sha256` of its parameters, `scoring_sha256` of what else in its card "
            "decides the score, code, device."
        ),
    ]
    options: dict[str, Any]
    lane: Lane
    attempt: int
    max_attempts: int
    cancel_requested: bool
    error: JobFailure | None
    parent_job_id: str | None
    policy: Annotated[str, Field(description="`name@revision`, or `default` for the pack's own thresholds.")]
    dedupe: Dedupe
    deduplicated_from: Annotated[str | None, Field(description="The job whose result this one took over.")]
    batch_id: str | None
    callback: dict[str, Any] | None
    client_ref: str | None
    tags: dict[str, str]
    metadata: dict[str, Any]
    deadline: Timestamp | None
    created_at: Timestamp
    started_at: Timestamp | None
    finished_at: Timestamp | None
    expires_at: Timestamp | None
    retention: Annotated[
        JobRetention | None, Field(description="How long what is kept; null for jobs of before there were agreements.")
    ] = None
    links: JobLinks


class JobPage(ResponseBody):
    """Newest first."""

    data: list[Job]
    next_cursor: str | None
    has_more: bool


class Attempt(ResponseBody):
    """One worker's try."""

    number: int
    worker: str
    started_at: Timestamp
    finished_at: Timestamp | None
    ended: str | None
    error_code: str | None


class AttemptList(ResponseBody):
    """Oldest first."""

    data: list[Attempt]


def tag_of(text: str | None) -> tuple[str, str] | None:
    """`key:value`, split at the first colon."""
    if text is None:
        return None
    name, _, value = text.partition(":")
    return name, value


CREATE_EXAMPLES: dict[str, Any] = {
    "upload": {
        "summary": "A file that was uploaded here",
        "value": {
            "source": {"type": "upload", "upload_id": "upl_01JD8QJ6ZB5T2Z1V9W3E7R4M0K"},
            "client_ref": "post-991",
            "tags": {"queue": "politics"},
            "callback": {"endpoint_id": "whe_01JD8QK2N9F4S5X6Y7Z8A9B0C1"},
        },
    },
    "url": {
        "summary": "A file on the web, before the waiting backlog",
        "value": {"source": {"type": "url", "url": "https://media.example.org/clip.mp4"}, "lane": "realtime"},
    },
    "s3": {
        "summary": "An object, with a sampling plan and a deadline",
        "value": {
            "source": {"type": "s3", "bucket": "acme-ugc", "key": "2026/11/a.mp4"},
            "model": "styleflow@default",
            "options": {"sampling": {"mode": "uniform", "clips": 64}},
            "deadline": "2027-01-01T00:00:00Z",
            "metadata": {"uploader": "u_17"},
        },
    },
}

_MOMENT = datetime.fromisoformat("2026-11-20T12:31:00+00:00")

JOB_EXAMPLE: dict[str, Any] = Job(
    id="job_01JD8QM3P4Q5R6S7T8V9W0X1Y2",
    state=JobState.QUEUED,
    outcome=None,
    reason=None,
    verdict=None,
    score=None,
    probability=None,
    progress=JobProgress(phase="queued", fraction=0.0, clips_done=0, clips_total=None),
    source=JobSource(type="url", url="https://media.example.org/clip.mp4"),
    media=None,
    model="styleflow@default",
    pipeline=None,
    options={},
    lane=Lane.STANDARD,
    attempt=0,
    max_attempts=5,
    cancel_requested=False,
    error=None,
    parent_job_id=None,
    policy="default",
    dedupe=Dedupe.OFF,
    deduplicated_from=None,
    batch_id=None,
    callback=None,
    client_ref="post-991",
    tags={"queue": "politics"},
    metadata={},
    deadline=None,
    created_at=_MOMENT,
    started_at=None,
    finished_at=None,
    expires_at=None,
    links=JobLinks(
        self="/v1/jobs/job_01JD8QM3P4Q5R6S7T8V9W0X1Y2",
        result="/v1/jobs/job_01JD8QM3P4Q5R6S7T8V9W0X1Y2/result",
        attempts="/v1/jobs/job_01JD8QM3P4Q5R6S7T8V9W0X1Y2/attempts",
        events="/v1/jobs/job_01JD8QM3P4Q5R6S7T8V9W0X1Y2/events",
    ),
).model_dump(mode="json")
