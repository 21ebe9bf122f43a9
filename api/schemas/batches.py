"""Bodies of `/v1/batches`."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from api.schemas.body import Id, Moment, RequestBody, ResponseBody, Text, Timestamp, WholeNumber
from api.schemas.jobs import (
    MAX_TAGS,
    Callback,
    JobSource,
    S3Source,
    Tag,
    TagName,
    UploadSource,
    UrlSource,
    small,
)
from api.schemas.options import Options
from api.schemas.policies import PolicyName
from api.schemas.retention import Effective, RetentionWishes
from styleflow.batches.state import BatchState
from styleflow.jobs.reuse import Dedupe
from styleflow.jobs.state import Lane

MAX_INLINE_ITEMS = 1000
MAX_IN_FLIGHT = 100_000
VIDEO_EXTENSIONS = (".mp4", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".m4v")

Metadata = Annotated[dict[str, Any], AfterValidator(small)]
Tags = Annotated[dict[TagName, Tag], Field(max_length=MAX_TAGS)]


class ManifestSource(RequestBody):
    """A list in a bucket, a line an item."""

    type: Literal["manifest"]
    uri: Annotated[Text, StringConstraints(min_length=1, max_length=2048, pattern=r"^s3://[^/]+/.+$")] = Field(
        description="`s3://BUCKET/KEY` in a bucket that the operator allows; the key as it stands."
    )
    format: Literal["jsonl", "csv"]


class PrefixSource(RequestBody):
    """Every object of a bucket whose key begins with the prefix and ends like a video's."""

    type: Literal["prefix"]
    bucket: Annotated[Text, StringConstraints(min_length=1, max_length=255)]
    prefix: Annotated[Text, StringConstraints(max_length=1024)] = ""
    extensions: Annotated[
        list[Annotated[Text, StringConstraints(min_length=1, max_length=16, pattern=r"^\.", to_lower=True)]],
        Field(min_length=1, max_length=32, description="Compared without regard to upper and lower case."),
    ] = Field(default_factory=lambda: list(VIDEO_EXTENSIONS))
    modified_after: Moment | None = None


class BatchItem(RequestBody):
    """One video of an inline list."""

    source: Annotated[S3Source | UrlSource | UploadSource, Field(discriminator="type")]
    client_ref: Annotated[Text, StringConstraints(min_length=1, max_length=256)] | None = None
    tags: Tags = Field(default_factory=dict)
    metadata: dict[
        Annotated[Text, StringConstraints(max_length=64)], Annotated[Text, StringConstraints(max_length=1024)]
    ] = Field(default_factory=dict, max_length=32)


class InlineSource(RequestBody):
    """The items themselves."""

    type: Literal["inline"]
    items: Annotated[list[BatchItem], Field(min_length=1, max_length=MAX_INLINE_ITEMS)]


class Defaults(RequestBody):
    """What every job of the batch has. An item's own tags and metadata are added, and win."""

    model: Annotated[Text, StringConstraints(min_length=1, max_length=128)] | None = None
    options: Options = Options()
    tags: Tags = Field(default_factory=dict)
    metadata: Metadata = Field(default_factory=dict)
    callback: Callback | None = None
    dedupe: Dedupe = Dedupe.OFF
    policy: PolicyName = "default"
    retention: RetentionWishes | None = None


class Budget(RequestBody):
    """How much work a batch may cost."""

    worker_seconds: Annotated[
        float,
        Field(gt=0, le=1e9, strict=True, description="For which attempts at its jobs may hold workers, all together."),
    ]


class CreateBatch(RequestBody):
    """Many videos under one order."""

    name: Annotated[Text, StringConstraints(min_length=1, max_length=128)]
    source: Annotated[ManifestSource | PrefixSource | InlineSource, Field(discriminator="type")]
    defaults: Defaults = Defaults()
    lane: Lane = Lane.BULK
    max_in_flight: Annotated[
        Annotated[WholeNumber, Field(ge=1, le=MAX_IN_FLIGHT)] | None,
        Field(description="Most jobs of it that are queued or running at a time."),
    ] = None
    on_item_error: Literal["continue", "stop_after_n"] = "continue"
    max_item_errors: Annotated[
        Annotated[WholeNumber, Field(ge=1)] | None,
        Field(description="With `stop_after_n`: at so many invalid, failed or expired items the rest is canceled."),
    ] = None

    budget: Annotated[
        Budget | None, Field(description="Once it is spent the rest is canceled, with the error `budget_exceeded`.")
    ] = None

    @model_validator(mode="after")
    def _limit_where_one_counts(self) -> Self:
        if (self.on_item_error == "stop_after_n") != (self.max_item_errors is not None):
            raise ValueError("max_item_errors goes with on_item_error stop_after_n")
        return self


class BatchFilters(RequestBody):
    """The query of `GET /v1/batches`."""

    state: BatchState | None = None
    limit: Annotated[int, Field(ge=1, description="At most 200; more is taken as 200.")] = 50
    cursor: Annotated[Text, StringConstraints(max_length=1024)] | None = None


class ItemFilters(RequestBody):
    """The query of a batch's items."""

    state: Literal["listed", "invalid", "queued", "running", "succeeded", "failed", "canceled", "expired"] | None = None
    limit: Annotated[int, Field(ge=1, description="At most 200; more is taken as 200.")] = 50
    cursor: Annotated[Text, StringConstraints(max_length=1024)] | None = None


class BatchSource(ResponseBody):
    """Where the items are listed. Members that do not apply to the type are null."""

    type: str
    uri: str | None = None
    format: str | None = None
    bucket: str | None = None
    prefix: str | None = None
    extensions: list[str] | None = None
    modified_after: str | None = None


class BatchCounts(ResponseBody):
    """Items by where they stand. Every item is in one of them, but for `deduplicated`."""

    listed: Annotated[int, Field(description="Waiting to become a job.")]
    invalid: Annotated[int, Field(description="Lines that can be none; `/errors` lists them.")]
    queued: int
    running: int
    succeeded: int
    failed: int
    canceled: int
    expired: int
    deduplicated: Annotated[int, Field(description="Lines that name what an earlier line names; they are no items.")]


class BatchFailure(ResponseBody):
    """Why the items could not all be listed, or why the batch stopped."""

    code: str
    message: str


class BatchLinks(ResponseBody):
    """Where to go on."""

    self: str
    items: str
    errors: str
    jobs: str


class BatchCost(ResponseBody):
    """What the batch has cost so far; attempts that still run are not in it."""

    worker_seconds: float
    budget_worker_seconds: Annotated[float | None, Field(description="Null when there is no budget.")]


class Batch(ResponseBody):
    """Where many videos stand."""

    id: Id
    object: Literal["batch"] = "batch"
    name: str
    state: BatchState
    source: BatchSource
    counts: BatchCounts
    progress: Annotated[float, Field(description="Share of the items known so far that are settled, 0 to 1.")]
    eta: Annotated[Timestamp | None, Field(description="From the rate of the last minutes; null while it is unknown.")]
    cost: BatchCost
    error: BatchFailure | None
    model: str
    lane: Lane
    max_in_flight: int
    on_item_error: str
    max_item_errors: int | None
    retention: Annotated[
        Effective | None, Field(description="What is agreed for its jobs; null where nothing was, in earlier versions.")
    ] = None
    created_at: Timestamp
    expanded_at: Annotated[Timestamp | None, Field(description="When its last item was listed.")]
    finished_at: Timestamp | None
    expires_at: Timestamp
    links: BatchLinks


class BatchPage(ResponseBody):
    """Newest first."""

    data: list[Batch]
    next_cursor: str | None
    has_more: bool


class ItemFailure(ResponseBody):
    """Why a line is no item, or why the job of one failed."""

    code: str
    message: str


class Item(ResponseBody):
    """One video of a batch, or one line that names none."""

    position: Annotated[int, Field(description="From 1: the line of a manifest, or the place in the list.")]
    state: str
    source: JobSource | None
    client_ref: str | None
    job_id: str | None
    error: ItemFailure | None


class ItemPage(ResponseBody):
    """In order of position."""

    data: list[Item]
    next_cursor: str | None
    has_more: bool


class ItemError(ResponseBody):
    """One line of the errors manifest."""

    line: int
    state: str
    code: str
    message: str
    source: JobSource | None
    client_ref: str | None
    job_id: str | None


CREATE_EXAMPLES: dict[str, Any] = {
    "manifest": {
        "summary": "A manifest in a bucket",
        "value": {
            "name": "backlog of November",
            "source": {"type": "manifest", "uri": "s3://acme-ugc/manifests/2026-11.jsonl", "format": "jsonl"},
            "defaults": {"tags": {"queue": "politics"}},
            "max_in_flight": 200,
            "budget": {"worker_seconds": 7200},
        },
    },
    "prefix": {
        "summary": "Everything under a prefix that came since a day",
        "value": {
            "name": "daily",
            "source": {
                "type": "prefix",
                "bucket": "acme-ugc",
                "prefix": "2026/11/",
                "extensions": [".mp4"],
                "modified_after": "2026-11-20T00:00:00Z",
            },
        },
    },
    "inline": {
        "summary": "A short list, which stops at the first failure",
        "value": {
            "name": "appeals",
            "source": {
                "type": "inline",
                "items": [
                    {"source": {"type": "s3", "bucket": "acme-ugc", "key": "2026/11/a.mp4"}, "client_ref": "post-991"},
                    {"source": {"type": "url", "url": "https://media.example.org/clip.mp4"}},
                ],
            },
            "lane": "standard",
            "on_item_error": "stop_after_n",
            "max_item_errors": 1,
        },
    },
}

_MOMENT = datetime.fromisoformat("2026-11-20T12:31:00+00:00")
_SELF = "/v1/batches/bat_01JD8QM3P4Q5R6S7T8V9W0X1Y2"

BATCH_EXAMPLE: dict[str, Any] = Batch(
    id="bat_01JD8QM3P4Q5R6S7T8V9W0X1Y2",
    name="backlog of November",
    state=BatchState.RUNNING,
    source=BatchSource(type="manifest", uri="s3://acme-ugc/manifests/2026-11.jsonl", format="jsonl"),
    counts=BatchCounts(
        listed=800, invalid=2, queued=190, running=10, succeeded=990, failed=8, canceled=0, expired=0, deduplicated=5
    ),
    progress=0.5,
    eta=_MOMENT,
    cost=BatchCost(worker_seconds=2940.5, budget_worker_seconds=7200.0),
    error=None,
    model="styleflow@default",
    lane=Lane.BULK,
    max_in_flight=200,
    on_item_error="continue",
    max_item_errors=None,
    created_at=_MOMENT,
    expanded_at=_MOMENT,
    finished_at=None,
    expires_at=_MOMENT,
    links=BatchLinks(
        self=_SELF,
        items=f"{_SELF}/items",
        errors=f"{_SELF}/errors",
        jobs="/v1/jobs?batch_id=bat_01JD8QM3P4Q5R6S7T8V9W0X1Y2",
    ),
).model_dump(mode="json")

ERRORS_EXAMPLE = (
    '{"line":17,"state":"invalid","code":"malformed_json","message":"this line is not JSON","source":null,'
    '"client_ref":null,"job_id":null}\n'
)
