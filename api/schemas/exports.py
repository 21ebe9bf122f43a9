"""Bodies of `/v1/exports`."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Any, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from api.schemas.body import Id, Moment, RequestBody, ResponseBody, Sha256, Text, Timestamp
from styleflow.exports.state import ExportState, Format, Rows
from styleflow.jobs.state import JobState, Lane
from styleflow.report import Outcome, Verdict


class ExportQuery(RequestBody):
    """Which jobs: those that fit all members given, as in the list of jobs. Nothing given is every job."""

    state: JobState | None = None
    outcome: Outcome | None = None
    verdict: Verdict | None = None
    lane: Lane | None = None
    batch_id: Id | None = None
    client_ref: Annotated[Text, StringConstraints(max_length=256)] | None = None
    tag: Annotated[Text, StringConstraints(max_length=321, pattern=r"^[^:]+:")] | None = Field(
        default=None, description="`key:value`"
    )
    created_after: Moment | None = None
    created_before: Moment | None = None


class Destination(RequestBody):
    """A bucket of your own that the operator lets exports be written into."""

    bucket: Annotated[Text, StringConstraints(min_length=1, max_length=255)]
    prefix: Annotated[
        Text, StringConstraints(max_length=512), Field(description="Ends in `/`, or is empty: the top of the bucket.")
    ] = ""


class CreateExport(RequestBody):
    """A copy of many rows in files."""

    query: ExportQuery = ExportQuery()
    batch_id: Annotated[Id | None, Field(description="Short for `query.batch_id`.")] = None
    rows: Annotated[Rows, Field(description="What a row is. All but `jobs` need the scope `evidence:read`.")] = (
        Rows.JOBS
    )
    format: Format
    fields: Annotated[
        Annotated[list[Annotated[Text, StringConstraints(max_length=64)]], Field(min_length=1, max_length=64)] | None,
        Field(description="Names of the columns, in their order; all of them when left out."),
    ] = None
    csv_safe: Annotated[
        bool,
        Field(description="In CSV, an apostrophe before text that a spreadsheet would take for a formula."),
    ] = True
    destination: Destination | None = None

    @model_validator(mode="after")
    def _one_batch(self) -> Self:
        if self.batch_id is not None and self.query.batch_id not in (None, self.batch_id):
            raise ValueError("batch_id and query.batch_id name two batches")
        return self


class ExportFilters(RequestBody):
    """The query of the list of exports."""

    state: ExportState | None = None
    limit: Annotated[int, Field(ge=1, description="At most 200; more is taken as 200.")] = 50
    cursor: Annotated[Text, StringConstraints(max_length=1024)] | None = None


class FileQuery(RequestBody):
    """The query of the list of an export's files."""

    limit: Annotated[int, Field(ge=1, description="At most 200; more is taken as 200.")] = 50
    cursor: Annotated[Text, StringConstraints(max_length=1024)] | None = None


class ExportCounts(ResponseBody):
    """What is written so far."""

    rows: int
    files: int
    bytes: int


class ExportFile(ResponseBody):
    """One file. `url` asks for the API key; where the bucket is S3 it leads to an address good for 15 minutes."""

    name: str
    rows: int
    size_bytes: int
    sha256: Sha256
    key: Annotated[str | None, Field(description="Where it lies in your own bucket; else null.")]
    url: Annotated[str | None, Field(description="Where to fetch it; null where it lies in your own bucket.")]


class ExportFailure(ResponseBody):
    """Why it came to nothing."""

    code: str
    message: str
    retryable: bool = False


class ExportDestination(ResponseBody):
    """The bucket of yours that it is written into."""

    bucket: str
    prefix: str


class ExportLinks(ResponseBody):
    """Where to go on."""

    self: str
    files: str
    manifest: Annotated[str | None, Field(description="Null until it succeeded, and where it lies in your own bucket.")]


class Export(ResponseBody):
    """Where an export stands."""

    id: Id
    object: Literal["export"] = "export"
    state: ExportState
    rows: Rows
    format: Format
    fields: list[str]
    csv_safe: bool
    query: dict[str, Any]
    destination: ExportDestination | None
    counts: ExportCounts
    files: Annotated[
        list[ExportFile] | None,
        Field(description="The first 50, once it succeeded; all of them at `/files`. Null in a list of exports."),
    ]
    error: ExportFailure | None
    created_at: Annotated[Timestamp, Field(description="Jobs that were accepted later are not in it.")]
    started_at: Timestamp | None
    finished_at: Timestamp | None
    expires_at: Annotated[Timestamp, Field(description="Then it and its files are deleted; later when it ends later.")]
    links: ExportLinks


class ExportPage(ResponseBody):
    """Newest first."""

    data: list[Export]
    next_cursor: str | None
    has_more: bool


class ExportFilePage(ResponseBody):
    """In order of the rows."""

    data: list[ExportFile]
    next_cursor: str | None
    has_more: bool


CREATE_EXAMPLES: dict[str, Any] = {
    "verdicts": {
        "summary": "Every suspicious video of November, for a spreadsheet",
        "value": {
            "query": {
                "verdict": "suspicious",
                "created_after": "2026-11-01T00:00:00Z",
                "created_before": "2026-12-01T00:00:00Z",
            },
            "format": "csv",
            "fields": ["job_id", "client_ref", "probability", "verdict", "source"],
        },
    },
    "batch": {
        "summary": "A batch, as Parquet",
        "value": {"batch_id": "bat_01JD8QM3P4Q5R6S7T8V9W0X1Y2", "format": "parquet"},
    },
    "frames": {
        "summary": "Frames of a batch, into a bucket of one's own",
        "value": {
            "query": {"batch_id": "bat_01JD8QM3P4Q5R6S7T8V9W0X1Y2", "outcome": "scored"},
            "rows": "frames",
            "format": "parquet",
            "destination": {"bucket": "acme-exports", "prefix": "styleflow/"},
        },
    },
}

_MOMENT = datetime.fromisoformat("2026-11-20T12:31:00+00:00")
_SELF = "/v1/exports/exp_01JD8QM3P4Q5R6S7T8V9W0X1Y2"

EXPORT_EXAMPLE: dict[str, Any] = Export(
    id="exp_01JD8QM3P4Q5R6S7T8V9W0X1Y2",
    state=ExportState.SUCCEEDED,
    rows=Rows.JOBS,
    format=Format.CSV,
    fields=["job_id", "client_ref", "probability", "verdict", "source"],
    csv_safe=True,
    query={"verdict": "suspicious"},
    destination=None,
    counts=ExportCounts(rows=1204, files=1, bytes=148_092),
    files=[
        ExportFile(
            name="part-00001.csv",
            rows=1204,
            size_bytes=148_092,
            sha256="9f" * 32,
            key=None,
            url=f"{_SELF}/files/part-00001.csv",
        )
    ],
    error=None,
    created_at=_MOMENT,
    started_at=_MOMENT + timedelta(seconds=1),
    finished_at=_MOMENT + timedelta(seconds=2),
    expires_at=_MOMENT + timedelta(days=7),
    links=ExportLinks(self=_SELF, files=f"{_SELF}/files", manifest=f"{_SELF}/files/manifest.json"),
).model_dump(mode="json")
