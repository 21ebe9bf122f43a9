"""What an erased job leaves behind: a tombstone with its id, its dates and how it ended."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import delete, exists, select, update
from sqlalchemy.orm import Session

from styleflow.batch_tables import BatchItemRow
from styleflow.jobs.idempotency import forget_answers
from styleflow.jobs.transitions import clock
from styleflow.storage.keys import report_key
from styleflow.tables import AttemptRow, JobRow, ResultRow, TrackRow, UploadRow
from styleflow.webhook_tables import DeliveryRow, EventRow


def erase_finished(session: Session, job: JobRow) -> list[str]:
    """Erase a locked, finished job; returns the keys of the objects that only it needed.

    Events still on their way to someone keep their body until they arrive, since they are promised. The feed shows
    none of this job's events any more, and each keeps its place there, for a reader who stopped at it.
    """
    keys = evidence_keys(session, [job.id])
    forgotten = [job.id]
    upload = _own_upload(session, job)
    if upload is not None:
        keys.append(upload.key)
        forgotten.append(upload.id)
        session.delete(upload)
    forget_answers(session, forgotten)
    session.execute(delete(ResultRow).where(ResultRow.job_id == job.id))
    session.execute(delete(TrackRow).where(TrackRow.job_id == job.id))
    session.execute(delete(AttemptRow).where(AttemptRow.job_id == job.id))
    blank_events(session, session.scalars(select(EventRow.id).where(EventRow.job_id == job.id)).all())
    _blank_item(session, job)
    _blank(job)
    job.erased_at = clock(session)
    job.row_version += 1
    session.flush()
    return keys


def evidence_keys(session: Session, job_ids: Sequence[str]) -> list[str]:
    """Where results of these jobs lie, and where any attempt may have left a report that never became the result."""
    stored = session.scalars(select(ResultRow.report_key).where(ResultRow.job_id.in_(job_ids))).all()
    attempts = session.execute(select(AttemptRow.job_id, AttemptRow.token).where(AttemptRow.job_id.in_(job_ids))).all()
    keys = {key for key in stored if key is not None} | {report_key(job_id, token) for job_id, token in attempts}
    return sorted(keys)


def blank_events(session: Session, event_ids: Sequence[str]) -> int:
    """Take the bodies and the deliveries of those events of which nothing is to be sent any more. How many."""
    pending = exists().where(DeliveryRow.event_id == EventRow.id, DeliveryRow.state == "pending")
    blanked = session.scalars(
        update(EventRow)
        .where(EventRow.id.in_(event_ids), EventRow.body != "", ~pending)
        .values(body="")
        .returning(EventRow.id)
        .execution_options(synchronize_session=False)
    ).all()
    session.execute(
        delete(DeliveryRow).where(DeliveryRow.event_id.in_(blanked)).execution_options(synchronize_session=False)
    )
    return len(blanked)


def _blank(job: JobRow) -> None:
    job.source = {"type": job.source.get("type")}
    job.options, job.tags, job.job_metadata, job.progress = {}, {}, {}, {}
    job.client_ref = job.callback_endpoint_id = job.request_id = None
    job.outcome = job.reason = job.verdict = None
    job.score = job.probability = None
    job.media = job.pipeline = job.error = None
    job.content_key = job.deduplicated_from = None


def _blank_item(session: Session, job: JobRow) -> None:
    """The line of a batch that named the video. Its digest goes too: an address could be guessed from it."""
    if job.batch_id is not None:
        session.execute(
            update(BatchItemRow)
            .where(BatchItemRow.batch_id == job.batch_id, BatchItemRow.position == job.batch_position)
            .where(BatchItemRow.job_id == job.id)
            .values(item={}, identity=None)
            .execution_options(synchronize_session=False)
        )


def _own_upload(session: Session, job: JobRow) -> UploadRow | None:
    """The uploaded video, unless another job that is not erased names it as well."""
    upload = session.get(UploadRow, job.source.get("upload_id") or "")
    # A batch's item may have named another project's upload: its job found nothing, and takes nothing away.
    if upload is None or upload.project_id != job.project_id:
        return None
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
    return upload if shared is None else None
