"""The tables of tenants beyond their keys: quotas, what was used of them, and the record of administrative acts."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from sqlalchemy import BigInteger, Date, ForeignKey, Identity, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from styleflow.tables import Table, now


def _count() -> Mapped[int]:
    return mapped_column(BigInteger, server_default=text("0"))


def _quota() -> Mapped[int | None]:
    return mapped_column(BigInteger)


class ProjectQuotaRow(Table):
    """What a project may have, where that is not the installation's default (null). 0 sets no limit."""

    __tablename__ = "project_quotas"

    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"), primary_key=True)
    active_jobs: Mapped[int | None] = _quota()
    jobs_per_day: Mapped[int | None] = _quota()
    worker_seconds_per_day: Mapped[int | None] = _quota()
    upload_bytes_per_day: Mapped[int | None] = _quota()
    open_batches: Mapped[int | None] = _quota()
    webhook_endpoints: Mapped[int | None] = _quota()


class ProjectActivityRow(Table):
    """How many jobs of a project are queued or running, but for what still stands in usage_deltas."""

    __tablename__ = "project_activity"

    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"), primary_key=True)
    active_jobs: Mapped[int] = mapped_column(BigInteger)


class UsageDayRow(Table):
    """What a project used on one day (UTC) with one model, but for what still stands in usage_deltas."""

    __tablename__ = "usage_days"

    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"), primary_key=True)
    day: Mapped[date] = mapped_column(Date, primary_key=True)
    model: Mapped[str] = mapped_column(primary_key=True)
    """Empty for what belongs to none, such as uploads."""
    accepted: Mapped[int] = _count()
    succeeded: Mapped[int] = _count()
    failed: Mapped[int] = _count()
    canceled: Mapped[int] = _count()
    expired: Mapped[int] = _count()
    scored: Mapped[int] = _count()
    not_applicable: Mapped[int] = _count()
    inconclusive: Mapped[int] = _count()
    worker_ms: Mapped[int] = _count()
    upload_bytes: Mapped[int] = _count()


class UsageDeltaRow(Table):
    """What one transaction adds to the two tables above: a row of its own, so that nobody waits for a hot one."""

    __tablename__ = "usage_deltas"

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    project_id: Mapped[str] = mapped_column(index=True)
    day: Mapped[date] = mapped_column(Date)
    model: Mapped[str] = mapped_column(server_default=text("''"))
    accepted: Mapped[int] = _count()
    succeeded: Mapped[int] = _count()
    failed: Mapped[int] = _count()
    canceled: Mapped[int] = _count()
    expired: Mapped[int] = _count()
    scored: Mapped[int] = _count()
    not_applicable: Mapped[int] = _count()
    inconclusive: Mapped[int] = _count()
    worker_ms: Mapped[int] = _count()
    upload_bytes: Mapped[int] = _count()
    active_jobs: Mapped[int] = _count()


class AuditChainRow(Table):
    """Both ends of a project's chain of audit events; its lock is what appends one after the other."""

    __tablename__ = "audit_chains"

    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"), primary_key=True)
    anchor_sequence: Mapped[int] = _count()
    """The last event that retention dropped; 0 when none was."""
    anchor_hash: Mapped[bytes]
    head_sequence: Mapped[int] = _count()
    """The newest event."""
    head_hash: Mapped[bytes]


class AuditEventRow(Table):
    """One administrative act, and the hash that ties it to the one before. Never changed once it is written."""

    __tablename__ = "audit_events"

    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"), primary_key=True)
    sequence: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    """From 1, without gaps."""
    id: Mapped[str] = mapped_column(unique=True)
    actor: Mapped[str]
    """The id of the key that did it, or `operator`."""
    action: Mapped[str]
    target: Mapped[str]
    """The id of what it was done to."""
    details: Mapped[dict[str, Any]]
    created_at: Mapped[datetime] = now()
    previous_hash: Mapped[bytes]
    hash: Mapped[bytes]

    __table_args__ = (
        Index("ix_audit_events_action", "project_id", "action", "sequence"),
        Index("ix_audit_events_target", "project_id", "target", "sequence"),
        Index("ix_audit_events_created", "created_at"),
    )
