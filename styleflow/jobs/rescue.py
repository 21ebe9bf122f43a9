"""Jobs that nobody looks after any more: found by the clock, and moved on.

What it may get wrong: a worker that is alive but could not renew its lease in time counts as lost, so its job can
run twice. That costs time and nothing else: the first worker's token is stale and it cannot write.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

from sqlalchemy import ColumnElement, exists, func, select
from sqlalchemy.orm import Session

from styleflow.errors import DeadlineExceeded
from styleflow.jobs.state import JobEvent, JobState, Lane, at_claim
from styleflow.jobs.transitions import clock, drop, finish, lose, ring, standing
from styleflow.tables import JobRow, OutboxRow

BATCH = 100
DEADLINE_GRACE_SECONDS = 30.0
"""How long a running job may outlive its deadline: its worker is told at a heartbeat and ends it with more to say."""


@dataclass(frozen=True, kw_only=True)
class RescueCount:
    """Jobs that one sweep moved, by what became of them."""

    requeued: int = 0
    failed: int = 0
    canceled: int = 0
    expired: int = 0
    rung: int = 0
    """Queued jobs that had no nudge and have one now."""

    @property
    def total(self) -> int:
        return sum(getattr(self, field.name) for field in fields(self))


def sweep(
    session: Session, *, limit: int = BATCH, deadline_grace_seconds: float = DEADLINE_GRACE_SECONDS
) -> RescueCount:
    """Move on at most `limit` jobs of each kind; rows that someone else holds are left for the next sweep."""
    ends = [
        *_expired_leases(session, limit),
        *_overdue_running(session, limit, deadline_grace_seconds),
        *_overdue_queued(session, limit),
    ]
    return RescueCount(
        requeued=ends.count(JobState.QUEUED),
        failed=ends.count(JobState.FAILED),
        canceled=ends.count(JobState.CANCELED),
        expired=ends.count(JobState.EXPIRED),
        rung=sum(_ring_silent(session, lane, limit) for lane in Lane),
    )


def _expired_leases(session: Session, limit: int) -> list[JobState]:
    lost = _locked(session, limit, JobRow.state == "running", JobRow.lease_expires_at < func.now())
    return [lose(session, job, clock(session)) for job in lost]


def _overdue_running(session: Session, limit: int, grace_seconds: float) -> list[JobState]:
    grace = func.make_interval(0, 0, 0, 0, 0, 0, grace_seconds)
    late = _locked(session, limit, JobRow.state == "running", JobRow.deadline < func.now() - grace)
    return [finish(session, job, JobEvent.FAIL, error=DeadlineExceeded()) for job in late]


def _overdue_queued(session: Session, limit: int) -> list[JobState]:
    late = _locked(session, limit, JobRow.state == "queued", JobRow.deadline <= func.now())
    moment = clock(session)
    return [drop(session, job, at_claim(standing(job, moment))) for job in late]


def _ring_silent(session: Session, lane: Lane, limit: int) -> int:
    """Give a nudge to queued jobs without one. There are none unless someone changed rows by hand.

    Only the oldest due jobs are looked at: a silent job is passed by the others until it is among them.
    """
    oldest = (
        select(JobRow.id)
        .where(JobRow.state == "queued", JobRow.lane == lane, JobRow.run_at <= func.now())
        .order_by(JobRow.run_at, JobRow.id)
        .limit(limit)
    )
    silent = _locked(
        session,
        limit,
        JobRow.state == "queued",
        JobRow.id.in_(oldest),
        ~exists().where(OutboxRow.job_id == JobRow.id),
    )
    for job in silent:
        ring(session, job)
    return len(silent)


def _locked(session: Session, limit: int, *conditions: ColumnElement[bool]) -> list[JobRow]:
    wanted = select(JobRow).where(*conditions).limit(limit).with_for_update(skip_locked=True)
    return list(session.scalars(wanted.execution_options(populate_existing=True)))
