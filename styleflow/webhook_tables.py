"""The tables of events and of their way to the callers' receivers."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Boolean, ForeignKey, Index, func, text
from sqlalchemy.orm import Mapped, mapped_column

from styleflow.tables import Table, now


class WebhookEndpointRow(Table):
    """An address that wants to be told. The secret is stored encrypted."""

    __tablename__ = "webhook_endpoints"

    id: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    url: Mapped[str]
    events: Mapped[list[str]]
    description: Mapped[str]
    secret_encrypted: Mapped[bytes]
    state: Mapped[str]
    """`active` or `disabled`."""
    disabled_reason: Mapped[str | None]
    failing_since: Mapped[datetime | None]
    """When its deliveries began to fail; null again after the first success."""
    created_at: Mapped[datetime] = now()
    deleted_at: Mapped[datetime | None]


class EventRow(Table):
    """Something that happened to a job, told to whoever subscribed. Written with the change itself."""

    __tablename__ = "events"

    id: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    job_id: Mapped[str | None] = mapped_column(index=True)
    type: Mapped[str]
    sequence: Mapped[int]
    """Per job, from 1: receivers drop what is older than what they saw."""
    terminal: Mapped[bool] = mapped_column(Boolean)
    body: Mapped[str]
    """The exact bytes that are signed and sent; empty once the job was erased and nothing is to be sent any more."""
    created_at: Mapped[datetime] = mapped_column(server_default=func.now(), index=True)
    erased_at: Mapped[datetime | None]
    """When its body was replaced by one that says nothing of the job, because it was still on its way."""

    __table_args__ = (
        Index("ix_events_erased", "erased_at", postgresql_where=text("erased_at is not null and body <> ''")),
        Index("uq_events_terminal", "job_id", unique=True, postgresql_where=text("terminal")),
        Index("uq_events_sequence", "job_id", "sequence", unique=True),
    )


class DeliveryRow(Table):
    """One event on its way to one endpoint."""

    __tablename__ = "deliveries"

    id: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    endpoint_id: Mapped[str] = mapped_column(ForeignKey("webhook_endpoints.id", ondelete="CASCADE"), index=True)
    event_id: Mapped[str] = mapped_column(ForeignKey("events.id", ondelete="CASCADE"), index=True)
    redelivery_of: Mapped[str | None]
    state: Mapped[str]
    """`pending`, `delivered`, `failed`."""
    attempt: Mapped[int] = mapped_column(server_default=text("0"))
    next_attempt_at: Mapped[datetime] = now()
    lease_expires_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = now()
    finished_at: Mapped[datetime | None]

    __table_args__ = (
        Index("ix_deliveries_due", "endpoint_id", "next_attempt_at", postgresql_where=text("state = 'pending'")),
        Index("ix_deliveries_leased", "endpoint_id", postgresql_where=text("lease_expires_at is not null")),
    )


class DeliveryAttemptRow(Table):
    """One request of one delivery."""

    __tablename__ = "delivery_attempts"

    delivery_id: Mapped[str] = mapped_column(ForeignKey("deliveries.id", ondelete="CASCADE"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    started_at: Mapped[datetime] = now()
    latency_ms: Mapped[int | None]
    status: Mapped[int | None]
    error: Mapped[str | None]
    """Class of the failure when there was no answer: `timeout`, `connect`, `tls`, `dns`, `protocol`,
    `blocked_address`, `secret`, `internal`, or `lost` when the deliverer died during the attempt."""
    response_excerpt: Mapped[str | None]
