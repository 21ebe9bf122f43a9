"""A move of one locked row: its columns, its attempt, its nudge, its event and its notifications, together.

Every function here expects a row that this transaction has locked, so that nobody else decides about it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, cast

from sqlalchemy import ColumnElement, Select, bindparam, func, select
from sqlalchemy.orm import Session

from styleflow import usage
from styleflow.database import DISPATCH_CHANNEL, JOB_CHANNEL, remember_time, transaction_facts, transaction_time
from styleflow.errors import DeadlineExceeded, LeaseLost, Poison, StyleFlowError, WorkerLost
from styleflow.jobs.batch_counts import told
from styleflow.jobs.dating import date_classes
from styleflow.jobs.state import TERMINAL, JobEvent, JobState, Standing, advance, after_loss, is_poison
from styleflow.tables import AttemptRow, JobRow
from styleflow.webhooks.announce import announcement
from styleflow.webhooks.listening import listening_to, remember_listening
from styleflow.writes import Notification, Write, write_all


def clock(session: Session) -> datetime:
    """The database's time, the same during a whole transaction."""
    return transaction_time(session)


def locking(*which: ColumnElement[bool], first: Sequence[Any] = (), skip_locked: bool = False) -> Select[Any]:
    """The statement with which `lock` takes the first of these jobs. To be made once: making it costs more than
    sending it. What a move of the job needs to know is read along: the clock, who listens, when the attempt began."""
    began = select(AttemptRow.started_at).where(AttemptRow.job_id == JobRow.id, AttemptRow.token == JobRow.lease_token)
    wanted = select(JobRow, func.now(), listening_to(JobRow.project_id), began.scalar_subquery())
    ordered = wanted.where(*which).order_by(*first).limit(1)
    return ordered.with_for_update(skip_locked=skip_locked).execution_options(populate_existing=True)


def lock(session: Session, statement: Select[Any], **values: Any) -> JobRow | None:
    """The job that a statement of `locking` finds; `values` are those of its parameters."""
    row = session.execute(statement, values).one_or_none()
    if row is None:
        return None
    job, moment, pairs, began_at = row
    remember_time(session, moment)
    remember_listening(session, job.project_id, pairs)
    transaction_facts(session)["attempt_began", job.id, job.lease_token] = began_at
    return cast("JobRow", job)


_HELD = locking(
    JobRow.id == bindparam("job_id"), JobRow.lease_token == bindparam("token"), JobRow.state == JobState.RUNNING
)


def lock_held(session: Session, job_id: str, token: int) -> JobRow:
    """The running job, locked, if `token` still holds its lease. Raises LeaseLost."""
    job = lock(session, _HELD, job_id=job_id, token=token)
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
    counts = told(job, JobState.RUNNING)
    job.state = advance(JobState(job.state), JobEvent.CLAIM)
    job.attempt += 1
    job.lease_token += 1
    job.lease_owner = worker
    job.lease_expires_at = moment + timedelta(seconds=lease_seconds)
    job.started_at = job.started_at or moment
    job.progress = {}
    job.row_version += 1
    writes = [_opened(job), _answered(job), *counts, *announcement(session, [job], "job.running")]
    session.flush()
    write_all(session, writes)


def finish(
    session: Session,
    job: JobRow,
    event: JobEvent,
    *,
    error: StyleFlowError | None = None,
    evidence: Sequence[Write] = (),
) -> JobState:
    """To a terminal state: the attempt closes, the nudge goes, the event and its deliveries are written, and
    `evidence` with them."""
    state = advance(JobState(job.state), event)
    if state not in TERMINAL:
        raise ValueError(f"{event} does not finish a job")
    seconds, writes = _close_attempt(session, job, ended=state, error=error)
    writes += [usage.settled(session, job, state, seconds), *told(job, state, seconds=seconds)]
    if JobState(job.state) is JobState.QUEUED:
        writes.append(_answered(job))
    job.state = state
    job.finished_at = clock(session)
    job.error = None if error is None else error_value(error)
    job.row_version += 1
    date_classes(session, job)
    writes += announcement(session, [job], f"job.{state}")
    session.flush()
    write_all(session, [*writes, *evidence], Notification(JOB_CHANNEL, job.id))
    return state


def requeue(
    session: Session, job: JobRow, event: JobEvent, *, delay_seconds: float = 0.0, error: StyleFlowError | None = None
) -> JobState:
    """running → queued: the attempt closes, and a nudge is due after `delay_seconds`."""
    ended = {JobEvent.RETRY: "retried", JobEvent.RELEASE: "released", JobEvent.LOSE: "lost"}[event]
    state = advance(JobState(job.state), event)
    seconds, writes = _close_attempt(session, job, ended=ended, error=error)
    worker_ms = round(seconds * 1000)
    writes += [
        usage.addition(session, job.project_id, job.model, worker_ms=worker_ms),
        *told(job, state, seconds=seconds),
    ]
    job.state = state
    job.run_at = clock(session) + timedelta(seconds=delay_seconds)
    job.progress = {}
    job.row_version += 1
    writes += announcement(session, [job], "job.queued")
    session.flush()
    write_all(session, [*writes, nudges([job])], WAKE)
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
    write_all(session, [nudges([job])], WAKE)


def nudges(jobs: Sequence[JobRow]) -> Write:
    """The write of `ring`, for several jobs. WAKE goes with it."""
    rows = [
        {"job_id": job.id, "lane": job.lane, "project_id": job.project_id, "run_at": job.run_at.isoformat()}
        for job in jobs
    ]
    return Write(_RING, {"nudge_rows": json.dumps(rows)})


_RING = (
    "insert into outbox (job_id, lane, project_id, run_at) select job_id, lane, project_id, run_at"
    " from json_to_recordset(cast(:nudge_rows as json)) as nudge"
    " (job_id text, lane text, project_id text, run_at timestamptz)"
    " on conflict (job_id) do update"
    " set lane = excluded.lane, run_at = excluded.run_at, published_at = null, aged = false"
)
WAKE = Notification(DISPATCH_CHANNEL, "")
"""Dispatch looks at every lane then."""


def error_value(error: StyleFlowError) -> dict[str, Any]:
    """How an error is stored with its job: code, message, whether trying again could help, and plain details."""
    value: dict[str, Any] = {"code": error.code, "message": _storable(str(error)), "retryable": error.retryable}
    plain = {name: item for name, item in error.details.items() if isinstance(item, str | int | float | bool)}
    details = {name: _storable(item) if isinstance(item, str) else item for name, item in plain.items()}
    return {**value, "details": details} if details else value


def _storable(text: str) -> str:
    """PostgreSQL holds no NUL, and what a file says of itself may have one: the job must fail with its own code."""
    return text.replace("\x00", "\N{REPLACEMENT CHARACTER}")


def _opened(job: JobRow) -> Write:
    values = {"job": job.id, "token": job.lease_token, "number": job.attempt, "worker": job.lease_owner}
    return Write(_OPEN_ATTEMPT, {f"attempt_{name}": value for name, value in values.items()})


_OPEN_ATTEMPT = (
    "insert into attempts (job_id, token, number, worker, started_at)"
    " values (:attempt_job, :attempt_token, :attempt_number, :attempt_worker, now())"
)


def _close_attempt(
    session: Session, job: JobRow, *, ended: str, error: StyleFlowError | None
) -> tuple[float, list[Write]]:
    """Give up the lease. For how many seconds it was held, and what is to be written of it. The token stays: the next
    claim's is larger."""
    if job.lease_expires_at is None:
        return 0.0, []
    job.lease_owner = job.lease_expires_at = None
    values = {
        "job": job.id,
        "token": job.lease_token,
        "ended": str(ended),
        "error": None if error is None else error.code,
    }
    closing = Write(_CLOSE_ATTEMPT, {f"attempt_{name}": value for name, value in values.items()})
    return _held_seconds(session, job), [closing]


_CLOSE_ATTEMPT = (
    "update attempts set finished_at = now(), ended = :attempt_ended, error_code = :attempt_error"
    " where job_id = :attempt_job and token = :attempt_token"
)


def _held_seconds(session: Session, job: JobRow) -> float:
    fact = ("attempt_began", job.id, job.lease_token)
    facts = transaction_facts(session)
    if fact not in facts:
        began = select(AttemptRow.started_at)
        facts[fact] = session.scalar(began.where(AttemptRow.job_id == job.id, AttemptRow.token == job.lease_token))
    began_at: datetime | None = facts[fact]
    return 0.0 if began_at is None else (clock(session) - began_at).total_seconds()


def _answered(job: JobRow) -> Write:
    """Only a queued job has a nudge: the claim takes it away."""
    return Write("delete from outbox where job_id = :nudge_job", {"nudge_job": job.id})
