"""Reading jobs, and the claim that gives one to a worker."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, and_, bindparam, func, literal_column, or_, select, tuple_
from sqlalchemy.orm import Session

from styleflow.jobs.shown import COLUMNS, ShownJob
from styleflow.jobs.state import JobEvent, JobState, Lane, at_claim
from styleflow.jobs.tombstones import gone
from styleflow.jobs.transitions import clock, drop, lock, locking, lose, standing, start
from styleflow.tables import AttemptRow, JobRow

MAX_DROPPED_PER_CLAIM = 100
"""How many late or canceled jobs one claim clears out of its way, so that its transaction stays short."""
_LISTED = select(*COLUMNS)


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A job in a worker's hands, until its lease runs out. `token` guards every write that the worker makes."""

    job_id: str
    project_id: str
    token: int
    attempt: int
    max_attempts: int
    lane: Lane
    source: Mapping[str, Any]
    model: str
    options: Mapping[str, Any]
    deadline: datetime | None
    cancel_requested: bool
    dedupe: str = "off"
    thresholds: Mapping[str, Any] | None = None
    """Of the job's policy; None for the pack's own."""
    zero_retention: bool = False
    """No evidence may be left anywhere."""
    keeps_crops: bool = True
    """Whether pictures of faces are kept for any time at all."""


@dataclass(frozen=True, kw_only=True)
class JobFilters:
    """Which jobs to list; None does not filter."""

    state: str | None = None
    outcome: str | None = None
    verdict: str | None = None
    lane: str | None = None
    batch_id: str | None = None
    client_ref: str | None = None
    tag: tuple[str, str] | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Backlog:
    """How much waits in one lane, and for how long."""

    queued: int
    oldest_seconds: float


def claim(
    session: Session, *, worker: str, lease_seconds: float, job_id: str | None = None, lanes: Sequence[str] = ()
) -> Claim | None:
    """Take one due job under a lease of `lease_seconds`; None when there is none.

    With `job_id`, that job: queued and due, or running under a lease that ran out. Without, the oldest due job of
    the first of `lanes` (realtime, standard, bulk) that has one. Jobs that another transaction holds are passed over.
    A job whose deadline passed or whose cancel was requested is settled instead of claimed.
    """
    for _ in range(MAX_DROPPED_PER_CLAIM):
        job = lock(session, _NAMED, job_id=job_id) if job_id is not None else _lock_next(session, lanes)
        if job is None:
            return None
        if _settled_instead(session, job):
            continue
        start(session, job, worker=worker, lease_seconds=lease_seconds)
        return _claim_of(job)
    return None


def get_job(session: Session, project_id: str, job_id: str) -> JobRow:
    """Raises NotFound, also for another project's job, and Erased."""
    job = session.scalars(select(JobRow).where(JobRow.id == job_id, JobRow.project_id == project_id)).one_or_none()
    if job is None or job.erased_at is not None:
        raise gone(session, project_id, job_id, job)
    return job


def list_jobs(
    session: Session,
    project_id: str,
    filters: JobFilters,
    limit: int,
    after: tuple[datetime, str] | None = None,
    *,
    oldest_first: bool = False,
) -> list[ShownJob]:
    """Newest first, unless told otherwise. `after` is (created_at, id) of the last job of the previous page; erased
    jobs are left out."""
    wanted = _LISTED.where(JobRow.project_id == project_id, JobRow.erased_at.is_(None), *_conditions(filters))
    place = tuple_(JobRow.created_at, JobRow.id)
    if after is not None:
        wanted = wanted.where(place > tuple_(*after) if oldest_first else place < tuple_(*after))
    order = (JobRow.created_at, JobRow.id) if oldest_first else (JobRow.created_at.desc(), JobRow.id.desc())
    return [ShownJob._make(row) for row in session.execute(wanted.order_by(*order).limit(limit))]


def list_attempts(session: Session, job_id: str) -> list[AttemptRow]:
    """Every claim of the job, oldest first."""
    return list(session.scalars(select(AttemptRow).where(AttemptRow.job_id == job_id).order_by(AttemptRow.token)))


def backlog(session: Session) -> dict[Lane, Backlog]:
    """Jobs that wait, per lane; reads the index of queued jobs only."""
    waited = func.extract("epoch", func.now() - func.min(JobRow.run_at))
    rows = session.execute(
        select(JobRow.lane, func.count(), func.greatest(waited, 0.0))
        .where(JobRow.state == JobState.QUEUED)
        .group_by(JobRow.lane)
    )
    found = {lane: Backlog(queued=count, oldest_seconds=float(seconds)) for lane, count, seconds in rows}
    return {lane: found.get(lane, Backlog(queued=0, oldest_seconds=0.0)) for lane in Lane}


_DUE = and_(JobRow.state == JobState.QUEUED, JobRow.run_at <= func.now())
_ORPHANED = and_(JobRow.state == JobState.RUNNING, JobRow.lease_expires_at < func.now())
_NAMED = locking(JobRow.id == bindparam("job_id"), or_(_DUE, _ORPHANED), skip_locked=True)
# The state in the statement itself, or a plan that is kept for all values could not use the index of queued jobs.
_WAITING = JobRow.state == literal_column("'queued'")
_NEXT = locking(
    _WAITING,
    JobRow.lane == bindparam("lane"),
    JobRow.run_at <= func.now(),
    first=(JobRow.run_at, JobRow.id),
    skip_locked=True,
)


def _lock_next(session: Session, lanes: Sequence[str]) -> JobRow | None:
    # One query per lane keeps each a walk along the partial index that stops at the first free row.
    for lane in (lane for lane in Lane if lane in lanes):
        job = lock(session, _NEXT, lane=lane)
        if job is not None:
            return job
    return None


def _settled_instead(session: Session, job: JobRow) -> bool:
    moment = clock(session)
    if job.state == JobState.RUNNING and lose(session, job, moment) is not JobState.QUEUED:
        return True
    event = at_claim(standing(job, moment))
    if event is JobEvent.CLAIM:
        return False
    drop(session, job, event)
    return True


def _claim_of(job: JobRow) -> Claim:
    return Claim(
        job_id=job.id,
        project_id=job.project_id,
        token=job.lease_token,
        attempt=job.attempt,
        max_attempts=job.max_attempts,
        lane=Lane(job.lane),
        source=job.source,
        model=job.model,
        options=job.options,
        deadline=job.deadline,
        cancel_requested=job.cancel_requested_at is not None,
        dedupe=job.dedupe,
        thresholds=job.policy_thresholds,
        zero_retention=(job.retention or {}).get("mode") == "zero",
        keeps_crops=(job.retention or {}).get("crops_days", 1.0) > 0,
    )


def _conditions(filters: JobFilters) -> list[ColumnElement[bool]]:
    exact = {
        JobRow.outcome: filters.outcome,
        JobRow.verdict: filters.verdict,
        JobRow.lane: filters.lane,
        JobRow.batch_id: filters.batch_id,
        JobRow.client_ref: filters.client_ref,
    }
    conditions: list[ColumnElement[bool]] = [column == value for column, value in exact.items() if value is not None]
    if filters.state is not None:
        # In the statement itself: only so do the indexes of jobs in some states serve, whatever is kept of its plan.
        conditions.append(JobRow.state == bindparam(None, str(JobState(filters.state)), literal_execute=True))
    if filters.tag is not None:
        name, value = filters.tag
        # The second condition lets the index of tagged jobs serve.
        conditions += [JobRow.tags.contains({name: value}), JobRow.tags != literal_column("'{}'::jsonb")]
    if filters.created_after is not None:
        conditions.append(JobRow.created_at > filters.created_after)
    if filters.created_before is not None:
        conditions.append(JobRow.created_at < filters.created_before)
    return conditions
