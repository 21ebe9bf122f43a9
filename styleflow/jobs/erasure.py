"""What erased jobs leave behind: tombstones with their ids, their dates and how they ended."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Text, and_, delete, exists, func, literal_column, select, text, tuple_, update
from sqlalchemy.orm import Session

from styleflow.batch_tables import BatchItemRow, BatchRow
from styleflow.jobs.batch_counts import LISTED, add_counts
from styleflow.jobs.idempotency import forget_answers
from styleflow.jobs.object_erasures import enqueue
from styleflow.jobs.source_copies import ERASED, erase_uploads, upload_of_job
from styleflow.jobs.state import JobState
from styleflow.jobs.tombstones import Why, bury
from styleflow.storage.keys import crops_prefix, evidence_prefix, source_key
from styleflow.tables import AttemptRow, JobRow, ResultRow, TrackRow, UploadRow
from styleflow.webhook_tables import DeliveryAttemptRow, DeliveryRow, EventRow

ITEMS_AT_ONCE = 5000
_client_ref_of_item = literal_column("batch_items.item ->> 'client_ref'", Text)


def erase_jobs(session: Session, jobs: Sequence[JobRow], why: Why) -> None:
    """Erase locked, finished jobs, none of them under legal hold: rows now, objects as soon as the store lets us.

    The feed shows none of their events any more; each keeps its place there, for a reader who stopped at it. One that
    is still on its way to a receiver arrives there, and says nothing of the job but that it was erased.
    """
    if not jobs:
        return
    bury(session, jobs, why)
    strip_jobs(session, jobs, erasure_id=why.erasure_id)
    moment = _clock(session)
    for job in jobs:
        job.outcome = job.reason = job.verdict = None
        job.score = job.probability = None
        job.pipeline = job.error = None
        job.zero_at = None
        job.erased_at = moment
    session.flush()


def strip_jobs(session: Session, jobs: Sequence[JobRow], *, erasure_id: str | None = None) -> None:
    """Take everything from locked, finished jobs but their answer: outcome, verdict, score, and what ran."""
    ids = [job.id for job in jobs]
    uploads = _own_uploads(session, jobs)
    enqueue(session, [name for job in jobs for name in _object_names(job)], erasure_id)
    enqueue(session, _odd_reports(session, ids), erasure_id)
    forget_answers(session, [*ids, *(upload.id for upload in uploads)])
    erase_uploads(session, uploads, erasure_id)
    for table in (ResultRow, TrackRow, AttemptRow):
        session.execute(delete(table).where(table.job_id.in_(ids)).execution_options(synchronize_session=False))
    silence_events(session, ids)
    for job in jobs:
        _blank_item(session, job)
        job.source = {"type": job.source.get("type")}
        job.options, job.tags, job.job_metadata, job.progress = {}, {}, {}, {}
        job.client_ref = job.callback_endpoint_id = job.request_id = None
        job.media = job.top_segments = None
        job.content_key = job.deduplicated_from = job.policy_thresholds = None
        job.source_until = job.crops_until = job.frames_until = None
        job.row_version += 1
    session.flush()


def silence_events(session: Session, job_ids: Sequence[str]) -> None:
    """Take the bodies and deliveries of events that have arrived; those on their way go on with a body that is empty
    of what is erased."""
    pending = exists().where(DeliveryRow.event_id == EventRow.id, DeliveryRow.state == "pending")
    on_their_way = session.scalars(
        select(EventRow).where(EventRow.job_id.in_(job_ids), EventRow.body != "", pending)
    ).all()
    moment = _clock(session)
    for event in on_their_way:
        event.body, event.erased_at = _bare_body(event), moment
    session.flush()
    ids = [event.id for event in on_their_way]
    of_these = select(DeliveryRow.id).where(DeliveryRow.event_id.in_(ids))
    session.execute(
        update(DeliveryAttemptRow)
        .where(DeliveryAttemptRow.delivery_id.in_(of_these))
        .values(response_excerpt=None)
        .execution_options(synchronize_session=False)
    )
    session.execute(delete(DeliveryRow).where(DeliveryRow.event_id.in_(ids), DeliveryRow.state != "pending"))
    blank_events(session, session.scalars(select(EventRow.id).where(EventRow.job_id.in_(job_ids))).all())


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


def _bare_body(event: EventRow) -> str:
    moment = event.created_at.astimezone(UTC).isoformat().replace("+00:00", "Z")
    data = {"job_id": event.job_id, "sequence": event.sequence, "erased": True}
    return json.dumps({"type": event.type, "timestamp": moment, "data": data}, separators=(",", ":"))


def _object_names(job: JobRow) -> list[str]:
    """Wherever anything of the job may lie, also of attempts that came to nothing. Uploads have keys of their own."""
    names = [evidence_prefix(job.id), crops_prefix(job.id)]
    return [*names, source_key(job.project_id, job.id)] if job.source.get("type") == "url" else names


def _odd_reports(session: Session, job_ids: Sequence[str]) -> list[str]:
    """Reports that do not lie below their job's prefix. This version writes none."""
    rows = session.execute(
        select(ResultRow.job_id, ResultRow.report_key).where(
            ResultRow.job_id.in_(job_ids), ResultRow.report_key.is_not(None)
        )
    )
    return [key for job_id, key in rows if key is not None and not key.startswith(evidence_prefix(job_id))]


def _blank_item(session: Session, job: JobRow) -> None:
    """The line of a batch that named the video. Its digest goes too: an address could be guessed from it.

    One that waits to be tried again has nothing left to be tried with: it is canceled.
    """
    if job.batch_id is None:
        return
    mine = (
        BatchItemRow.batch_id == job.batch_id,
        BatchItemRow.position == job.batch_position,
        BatchItemRow.job_id == job.id,
    )
    waiting = session.scalars(
        update(BatchItemRow)
        .where(*mine, BatchItemRow.state == LISTED)
        .values(state=str(JobState.CANCELED))
        .returning(BatchItemRow.position)
        .execution_options(synchronize_session=False)
    ).all()
    if waiting:
        add_counts(session, job.batch_id, {LISTED: -1, JobState.CANCELED: 1})
    session.execute(
        update(BatchItemRow).where(*mine).values(item={}, identity=None).execution_options(synchronize_session=False)
    )


def blank_canceled_items(
    session: Session, project_id: str, client_ref: str, made_before: datetime, limit: int = ITEMS_AT_ONCE
) -> int:
    """Lines about this reference that were canceled before they became jobs, or will be since their batch is, in
    batches that were made until then. How many, at most `limit`."""
    # The states are part of the statement: a parameter would not match the indexes of some states.
    ended = text("batch_items.state = 'canceled'")
    ending = and_(BatchRow.state == "canceling", text("batch_items.state = 'listed'"))
    return sum(_blank_items(session, which, project_id, client_ref, made_before, limit) for which in (ended, ending))


def _blank_items(
    session: Session, which: Any, project_id: str, client_ref: str, made_before: datetime, limit: int
) -> int:
    some = (
        select(BatchItemRow.batch_id, BatchItemRow.position)
        .join(BatchRow, BatchRow.id == BatchItemRow.batch_id)
        .where(
            which,
            _client_ref_of_item == client_ref,
            BatchRow.project_id == project_id,
            BatchRow.created_at <= made_before,
        )
        .limit(limit)
    )
    blanked = session.execute(
        update(BatchItemRow)
        .where(tuple_(BatchItemRow.batch_id, BatchItemRow.position).in_(some))
        .values(item={}, identity=None)
        .returning(BatchItemRow.position)
        .execution_options(synchronize_session=False)
    )
    return len(blanked.all())


def _own_uploads(session: Session, jobs: Sequence[JobRow]) -> Sequence[UploadRow]:
    """The uploaded videos, locked, but for those that another job names which is not erased."""
    named = sorted({job.source["upload_id"] for job in jobs if job.source.get("upload_id")})
    projects = {job.project_id for job in jobs}
    if not named:
        return []
    locked = session.scalars(
        select(UploadRow)
        # A batch's item may have named another project's upload: its job found nothing, and takes nothing away.
        .where(UploadRow.id.in_(named), UploadRow.state != ERASED, UploadRow.project_id.in_(projects))
        .order_by(UploadRow.id)
        .with_for_update()
        .execution_options(populate_existing=True)
    ).all()
    shared = {
        (project_id, upload_id)
        for project_id, upload_id in session.execute(
            select(JobRow.project_id, upload_of_job)
            .select_from(JobRow)
            .where(
                upload_of_job.in_(named),
                JobRow.id.not_in([job.id for job in jobs]),
                JobRow.erased_at.is_(None),
            )
        )
    }
    mine = {(job.project_id, job.source.get("upload_id")) for job in jobs}
    return [one for one in locked if (one.project_id, one.id) in mine and (one.project_id, one.id) not in shared]


def _clock(session: Session) -> datetime:
    return session.execute(select(func.now())).scalar_one()
