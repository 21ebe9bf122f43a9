"""The tables of exports: what was asked for, how far it is, and the files that were written."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Index, Integer, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from styleflow.tables import Table, now


class ExportRow(Table):
    """A copy of many rows, written into files by the light worker."""

    __tablename__ = "exports"

    id: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    state: Mapped[str]
    rows: Mapped[str]
    """What a row is: a job, a track, a clip, a frame or a segment."""
    format: Mapped[str]
    fields: Mapped[list[str]]
    """Names of the columns, in their order."""
    csv_safe: Mapped[bool] = mapped_column(server_default=text("true"))
    query: Mapped[dict[str, Any]]
    """Which jobs; members as `selection.Selection` has them."""
    destination: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    """`bucket` and `prefix` of the caller's own; null is our bucket."""
    request_id: Mapped[str | None]
    error: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))

    checkpoint: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'::jsonb"))
    """Behind which row to go on."""
    lease_owner: Mapped[str | None]
    lease_token: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    """Fencing token: grows with every claim, guards every write, and is part of every key."""
    lease_expires_at: Mapped[datetime | None]
    tries: Mapped[int] = mapped_column(server_default=text("0"))
    """Claims since the last file; too many without one end it."""

    row_count: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    file_count: Mapped[int] = mapped_column(server_default=text("0"))
    byte_count: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    manifest: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    """Key, size and SHA-256 of `manifest.json`; null until it succeeded."""
    keep_days: Mapped[float]

    created_at: Mapped[datetime] = now()
    """Also the bound of what it holds: jobs that were accepted later are not in it."""
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    expires_at: Mapped[datetime]

    __table_args__ = (
        Index("ix_exports_listing", "project_id", text("created_at desc"), text("id desc")),
        Index("ix_exports_open", "created_at", postgresql_where=text("finished_at is null")),
        Index("ix_exports_expires", "expires_at"),
    )


class ExportFileRow(Table):
    """One file of an export, stored whole before this row was."""

    __tablename__ = "export_files"

    export_id: Mapped[str] = mapped_column(ForeignKey("exports.id", ondelete="CASCADE"), primary_key=True)
    number: Mapped[int] = mapped_column(Integer, primary_key=True)
    """From 1, in order of the rows."""
    key: Mapped[str] = mapped_column(index=True)
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[str]
    row_count: Mapped[int] = mapped_column(BigInteger)
