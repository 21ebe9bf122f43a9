"""The tables of retention: what a project keeps, what was erased, what is still to be erased, and what must not be."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Identity, Index, func, text
from sqlalchemy.orm import Mapped, mapped_column

from styleflow.tables import Table, now


class RetentionRow(Table):
    """How long one project keeps each class; null is the operator's default. An accepted job has a copy of its own."""

    __tablename__ = "retention_policies"

    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"), primary_key=True)
    mode: Mapped[str]
    """`standard` or `zero`."""
    source_hours: Mapped[float | None]
    crops_days: Mapped[float | None]
    frames_days: Mapped[float | None]
    results_days: Mapped[float | None]
    version: Mapped[int]
    """Grows with every change; the ETag."""
    updated_at: Mapped[datetime] = now()


class ErasureRow(Table):
    """An order to erase: which jobs, how far it is, and in the end the proof."""

    __tablename__ = "erasures"

    id: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    state: Mapped[str]
    """`pending`, `running` or `completed`."""
    selector: Mapped[dict[str, Any]]
    """`type` and `value`; once it is completed `hmac_sha256` of the value in its place. Earlier versions left a plain
    SHA-256 (`sha256`)."""
    created_before: Mapped[datetime]
    """Only jobs that were made until then."""
    requested_by: Mapped[str]
    """Id of the API key."""
    cursor: Mapped[str] = mapped_column(server_default=text("''"))
    """The last job of this walk that was looked at."""
    erased: Mapped[int] = mapped_column(server_default=text("0"))
    uploads: Mapped[int] = mapped_column(server_default=text("0"))
    unknown: Mapped[int] = mapped_column(server_default=text("0"))
    held: Mapped[int] = mapped_column(server_default=text("0"))
    """Jobs under legal hold, in this walk."""
    waiting: Mapped[int] = mapped_column(server_default=text("0"))
    """Jobs that were still running, in this walk."""
    undecided: Mapped[int] = mapped_column(server_default=text("0"))
    """Jobs under way when this walk began of which it shows at their end only whether they are meant; not counted to
    the last where they are many."""
    items: Mapped[int] = mapped_column(server_default=text("0"))
    """Lines of canceled items that were blanked."""
    walked: Mapped[bool] = mapped_column(server_default=text("false"))
    """Nothing is left to erase but objects."""
    lease_owner: Mapped[str | None]
    lease_token: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    lease_expires_at: Mapped[datetime | None]
    """Until then it is somebody's, or waits to be looked at again."""
    proof: Mapped[dict[str, Any] | None]
    created_at: Mapped[datetime] = now()
    finished_at: Mapped[datetime | None]

    __table_args__ = (
        Index("ix_erasures_open", text("lease_expires_at nulls first"), postgresql_where=text("finished_at is null")),
        Index("ix_erasures_listing", "project_id", text("id desc")),
        Index("ix_erasures_finished", "finished_at", postgresql_where=text("finished_at is not null")),
    )


class KeptUploadRow(Table):
    """An upload that an order would have erased, had nobody else needed it. Gone when the order's proof is written."""

    __tablename__ = "erasure_kept_uploads"

    erasure_id: Mapped[str] = mapped_column(ForeignKey("erasures.id", ondelete="CASCADE"), primary_key=True)
    upload_id: Mapped[str] = mapped_column(primary_key=True)


class TombstoneRow(Table):
    """That a job was, that it was erased, and digests of what was. Outlives the job's own row."""

    __tablename__ = "tombstones"

    job_id: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    reason: Mapped[str]
    """`request`, `retention` or `zero_retention`."""
    requested_by: Mapped[str | None]
    erasure_id: Mapped[str | None]
    summary_sha256: Mapped[str | None]
    """Of the stored summary as canonical JSON."""
    media_sha256: Mapped[str | None]
    erased_at: Mapped[datetime] = mapped_column(server_default=func.now(), index=True)

    __table_args__ = (
        Index("ix_tombstones_erasure", "erasure_id", "job_id", postgresql_where=text("erasure_id is not null")),
    )


class ObjectErasureRow(Table):
    """An object in our bucket that is to be erased, with all its versions. Gone when the store said that it is."""

    __tablename__ = "object_erasures"

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    name: Mapped[str]
    """A key, or a prefix that ends in `/`."""
    erasure_id: Mapped[str | None]
    attempts: Mapped[int] = mapped_column(server_default=text("0"))
    due_at: Mapped[datetime] = now()
    created_at: Mapped[datetime] = now()

    __table_args__ = (
        Index("ix_object_erasures_due", "due_at", "id"),
        Index("ix_object_erasures_erasure", "erasure_id", postgresql_where=text("erasure_id is not null")),
    )


class LegalHoldRow(Table):
    """That a job was put under legal hold, why and by whom; and released, when it was."""

    __tablename__ = "legal_holds"

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    job_id: Mapped[str]
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    reason: Mapped[str]
    placed_by: Mapped[str]
    placed_at: Mapped[datetime] = now()
    released_by: Mapped[str | None]
    released_at: Mapped[datetime | None]

    __table_args__ = (
        Index("uq_legal_holds_standing", "job_id", unique=True, postgresql_where=text("released_at is null")),
        Index("ix_legal_holds_listing", "project_id", text("id desc")),
        Index("ix_legal_holds_released", "released_at", postgresql_where=text("released_at is not null")),
    )
