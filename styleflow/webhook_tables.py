"""The tables of events and of their way to the callers' receivers."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Boolean, ForeignKey, Index, false, func, text
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
    signature: Mapped[str] = mapped_column(server_default=text("'hmac'"))
    """`hmac` or `ed25519`."""
    payload: Mapped[str] = mapped_column(server_default=text("'summary'"))
    """`summary` or `thin`."""
    version: Mapped[str] = mapped_column(server_default=text("'1'"))
    """Of the bodies."""
    max_rps: Mapped[int | None]
    """Requests a second at most; null for as many as it answers."""
    max_concurrency: Mapped[int] = mapped_column(server_default=text("2"))
    """Requests open at a time at most."""
    secret_encrypted: Mapped[bytes]
    public_key: Mapped[str | None]
    """Beside an ed25519 secret: what receivers verify with."""
    previous_secret_encrypted: Mapped[bytes | None]
    previous_public_key: Mapped[str | None]
    previous_secret_until: Mapped[datetime | None]
    """Until then messages are also signed with the secret from before the last rotation."""
    state: Mapped[str]
    """`pending` until a ping was answered with 2xx, `active`, or `disabled`."""
    disabled_reason: Mapped[str | None]
    """`request`, `gone` (it answered 410), `no_success`, or `deleted`."""
    ping_delivery_id: Mapped[str | None]
    """The delivery whose success makes a pending endpoint active."""
    revision: Mapped[int] = mapped_column(server_default=text("1"))
    """Grows with every change of what its owner decides, and of its state."""
    failing_since: Mapped[datetime | None]
    """When its deliveries began to fail; null again after the first success."""
    failures: Mapped[int] = mapped_column(server_default=text("0"))
    """In a row, up to now."""
    config_failures: Mapped[int] = mapped_column(server_default=text("0"))
    """In a row, of a class that only its owner can mend."""
    slow: Mapped[bool] = mapped_column(server_default=false())
    """Its last answer took long."""
    paused_until: Mapped[datetime | None]
    """Nothing is sent before: its circuit is open, or it asked for time."""
    paced_until: Mapped[datetime | None]
    """When `max_rps` allows the next request."""
    created_at: Mapped[datetime] = now()
    deleted_at: Mapped[datetime | None]


class EventRow(Table):
    """Something that happened to a job, a batch or another thing of the project. Written with the change itself."""

    __tablename__ = "events"

    id: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    job_id: Mapped[str | None] = mapped_column(index=True)
    subject_id: Mapped[str | None]
    """What it is about, where that is no job."""
    type: Mapped[str]
    sequence: Mapped[int]
    """Per job or subject, from 1: receivers drop what is older than what they saw."""
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
        Index("ix_events_subject", "subject_id", "sequence", postgresql_where=text("subject_id is not null")),
        Index("ix_events_feed", "project_id", "created_at", "id"),
    )


class DeliveryRow(Table):
    """One event on its way to one endpoint."""

    __tablename__ = "deliveries"

    id: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    endpoint_id: Mapped[str] = mapped_column(ForeignKey("webhook_endpoints.id", ondelete="CASCADE"), index=True)
    event_id: Mapped[str] = mapped_column(ForeignKey("events.id", ondelete="CASCADE"), index=True)
    redelivery_of: Mapped[str | None]
    replay_id: Mapped[str | None]
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
        Index(
            "uq_deliveries_replay",
            "replay_id",
            "event_id",
            unique=True,
            postgresql_where=text("replay_id is not null"),
        ),
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


class ReplayRow(Table):
    """An order to send again what happened in a span of time; carried out some hundred events at a time."""

    __tablename__ = "webhook_replays"

    id: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    endpoint_id: Mapped[str] = mapped_column(ForeignKey("webhook_endpoints.id", ondelete="CASCADE"))
    from_time: Mapped[datetime]
    to_time: Mapped[datetime]
    """Not included."""
    states: Mapped[list[str]]
    """Of an event's latest delivery: `failed`, `delivered`."""
    event_types: Mapped[list[str] | None]
    state: Mapped[str]
    """`running`, `completed`, or `canceled` because the endpoint is gone."""
    seen_time: Mapped[datetime]
    seen_id: Mapped[str]
    """With `seen_time`: the last event that was looked at."""
    deliveries: Mapped[int] = mapped_column(server_default=text("0"))
    created_at: Mapped[datetime] = now()
    finished_at: Mapped[datetime | None]

    __table_args__ = (
        Index("uq_webhook_replays_running", "endpoint_id", unique=True, postgresql_where=text("state = 'running'")),
    )
