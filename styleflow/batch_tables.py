"""The tables of batches: their order, their items, and how many of these are in which state."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Identity, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from styleflow.tables import Table, now


class BatchRow(Table):
    """Many videos under one order: where they are listed, and what each becomes a job with."""

    __tablename__ = "batches"

    id: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    name: Mapped[str]
    state: Mapped[str]
    source: Mapped[dict[str, Any]]
    """Where the items are listed; the items themselves for type `inline`, until they are expanded."""
    template: Mapped[dict[str, Any]]
    """What every job of it has: model, lane, options, callback, tags, metadata."""
    max_in_flight: Mapped[int]
    """Most jobs of it that are queued or running at a time."""
    max_item_errors: Mapped[int | None]
    """At so many items that failed the batch stops; null goes on to the end."""
    budget_seconds: Mapped[float | None]
    """When attempts at its jobs held workers for so long the batch stops; null is without end."""
    request_id: Mapped[str | None]
    error: Mapped[dict[str, Any] | None]
    """Why its items could not all be listed, or why it stopped."""

    checkpoint: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'::jsonb"))
    """How far the expansion is."""
    lease_owner: Mapped[str | None]
    lease_token: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    """Fencing token: grows whenever somebody takes over the expansion, guards every write of it."""
    lease_expires_at: Mapped[datetime | None]
    """Until then the expansion is somebody's, or waits to be tried again."""

    drain_settled: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    drain_rate: Mapped[float] = mapped_column(server_default=text("0"))
    """Items a second that settled lately."""
    drain_at: Mapped[datetime] = now()

    event_sequence: Mapped[int] = mapped_column(server_default=text("0"))
    created_at: Mapped[datetime] = now()
    expanded_at: Mapped[datetime | None]
    retry_requested_at: Mapped[datetime | None]
    """Items that failed until then are to become jobs again; null when that is done."""
    finished_at: Mapped[datetime | None]
    expires_at: Mapped[datetime]

    __table_args__ = (
        Index("ix_batches_listing", "project_id", text("created_at desc"), text("id desc")),
        Index("ix_batches_open", "created_at", postgresql_where=text("finished_at is null")),
        Index("ix_batches_expires", "expires_at"),
    )


class BatchItemRow(Table):
    """One video that a batch lists, or one line that lists none."""

    __tablename__ = "batch_items"

    batch_id: Mapped[str] = mapped_column(ForeignKey("batches.id", ondelete="CASCADE"), primary_key=True)
    position: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    """From 1: the line of a manifest, the place in an inline list or in a listing of a bucket."""
    state: Mapped[str]
    """`listed` until it becomes a job, then `submitted`; `invalid` or `canceled` when it never does."""
    identity: Mapped[bytes | None]
    """Digest of what it names, by which repetitions collapse; null for an invalid one."""
    item: Mapped[dict[str, Any]]
    """Source, client_ref, tags and metadata of the job to be."""
    job_id: Mapped[str | None]
    """Its latest job."""
    error_code: Mapped[str | None]
    error_message: Mapped[str | None]

    __table_args__ = (
        Index("uq_batch_items_identity", "batch_id", "identity", unique=True),
        Index("ix_batch_items_waiting", "batch_id", "state", "position", postgresql_where=text("state <> 'submitted'")),
        Index(
            "ix_batch_items_upload",
            text("(item #>> '{source,upload_id}')"),
            postgresql_where=text("state = 'listed' and item #>> '{source,upload_id}' is not null"),
        ),
        Index(
            "ix_batch_items_canceled",
            text("(item ->> 'client_ref')"),
            postgresql_where=text("state = 'canceled' and item ->> 'client_ref' is not null"),
        ),
    )


class BatchCountRow(Table):
    """How many items of a batch are in a state, but for what still stands in batch_deltas."""

    __tablename__ = "batch_counts"

    batch_id: Mapped[str] = mapped_column(ForeignKey("batches.id", ondelete="CASCADE"), primary_key=True)
    state: Mapped[str] = mapped_column(primary_key=True)
    items: Mapped[int] = mapped_column(BigInteger)


class BatchDeltaRow(Table):
    """A change of a count, written in the transaction that moves the item: rows of their own, so that nobody waits."""

    __tablename__ = "batch_deltas"

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    batch_id: Mapped[str] = mapped_column(index=True)
    state: Mapped[str]
    delta: Mapped[int] = mapped_column(BigInteger)
