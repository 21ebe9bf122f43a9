"""Every table. Times are timestamptz and come from the database's clock; ids are opaque text."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    DateTime,
    Double,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Text,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, REAL
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s",
    "pk": "pk_%(table_name)s",
}


class Table(DeclarativeBase):
    """Root of the mapped classes."""

    metadata = MetaData(naming_convention=NAMING)
    type_annotation_map = {  # noqa: RUF012 (SQLAlchemy reads it as a plain class attribute)
        str: Text,
        int: Integer,
        float: Double,
        bytes: LargeBinary,
        datetime: DateTime(timezone=True),
        dict[str, Any]: JSONB,
        list[str]: ARRAY(Text),
    }


def now() -> Mapped[datetime]:
    """A column that says when the row was made."""
    return mapped_column(server_default=func.now())


class ProjectRow(Table):
    """A tenant: everything a caller sees belongs to one."""

    __tablename__ = "projects"

    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    created_at: Mapped[datetime] = now()


class ApiKeyRow(Table):
    """A caller's key; the secret itself is never stored."""

    __tablename__ = "api_keys"

    id: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    name: Mapped[str]
    key_id: Mapped[str] = mapped_column(unique=True)
    secret_hash: Mapped[bytes]
    scopes: Mapped[list[str]]
    created_at: Mapped[datetime] = now()
    expires_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]
    mode: Mapped[str] = mapped_column(server_default=text("'live'"))
    """`live` or `test`: the word in the key's own text."""
    cidrs: Mapped[list[str] | None]
    """Networks from which it may be used; null is from anywhere."""
    rotated_at: Mapped[datetime | None]
    previous_secret_hash: Mapped[bytes | None]
    """The secret before the last rotation, good until `previous_expires_at`."""
    previous_expires_at: Mapped[datetime | None]


class JobRow(Table):
    """One video under one promise."""

    __tablename__ = "jobs"

    id: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    parent_job_id: Mapped[str | None]
    state: Mapped[str]
    lane: Mapped[str]
    run_at: Mapped[datetime] = now()
    deadline: Mapped[datetime | None]
    batch_id: Mapped[str | None]
    """The batch that it was submitted for. No foreign key: a batch and its jobs are kept for times of their own."""
    batch_position: Mapped[int | None] = mapped_column(BigInteger)

    source: Mapped[dict[str, Any]]
    model: Mapped[str]
    options: Mapped[dict[str, Any]]
    callback_endpoint_id: Mapped[str | None]
    policy: Mapped[str] = mapped_column(server_default=text("'default'"))
    """The name of the thresholds that its verdict is by; `default` is the pack's own."""
    policy_revision: Mapped[int | None]
    policy_thresholds: Mapped[dict[str, Any] | None]
    """What that revision says, kept here so that a worker needs no other row; null for the pack's own."""
    dedupe: Mapped[str] = mapped_column(server_default=text("'off'"))
    """`reuse`, `force` or `off`: see `jobs/reuse.py`."""
    content_key: Mapped[bytes | None]
    """Digest of all that decides its result; only of a job whose result may be used again."""
    deduplicated_from: Mapped[str | None]
    client_ref: Mapped[str | None]
    tags: Mapped[dict[str, Any]]
    job_metadata: Mapped[dict[str, Any]] = mapped_column("metadata")
    request_id: Mapped[str | None]

    attempt: Mapped[int] = mapped_column(server_default=text("0"))
    """Claims so far; a graceful release takes one back."""
    max_attempts: Mapped[int]
    crash_count: Mapped[int] = mapped_column(server_default=text("0"))
    """Attempts that ended with the lease running out."""
    lease_owner: Mapped[str | None]
    lease_token: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    """Fencing token: grows with every claim, guards every write of a worker."""
    lease_expires_at: Mapped[datetime | None]
    cancel_requested_at: Mapped[datetime | None]
    progress: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'::jsonb"))

    outcome: Mapped[str | None]
    reason: Mapped[str | None]
    verdict: Mapped[str | None]
    score: Mapped[float | None]
    probability: Mapped[float | None]
    media: Mapped[dict[str, Any] | None]
    pipeline: Mapped[dict[str, Any] | None]
    top_segments: Mapped[list[dict[str, Any]] | None] = mapped_column(JSONB(none_as_null=True))
    """The highest stretches of a scored video by the thresholds that it was judged by; kept with the frames."""
    error: Mapped[dict[str, Any] | None]

    row_version: Mapped[int] = mapped_column(BigInteger, server_default=text("1"))
    """Grows with every change that a caller can see; half of the ETag."""
    event_sequence: Mapped[int] = mapped_column(server_default=text("0"))
    created_at: Mapped[datetime] = now()
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    expires_at: Mapped[datetime | None]
    erased_at: Mapped[datetime | None]

    retention: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    """What was agreed when the job was accepted, and under `ended` when which class ended."""
    dated_at: Mapped[datetime | None]
    """When the dates below and `expires_at` were written, at the end of the job."""
    source_until: Mapped[datetime | None]
    crops_until: Mapped[datetime | None]
    frames_until: Mapped[datetime | None]
    """When crops, when frame scores are to go; null when there are none, or none any more."""
    zero_at: Mapped[datetime | None]
    """When a job of zero retention loses all but its answer, at the latest; null for others, and afterwards."""
    held_at: Mapped[datetime | None]
    """Under legal hold since then."""

    __table_args__ = (
        Index("ix_jobs_claim", "lane", "run_at", "id", postgresql_where=text("state = 'queued'")),
        Index("ix_jobs_lease", "lease_expires_at", postgresql_where=text("state = 'running'")),
        Index("ix_jobs_deadline", "deadline", postgresql_where=text("state in ('queued', 'running')")),
        Index("ix_jobs_listing", "project_id", text("created_at desc"), text("id desc")),
        Index("ix_jobs_content", "project_id", "content_key", postgresql_where=text("content_key is not null")),
        Index("ix_jobs_ending", "expires_at", postgresql_where=text("finished_at is not null and held_at is null")),
        Index(
            "ix_jobs_crops_until",
            "crops_until",
            postgresql_where=text("crops_until is not null and held_at is null"),
        ),
        Index(
            "ix_jobs_frames_until",
            "frames_until",
            postgresql_where=text("frames_until is not null and held_at is null"),
        ),
        Index("ix_jobs_zero_at", "zero_at", postgresql_where=text("zero_at is not null and held_at is null")),
        Index(
            "ix_jobs_undated",
            "finished_at",
            postgresql_where=text("finished_at is not null and dated_at is null and erased_at is null"),
        ),
        # Over all rows: of a partial one the planner does not use what it knows about the values.
        Index("ix_jobs_upload", text("(source ->> 'upload_id')")),
        Index(
            "ix_jobs_media_sha256",
            "project_id",
            text("(media ->> 'sha256')"),
            postgresql_where=text("media ->> 'sha256' is not null"),
        ),
        Index(
            "ix_jobs_source_sha256",
            "project_id",
            text("(source ->> 'sha256')"),
            postgresql_where=text("source ->> 'sha256' is not null"),
        ),
        Index("ix_jobs_erased", "id", postgresql_where=text("erased_at is not null")),
        Index(
            "ix_jobs_client_ref_id", "project_id", "client_ref", "id", postgresql_where=text("client_ref is not null")
        ),
        Index("ix_jobs_lane", "project_id", "lane", text("created_at desc"), text("id desc")),
        Index(
            "ix_jobs_queued",
            "project_id",
            text("created_at desc"),
            text("id desc"),
            postgresql_where=text("state = 'queued'"),
        ),
        Index(
            "ix_jobs_settled",
            "project_id",
            "state",
            text("created_at desc"),
            text("id desc"),
            postgresql_where=text("state <> 'queued' and state <> 'running'"),
        ),
        Index(
            "ix_jobs_outcome",
            "project_id",
            "outcome",
            text("created_at desc"),
            text("id desc"),
            postgresql_where=text("outcome is not null"),
        ),
        Index(
            "ix_jobs_verdict",
            "project_id",
            "verdict",
            text("created_at desc"),
            text("id desc"),
            postgresql_where=text("verdict is not null"),
        ),
        Index(
            "ix_jobs_tags",
            "tags",
            postgresql_using="gin",
            postgresql_ops={"tags": "jsonb_path_ops"},
            postgresql_where=text("tags <> '{}'::jsonb"),
        ),
        Index(
            "ix_jobs_batch",
            "batch_id",
            text("created_at desc"),
            text("id desc"),
            postgresql_where=text("batch_id is not null"),
        ),
        Index(
            "ix_jobs_batch_state",
            "batch_id",
            "state",
            "batch_position",
            postgresql_where=text("batch_id is not null"),
        ),
        {"postgresql_with": {"fillfactor": "80"}},
    )


_SUMMARY = {"pages_per_range": "16", "autosummarize": "on"}


class AttemptRow(Table):
    """One claim of one job, and how it ended."""

    __tablename__ = "attempts"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    token: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    number: Mapped[int]
    worker: Mapped[str]
    started_at: Mapped[datetime] = now()
    finished_at: Mapped[datetime | None]
    ended: Mapped[str | None]
    """`succeeded`, `failed`, `retried`, `released`, `lost` or `canceled`; null while it runs."""
    error_code: Mapped[str | None]

    __table_args__ = (
        Index("ix_attempts_finished_at", "finished_at", postgresql_using="brin", postgresql_with=_SUMMARY),
    )


class ResultRow(Table):
    """The report of a succeeded job, without its frames. At most one per job, for ever."""

    __tablename__ = "results"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    token: Mapped[int] = mapped_column(BigInteger)
    report: Mapped[dict[str, Any]]
    report_key: Mapped[str | None]
    """Bucket key of the whole report, frames included; null once frames are past their retention."""
    created_at: Mapped[datetime] = mapped_column(server_default=func.now(), index=True)


class TrackRow(Table):
    """One face of one report: its summary, and its frames as columns of equal length."""

    __tablename__ = "tracks"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    track_id: Mapped[str] = mapped_column(primary_key=True)
    position: Mapped[int]
    summary: Mapped[dict[str, Any]]
    """A FaceTrack without its frames."""
    frame_index: Mapped[list[int]] = mapped_column(ARRAY(Integer))
    time_seconds: Mapped[list[float]] = mapped_column(ARRAY(Double))
    box: Mapped[list[float]] = mapped_column(ARRAY(REAL))
    """Flat: left, top, right, bottom of frame 0, then of frame 1, and so on."""
    detection_confidence: Mapped[list[float | None]] = mapped_column(ARRAY(REAL))
    score: Mapped[list[float | None]] = mapped_column(ARRAY(REAL))
    flow_coarse: Mapped[list[float | None]] = mapped_column(ARRAY(REAL))
    flow_middle: Mapped[list[float | None]] = mapped_column(ARRAY(REAL))
    flow_fine: Mapped[list[float | None]] = mapped_column(ARRAY(REAL))
    attention: Mapped[list[float | None]] = mapped_column(ARRAY(REAL))


class OutboxRow(Table):
    """A nudge that dispatch has yet to publish; written in the transaction that queued the job."""

    __tablename__ = "outbox"

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), unique=True)
    lane: Mapped[str]
    project_id: Mapped[str] = mapped_column(server_default=text("''"))
    run_at: Mapped[datetime] = now()
    published_at: Mapped[datetime | None]
    """Kept after publication until the job is claimed, so that a lost message is noticed and sent again."""
    aged: Mapped[bool] = mapped_column(Boolean, server_default=text("false"))
    """It waited so long in its lane that it was let into the one before."""

    __table_args__ = (
        Index("ix_outbox_aged", "id", postgresql_where=text("aged")),
        Index("ix_outbox_due", "lane", "project_id", "run_at", "id", postgresql_where=text("published_at is null")),
        Index("ix_outbox_published", "published_at", postgresql_where=text("published_at is not null")),
    )


class UploadRow(Table):
    """Bytes that a caller announced and sends to the bucket."""

    __tablename__ = "uploads"

    id: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    state: Mapped[str]
    """`pending`, `complete`, or `erased`: then `expires_at` says when."""
    filename: Mapped[str]
    content_type: Mapped[str]
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[str | None]
    key: Mapped[str]
    part_bytes: Mapped[int | None] = mapped_column(BigInteger)
    """Size of every part but the last; null for bytes that come in one piece."""
    multipart_id: Mapped[str | None]
    """The bucket's; null until addresses of parts are asked for."""
    etag: Mapped[str | None]
    version_id: Mapped[str | None]
    created_at: Mapped[datetime] = now()
    expires_at: Mapped[datetime]

    __table_args__ = (
        Index("ix_uploads_expires", "expires_at", postgresql_where=text("state <> 'erased'")),
        Index("ix_uploads_erased", "expires_at", postgresql_where=text("state = 'erased'")),
        Index("ix_uploads_sha256", "project_id", "sha256", postgresql_where=text("sha256 is not null")),
    )


class IdempotencyRow(Table):
    """The stored answer to a request that carried an Idempotency-Key."""

    __tablename__ = "idempotency_keys"

    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"), primary_key=True)
    operation: Mapped[str] = mapped_column(primary_key=True)
    """Method and route template."""
    key: Mapped[str] = mapped_column(primary_key=True)
    fingerprint: Mapped[str]
    status: Mapped[int | None]
    body: Mapped[dict[str, Any] | None]
    headers: Mapped[dict[str, Any] | None]
    created_at: Mapped[datetime] = now()
    expires_at: Mapped[datetime] = mapped_column(index=True)

    __table_args__ = (Index("ix_idempotency_keys_made", text("(body ->> 'id')")),)
