"""What an erased job leaves behind: a tombstone with its id, its dates and how it ended."""

from __future__ import annotations

from sqlalchemy import delete, exists, select
from sqlalchemy.orm import Session

from styleflow.jobs.transitions import clock
from styleflow.tables import AttemptRow, DeliveryRow, EventRow, JobRow, ResultRow, TrackRow, UploadRow


def erase_finished(session: Session, job: JobRow) -> list[str]:
    """Erase a locked, finished job; returns the keys of the objects that only it needed.

    Events that were told go too; those still on their way stay until they arrive or grow old, since they are promised.
    """
    keys = [key for key in session.scalars(select(ResultRow.report_key).where(ResultRow.job_id == job.id)) if key]
    keys += _own_upload(session, job)
    session.execute(delete(ResultRow).where(ResultRow.job_id == job.id))
    session.execute(delete(TrackRow).where(TrackRow.job_id == job.id))
    session.execute(delete(AttemptRow).where(AttemptRow.job_id == job.id))
    pending = exists().where(DeliveryRow.event_id == EventRow.id, DeliveryRow.state == "pending")
    session.execute(
        delete(EventRow).where(EventRow.job_id == job.id, ~pending).execution_options(synchronize_session=False)
    )
    _blank(job)
    job.erased_at = clock(session)
    job.row_version += 1
    session.flush()
    return keys


def _blank(job: JobRow) -> None:
    job.source = {"type": job.source.get("type")}
    job.options, job.tags, job.job_metadata, job.progress = {}, {}, {}, {}
    job.client_ref = job.callback_endpoint_id = job.request_id = None
    job.outcome = job.reason = job.verdict = None
    job.score = job.probability = None
    job.media = job.pipeline = job.error = None


def _own_upload(session: Session, job: JobRow) -> list[str]:
    """The uploaded video, with its row, unless another job that is not erased names it as well."""
    upload = session.get(UploadRow, job.source.get("upload_id") or "")
    if upload is None:
        return []
    # Only jobs younger than the upload can name it: that bounds the walk along the listing index.
    shared = session.scalar(
        select(JobRow.id)
        .where(
            JobRow.project_id == job.project_id,
            JobRow.created_at >= upload.created_at,
            JobRow.id != job.id,
            JobRow.source["upload_id"].astext == upload.id,
            JobRow.erased_at.is_(None),
        )
        .limit(1)
    )
    if shared is not None:
        return []
    session.delete(upload)
    return [upload.key]
