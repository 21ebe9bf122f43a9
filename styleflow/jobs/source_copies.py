"""Uploaded videos: how long they stay, and who still needs them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, Text, and_, exists, func, literal_column, or_, select, text, update
from sqlalchemy.orm import Session

from styleflow.batch_tables import BatchItemRow, BatchRow
from styleflow.jobs.object_erasures import enqueue
from styleflow.tables import JobRow, UploadRow

upload_of_job = literal_column("jobs.source ->> 'upload_id'", Text)
"""As the index has it: a parameter in the place of the name would not match it."""
ERASED = "erased"


def needed(session: Session, upload_ids: Sequence[str]) -> set[str]:
    """Those of these uploads that a job of their project names which is still to run, or under legal hold, or an item
    of a batch of which a job is still to be made."""
    holding = or_(JobRow.state.in_(["queued", "running"]), JobRow.held_at.is_not(None))
    by_jobs = _named_by_jobs(select(upload_of_job), upload_ids).where(holding)
    return {*session.scalars(by_jobs), *session.scalars(_waiting_items(upload_ids))}


def needs(session: Session, upload_ids: Sequence[str]) -> dict[str, set[str]]:
    """Who names these uploads: `hold` (a job under legal hold), `job` (another that is not erased), `item` (of a batch,
    of which a job is still to be made)."""
    found: dict[str, set[str]] = {}
    named = _named_by_jobs(select(upload_of_job, JobRow.held_at.is_not(None)), upload_ids)
    for upload_id, held in session.execute(named.where(JobRow.erased_at.is_(None))):
        found.setdefault(upload_id, set()).add("hold" if held else "job")
    for upload_id in session.scalars(_waiting_items(upload_ids)):
        found.setdefault(upload_id, set()).add("item")
    return found


def _named_by_jobs(wanted: Any, upload_ids: Sequence[str]) -> Any:
    own = and_(UploadRow.id == upload_of_job, UploadRow.project_id == JobRow.project_id)
    return wanted.join_from(JobRow, UploadRow, own).where(upload_of_job.in_(upload_ids))


def _waiting_items(upload_ids: Sequence[str]) -> Select[str]:
    return select(UploadRow.id).where(
        UploadRow.id.in_(upload_ids),
        exists().where(
            BatchItemRow.state == "listed",
            text("batch_items.item #>> '{source,upload_id}' = uploads.id"),
            BatchRow.id == BatchItemRow.batch_id,
            BatchRow.project_id == UploadRow.project_id,
        ),
    )


def hold_for(session: Session, job: JobRow) -> None:
    """A job was accepted that wants its upload to be kept for longer than it would be."""
    upload_id = job.source.get("upload_id")
    if upload_id is not None and job.source_until is not None:
        session.execute(
            update(UploadRow)
            .where(*_own(job, upload_id), UploadRow.expires_at < job.source_until)
            .values(expires_at=job.source_until)
            .execution_options(synchronize_session=False)
        )


def let_go(session: Session, job: JobRow, moment: datetime) -> bool:
    """A job ended, or its hold did: its upload goes when the job's time for it is over, which may be now.

    Of several jobs that name one upload, the one that wants it gone first wins, once none of them is still to run.
    True when it is gone.
    """
    upload_id = job.source.get("upload_id")
    if upload_id is None or job.source_until is None or job.held_at is not None:
        return False
    session.flush()
    own = session.scalars(
        update(UploadRow)
        .where(*_own(job, upload_id))
        .values(expires_at=func.least(UploadRow.expires_at, max(job.source_until, moment)))
        .returning(UploadRow.id)
        .execution_options(synchronize_session=False)
    ).all()
    # None where a batch's item named another project's upload: its job takes nothing away.
    return bool(own) and job.source_until <= moment and bool(erase_stale(session, [upload_id]))


def erase_stale(session: Session, upload_ids: Sequence[str], erasure_id: str | None = None) -> list[str]:
    """Erase those of these uploads that nobody needs. Which."""
    if not upload_ids:
        return []
    # Locked first, and asked afterwards: whoever submits a job for one of them holds its row until that is committed.
    rows = session.scalars(
        select(UploadRow)
        .where(UploadRow.id.in_(upload_ids), UploadRow.state != ERASED)
        .order_by(UploadRow.id)
        .with_for_update()
        .execution_options(populate_existing=True)
    ).all()
    kept = needed(session, [row.id for row in rows])
    gone = [row for row in rows if row.id not in kept]
    erase_uploads(session, gone, erasure_id)
    return [row.id for row in gone]


def erase_uploads(session: Session, rows: Sequence[UploadRow], erasure_id: str | None = None) -> None:
    """The bytes soon, what the rows say of them now. The rows stay for a while, to say that they were erased."""
    moment = session.execute(select(func.now())).scalar_one()
    enqueue(session, [row.key for row in rows], erasure_id)
    for row in rows:
        row.state, row.filename, row.content_type = ERASED, "", ""
        row.sha256 = row.etag = row.version_id = row.multipart_id = None
        row.size_bytes = 0
        row.expires_at = moment
    session.flush()


def _own(job: JobRow, upload_id: str) -> tuple[ColumnElement[bool], ...]:
    return (and_(UploadRow.id == upload_id, UploadRow.project_id == job.project_id), UploadRow.state != ERASED)
