"""A move of one locked row: its columns, its attempt, its nudge, its event and its notifications, together.

Every function here expects a row that this transaction has locked, so that nobody else decides about it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, cast

from sqlalchemy import Table, delete, func, select, text, update
from sqlalchemy.dialects.postgresql import Insert, insert
from sqlalchemy.orm import Session

from styleflow import usage
from styleflow.database import DISPATCH_CHANNEL, JOB_CHANNEL, transaction_time
from styleflow.errors import DeadlineExceeded, LeaseLost, Poison, StyleFlowError, WorkerLost
from styleflow.jobs.batch_counts import charge_batch, tell_batch
from styleflow.jobs.dating import date_classes
from styleflow.jobs.state import TERMINAL, JobEvent, JobState, Standing, advance, after_loss, is_poison
from styleflow.tables import AttemptRow, JobRow, OutboxRow
from styleflow.webhooks.announce import announce


def clock(session: Session) -> datetime:
    """The database's time, the same during a whole transaction."""
    return transaction_time(session)


def lock_held(session: Session, job_id: str, token: int) -> JobRow:
    """The running job, locked, if `token` still holds its lease. Raises LeaseLost."""
    job = session.scalars(
        select(JobRow)
        .where(JobRow.id == job_id, JobRow.lease_token == token, JobRow.state == JobState.RUNNING)
        .with_for_update()
        .execution_options(populate_existing=True)
    ).one_or_none()
    if job is None:
        raise LeaseLost
    return job


def standing(job: JobRow, moment: datetime) -> Standing:
    """What the decisions of state.py look at."""
    return Standing(
        attempt=job.attempt,
        max_attempts=job.max_attempts,
        crash_count=job.crash_count,
        started=job.started_at is not None,
        cancel_requested=job.cancel_requested_at is not None,
        deadline_passed=job.deadline is not None and job.deadline <= moment,
    )


def start(session: Session, job: JobRow, *, worker: str, lease_seconds: float) -> None:
    """queued → running: one attempt and one token more, a lease, and the nudge is answered."""
    moment = clock(session)
    tell_batch(session, job, JobState.RUNNING)
    job.state = advance(JobState(job.state), JobEvent.CLAIM)
    job.attempt += 1
    job.lease_token += 1
    job.lease_owner = worker
    job.lease_expires_at = moment + timedelta(seconds=lease_seconds)
    job.started_at = job.started_at or moment
    job.progress = {}
    job.row_version += 1
    session.add(AttemptRow(job_id=job.id, token=job.lease_token, number=job.attempt, worker=worker, started_at=moment))
    with session.no_autoflush:  # all of it goes out in one flush
        _answer_nudge(session, job)
        announce(session, job, "job.running")
    session.flush()


def finish(session: Session, job: JobRow, event: JobEvent, *, error: StyleFlowError | None = None) -> JobState:
    """To a terminal state: the attempt closes, the nudge goes, the event and its deliveries are written."""
    state = advance(JobState(job.state), event)
    if state not in TERMINAL:
        raise ValueError(f"{event} does not finish a job")
    with session.no_autoflush:  # all of it goes out in one flush
        seconds = _close_attempt(session, job, ended=state, error=error)
        usage.add_settled(session, job, state, seconds)
        tell_batch(session, job, state)
        if JobState(job.state) is JobState.QUEUED:
            _answer_nudge(session, job)
        job.state = state
        job.finished_at = clock(session)
        job.error = None if error is None else error_value(error)
        job.row_version += 1
        date_classes(session, job)
        announce(session, job, f"job.{state}")
        _notify(session, JOB_CHANNEL, job.id)
    session.flush()
    return state


def requeue(
    session: Session, job: JobRow, event: JobEvent, *, delay_seconds: float = 0.0, error: StyleFlowError | None = None
) -> JobState:
    """running → queued: the attempt closes, and a nudge is due after `delay_seconds`."""
    ended = {JobEvent.RETRY: "retried", JobEvent.RELEASE: "released", JobEvent.LOSE: "lost"}[event]
    state = advance(JobState(job.state), event)
    seconds = _close_attempt(session, job, ended=ended, error=error)
    usage.add(session, job.project_id, job.model, worker_ms=round(seconds * 1000))
    tell_batch(session, job, state)
    job.state = state
    job.run_at = clock(session) + timedelta(seconds=delay_seconds)
    job.progress = {}
    job.row_version += 1
    session.flush()
    ring(session, job)
    announce(session, job, "job.queued")
    return state


def lose(session: Session, job: JobRow, moment: datetime) -> JobState:
    """The lease of a running job ran out: count the crash, then queue, fail or cancel it."""
    job.crash_count += 1
    now_standing = standing(job, moment)
    event = after_loss(now_standing)
    if event is JobEvent.LOSE:
        return requeue(session, job, event, error=WorkerLost())
    if event is JobEvent.CANCEL:
        return finish(session, job, event)
    if is_poison(now_standing):
        return finish(session, job, event, error=Poison())
    return finish(session, job, event, error=WorkerLost() if not now_standing.attempts_left else DeadlineExceeded())


def drop(session: Session, job: JobRow, event: JobEvent) -> JobState:
    """A queued job that will not run: canceled, expired, or failed because its deadline passed between attempts."""
    return finish(session, job, event, error=DeadlineExceeded() if event is JobEvent.FAIL else None)


def ring(session: Session, job: JobRow) -> None:
    """Leave a nudge that dispatch publishes when the job is due, and wake dispatch at commit."""
    ring_all(session, [job])


def _ring() -> Insert:
    """Made once, and without its rows, so that it is compiled once: every submission executes it."""
    fresh = insert(cast("Table", OutboxRow.__table__))
    return fresh.on_conflict_do_update(
        index_elements=["job_id"],
        set_={"lane": fresh.excluded.lane, "run_at": fresh.excluded.run_at, "published_at": None, "aged": False},
    )


_RING = _ring()


def ring_all(session: Session, jobs: Sequence[JobRow]) -> None:
    """`ring` for several jobs."""
    nudges = [{"job_id": job.id, "lane": job.lane, "project_id": job.project_id, "run_at": job.run_at} for job in jobs]
    if not nudges:
        return
    session.execute(_RING, nudges)
    for lane in {job.lane for job in jobs}:
        _notify(session, DISPATCH_CHANNEL, lane)


def error_value(error: StyleFlowError) -> dict[str, Any]:
    """How an error is stored with its job: code, message, whether trying again could help, and plain details."""
    value: dict[str, Any] = {"code": error.code, "message": str(error), "retryable": error.retryable}
    details = {name: item for name, item in error.details.items() if isinstance(item, str | int | float | bool)}
    return {**value, "details": details} if details else value


def _close_attempt(session: Session, job: JobRow, *, ended: str, error: StyleFlowError | None) -> float:
    """Give up the lease; returns for how many seconds it was held. The token stays: the next claim's is larger."""
    if job.lease_expires_at is None:
        return 0.0
    seconds = session.scalar(
        update(AttemptRow)
        .where(AttemptRow.job_id == job.id, AttemptRow.token == job.lease_token)
        .values(finished_at=func.now(), ended=ended, error_code=None if error is None else error.code)
        .returning(func.extract("epoch", func.now() - AttemptRow.started_at))
        .execution_options(synchronize_session=False)
    )
    charge_batch(session, job, float(seconds or 0))
    job.lease_owner = None
    job.lease_expires_at = None
    return float(seconds or 0)


def _answer_nudge(session: Session, job: JobRow) -> None:
    """Only a queued job has one: the claim takes it away."""
    session.execute(delete(OutboxRow).where(OutboxRow.job_id == job.id))


def _notify(session: Session, channel: str, payload: str) -> None:
    session.execute(text("select pg_notify(:channel, :payload)"), {"channel": channel, "payload": payload})
