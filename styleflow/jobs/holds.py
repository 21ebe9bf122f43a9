"""Legal hold: what is held is not erased, by nobody, until it is released.

Whoever holds and whoever erases lock the job's row first, so that of the two exactly one comes before the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from styleflow.errors import NotFound
from styleflow.jobs.progress import lock_owned
from styleflow.jobs.source_copies import let_go, upload_of_job
from styleflow.jobs.transitions import clock
from styleflow.retention_tables import LegalHoldRow
from styleflow.tables import JobRow, UploadRow


def place(session: Session, project_id: str, job_id: str, reason: str, placed_by: str) -> LegalHoldRow:
    """Hold the job; one that is held already is left as it is. Raises NotFound and Erased."""
    job = lock_owned(session, project_id, job_id)
    standing = _standing(session, job_id)
    if standing is not None:
        return standing
    # Whoever erases an upload locks its row, and asks then who holds it.
    session.execute(
        select(UploadRow.id)
        .where(UploadRow.id == job.source.get("upload_id"), UploadRow.project_id == project_id)
        .with_for_update(key_share=True)
    )
    hold = LegalHoldRow(
        job_id=job_id, project_id=project_id, reason=reason, placed_by=placed_by, placed_at=clock(session)
    )
    session.add(hold)
    job.held_at = hold.placed_at
    job.row_version += 1
    session.flush()
    return hold


def release(session: Session, project_id: str, job_id: str, released_by: str) -> LegalHoldRow:
    """Let it go; what was due meanwhile goes at the next sweep. Of one that is not held any more, the last hold.

    Raises Erased, and NotFound also for a job that was never held.
    """
    job = lock_owned(session, project_id, job_id)
    hold = _standing(session, job_id)
    if hold is None:
        return _last(session, job_id)
    moment: datetime = clock(session)
    hold.released_at, hold.released_by = moment, released_by
    job.held_at = None
    job.row_version += 1
    if job.finished_at is not None:
        let_go(session, job, moment)
    session.flush()
    return hold


def list_holds(
    session: Session, project_id: str, standing: bool | None, limit: int, before: int | None = None
) -> Sequence[LegalHoldRow]:
    """Those placed last first, behind the one with the id `before`. `standing`: only those that were not released, or
    only those that were."""
    wanted = select(LegalHoldRow).where(LegalHoldRow.project_id == project_id)
    if standing is not None:
        released = LegalHoldRow.released_at
        wanted = wanted.where(released.is_(None) if standing else released.is_not(None))
    if before is not None:
        wanted = wanted.where(LegalHoldRow.id < before)
    return session.scalars(wanted.order_by(LegalHoldRow.id.desc()).limit(limit)).all()


def _standing(session: Session, job_id: str) -> LegalHoldRow | None:
    wanted = select(LegalHoldRow).where(LegalHoldRow.job_id == job_id, LegalHoldRow.released_at.is_(None))
    return session.scalars(wanted).one_or_none()


def _last(session: Session, job_id: str) -> LegalHoldRow:
    wanted = select(LegalHoldRow).where(LegalHoldRow.job_id == job_id, LegalHoldRow.released_at.is_not(None))
    hold = session.scalars(wanted.order_by(LegalHoldRow.id.desc()).limit(1)).one_or_none()
    if hold is None:
        raise NotFound("The job was never under legal hold.")
    return hold


def is_upload_held(session: Session, project_id: str, upload_id: str) -> bool:
    """Whether a job under legal hold names it."""
    held = (
        select(func.count())
        .select_from(JobRow)
        .where(upload_of_job == upload_id, JobRow.project_id == project_id, JobRow.held_at.is_not(None))
    )
    return session.execute(held).scalar_one() > 0
