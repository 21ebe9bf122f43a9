"""What a running attempt and its owner tell the job: heartbeat, progress, and every way in which an attempt ends.

All of it is guarded by the fencing token: a worker that lost its lease gets LeaseLost and has written nothing.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import case, func, select, update
from sqlalchemy.orm import Session

from styleflow.errors import LeaseLost, StyleFlowError
from styleflow.jobs.results import store_report
from styleflow.jobs.reuse import Dedupe, content_key
from styleflow.jobs.state import JobEvent, JobState, after_failure, after_release, backoff
from styleflow.jobs.tombstones import gone
from styleflow.jobs.transitions import clock, finish, lock_held, requeue, standing
from styleflow.report import VideoReport
from styleflow.tables import JobRow
from styleflow.webhooks.announce import announce_progress


@dataclass(frozen=True)
class Beat:
    """What the job's owner wants of the attempt that just renewed its lease."""

    cancel_requested: bool
    deadline_passed: bool


def heartbeat(
    session: Session, claim_id: str, token: int, lease_seconds: float, progress: dict[str, Any] | None = None
) -> Beat:
    """Renew the lease of job `claim_id`, store `progress` unless it is None, and tell who asked. Raises LeaseLost."""
    values: dict[Any, Any] = {JobRow.lease_expires_at: func.now() + timedelta(seconds=lease_seconds)}
    if progress is not None:
        values[JobRow.progress] = progress
        values[JobRow.row_version] = JobRow.row_version + case((JobRow.progress != progress, 1), else_=0)
    row = session.execute(
        update(JobRow)
        .where(JobRow.id == claim_id, JobRow.lease_token == token, JobRow.state == JobState.RUNNING)
        .values(values)
        .returning(
            JobRow.project_id,
            JobRow.cancel_requested_at.is_not(None),
            func.coalesce(JobRow.deadline <= func.now(), False),
        )
        .execution_options(synchronize_session=False)
    ).one_or_none()
    if row is None:
        raise LeaseLost
    project_id, cancel_requested, deadline_passed = row
    if progress:
        announce_progress(session, project_id, claim_id)
    return Beat(cancel_requested=cancel_requested, deadline_passed=deadline_passed)


def succeed(session: Session, job_id: str, token: int, report: VideoReport, report_key: str | None) -> None:
    """Settle with the report; `report_key` is where the whole of it lies in the bucket, None with zero retention: then
    the answer alone is kept. Raises LeaseLost."""
    job = lock_held(session, job_id, token)
    evidence = store_report(job, token, report, report_key)
    if report_key is not None and job.dedupe != Dedupe.OFF and report.media.sha256 is not None:
        job.content_key = content_key(report.media.sha256, report.pipeline, job.options, job.policy_thresholds)
    finish(session, job, JobEvent.SUCCEED, evidence=evidence)


def fail(session: Session, job_id: str, token: int, error: StyleFlowError) -> JobState:
    """End the attempt with `error`: queued again later if that could help, else failed. Raises LeaseLost."""
    job = lock_held(session, job_id, token)
    event = after_failure(standing(job, clock(session)), retryable=error.retryable)
    if event is JobEvent.RETRY:
        jitter = random.random()  # noqa: S311 (spreads load, guards nothing)
        return requeue(session, job, event, delay_seconds=backoff(job.attempt, jitter), error=error)
    return finish(session, job, event, error=error if event is JobEvent.FAIL else None)


def cancel(session: Session, job_id: str, token: int) -> None:
    """The attempt stopped because its owner asked for it. Raises LeaseLost."""
    finish(session, lock_held(session, job_id, token), JobEvent.CANCEL)


def release(session: Session, job_id: str, token: int) -> None:
    """The worker shuts down: the job is due again at once and its attempt is not counted. Raises LeaseLost."""
    job = lock_held(session, job_id, token)
    event = after_release(standing(job, clock(session)))
    if event is JobEvent.CANCEL:
        finish(session, job, event)
        return
    job.attempt -= 1
    requeue(session, job, event)


def request_cancel(session: Session, project_id: str, job_id: str) -> JobRow:
    """Queued: canceled at once. Running: its worker is told at the next heartbeat. Finished: left as it is.

    Raises NotFound and Erased.
    """
    job = lock_owned(session, project_id, job_id)
    if job.state == JobState.QUEUED:
        finish(session, job, JobEvent.CANCEL)
    elif job.state == JobState.RUNNING and job.cancel_requested_at is None:
        job.cancel_requested_at = clock(session)
        job.row_version += 1
        session.flush()
    return job


def lock_owned(session: Session, project_id: str, job_id: str) -> JobRow:
    """The project's job, locked. Raises NotFound and Erased."""
    job = session.scalars(
        select(JobRow)
        .where(JobRow.id == job_id, JobRow.project_id == project_id)
        .with_for_update()
        .execution_options(populate_existing=True)
    ).one_or_none()
    if job is None or job.erased_at is not None:
        raise gone(session, project_id, job_id, job)
    return job
