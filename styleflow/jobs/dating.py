"""When what belongs to a job goes: written on its row when it ends, so that every sweep is a walk along an index."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from styleflow.jobs.keeping import KeptClass, Retention, dates, read
from styleflow.jobs.source_copies import let_go
from styleflow.tables import JobRow


def date_classes(session: Session, job: JobRow) -> None:
    """Date a job that has just ended, or whose retention was agreed late. One without an agreement is left alone: the
    duty that does know the operator's defaults finds it."""
    if job.retention is None or job.finished_at is None:
        return
    job.dated_at = job.finished_at
    until = dates(read(job.retention), job.finished_at, succeeded=job.state == "succeeded")
    job.expires_at = until.results
    job.crops_until, job.frames_until, job.zero_at = until.crops, until.frames, until.zero
    if let_go(session, job, job.finished_at):
        mark_ended(job, job.finished_at, KeptClass.SOURCE)


def date_undated(session: Session, default: Retention, limit: int) -> int:
    """Date finished jobs that an earlier version accepted or ended. How many.

    Those without an agreement get the defaults; the day on which they go was told when they were accepted, and stays.
    """
    jobs = session.scalars(
        select(JobRow)
        .where(JobRow.finished_at.is_not(None), JobRow.dated_at.is_(None), JobRow.erased_at.is_(None))
        .order_by(JobRow.finished_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
        .execution_options(populate_existing=True)
    ).all()
    for job in jobs:
        told = job.expires_at if job.retention is None else None
        job.retention = job.retention or default.stored()
        date_classes(session, job)
        job.expires_at = told or job.expires_at
        job.row_version += 1
    session.flush()
    return len(jobs)


def mark_ended(job: JobRow, moment: datetime, *classes: str) -> None:
    """Note on a locked job that these classes have just gone."""
    stored = dict(job.retention or {})
    ended = {**stored.get("ended", {}), **dict.fromkeys(classes, moment.isoformat())}
    job.retention = {**stored, "ended": ended}
    job.row_version += 1
