"""What has been kept for long enough: videos, crops, frames, results, events, stored answers, proofs.

Each sweep takes at most so many of one kind, walking along an index that holds nothing else, and talks to the database
alone: objects that are to go are put into a queue (object_erasures.py). What is under legal hold is in none of those
indexes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, delete, func, or_, select, text, update
from sqlalchemy.orm import Session

from styleflow.batch_tables import BatchDeltaRow, BatchItemRow, BatchRow
from styleflow.jobs.dating import date_undated, mark_ended
from styleflow.jobs.erasure import blank_events, erase_jobs, strip_jobs
from styleflow.jobs.idempotency import forget_answers
from styleflow.jobs.keeping import KeptClass, Retention
from styleflow.jobs.object_erasures import enqueue
from styleflow.jobs.source_copies import ERASED, erase_stale, upload_of_job
from styleflow.jobs.tombstones import Why
from styleflow.jobs.transitions import clock
from styleflow.policy_tables import RelabelingRow
from styleflow.retention_tables import ErasureRow, LegalHoldRow, TombstoneRow
from styleflow.storage.keys import crops_prefix
from styleflow.tables import JobRow, ResultRow, TrackRow, UploadRow
from styleflow.webhook_tables import DeliveryRow, EventRow

BATCH = 500
LONGEST_DELIVERY_DAYS = 14.0
"""The schedule lasts three days, and ten answers may each ask for one more."""
STILL_NEEDED = timedelta(hours=1)
"""How long until an upload that is past its time, and needed, is looked at again."""


@dataclass(frozen=True, kw_only=True)
class Keep:
    """How long is kept what no job decides about, and what jobs get that were accepted without an agreement."""

    default: Retention
    events_days: float
    audit_days: float
    """For tombstones, proofs of erasures, legal holds that were released, and relabellings that are done."""


Sweep = Callable[[Session, Keep, int], int]
"""Deletes at most so many of one kind; returns how many."""


def _uploads(session: Session, keep: Keep, limit: int) -> int:
    """Announced and never sent, or kept for long enough, and needed by no job and by no item of a batch that waits."""
    due = session.scalars(
        select(UploadRow.id)
        .where(UploadRow.state != text("'erased'"), UploadRow.expires_at < func.now())
        .order_by(UploadRow.expires_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    ).all()
    gone = erase_stale(session, due)
    if due:
        _note_sources(session, gone)
        # The rest is needed. It goes to the end of the row, so that it does not keep others from their turn.
        session.execute(
            update(UploadRow)
            .where(UploadRow.id.in_(due), UploadRow.state != ERASED)
            .values(expires_at=func.now() + STILL_NEEDED)
            .execution_options(synchronize_session=False)
        )
    return len(gone)


def _note_sources(session: Session, upload_ids: Sequence[str]) -> None:
    """On the jobs that named them, unless somebody is at them: then `source_until` alone tells."""
    named = session.scalars(
        select(JobRow)
        .join(UploadRow, and_(UploadRow.id == upload_of_job, UploadRow.project_id == JobRow.project_id))
        .where(upload_of_job.in_(upload_ids), JobRow.retention.is_not(None), JobRow.erased_at.is_(None))
        .limit(BATCH)
        .with_for_update(of=JobRow, skip_locked=True)
        .execution_options(populate_existing=True)
    ).all()
    moment = clock(session)
    for job in named:
        mark_ended(job, moment, KeptClass.SOURCE)


def _erased_uploads(session: Session, keep: Keep, limit: int) -> int:
    """Rows that only say that an upload was erased, once nobody can ask for it any more."""
    old = (
        select(UploadRow.id)
        .where(UploadRow.state == text("'erased'"), UploadRow.expires_at < _ago(days=keep.audit_days))
        .limit(limit)
    )
    return _deleted(session, delete(UploadRow).where(UploadRow.id.in_(old)).returning(UploadRow.id))


def _crops(session: Session, keep: Keep, limit: int) -> int:
    """Crops of faces and heat maps."""
    jobs = _locked(session, JobRow.crops_until, limit)
    enqueue(session, [crops_prefix(job.id) for job in jobs])
    moment = clock(session)
    for job in jobs:
        job.crops_until = None
        mark_ended(job, moment, KeptClass.CROPS)
    return len(jobs)


def _frames(session: Session, keep: Keep, limit: int) -> int:
    """The frames of a result, in its tracks and in the stored report; the summary stays."""
    jobs = _locked(session, JobRow.frames_until, limit)
    if not jobs:
        return 0
    ids, moment = [job.id for job in jobs], clock(session)
    keys = session.scalars(select(ResultRow.report_key).where(ResultRow.job_id.in_(ids))).all()
    enqueue(session, [key for key in keys if key is not None])
    session.execute(update(TrackRow).where(TrackRow.job_id.in_(ids)).values({name: [] for name in _FRAME_COLUMNS}))
    session.execute(_WITHOUT_FRAMES, {"ids": ids})
    for job in jobs:
        job.frames_until = job.top_segments = None
        mark_ended(job, moment, KeptClass.FRAMES)
    return len(jobs)


# What a picture's frame was worth goes with the other frames; which face and moment it shows goes with the picture.
_WITHOUT_FRAMES = text("""
    update results set report_key = null,
        report = case when jsonb_typeof(report -> 'crops') = 'array' and report -> 'crops' <> '[]' then
            jsonb_set(report, '{crops}', (
                select jsonb_agg(crop || '{"score": null, "attention": null}' order by place)
                from jsonb_array_elements(report -> 'crops') with ordinality as crops (crop, place)))
            else report end
    where job_id = any(:ids)
""")
_FRAME_COLUMNS = (
    "frame_index",
    "time_seconds",
    "box",
    "detection_confidence",
    "score",
    "flow_coarse",
    "flow_middle",
    "flow_fine",
    "attention",
)


def _jobs(session: Session, keep: Keep, limit: int) -> int:
    """Finished jobs past their `expires_at`, erased ones among them. A tombstone says that they were."""
    jobs = _locked(session, JobRow.expires_at, limit, JobRow.finished_at.is_not(None))
    for reason in ("retention", "zero_retention"):
        some = [job for job in jobs if job.erased_at is None and _is_zero(job) == (reason == "zero_retention")]
        erase_jobs(session, some, Why(reason=reason))
    session.execute(delete(JobRow).where(JobRow.id.in_([job.id for job in jobs])))
    return len(jobs)


def _is_zero(job: JobRow) -> bool:
    return (job.retention or {}).get("mode") == "zero"


def _zero(session: Session, keep: Keep, limit: int) -> int:
    """Settled jobs of zero retention: once their end was told to everybody who wanted to hear of it, or in time."""
    jobs = session.scalars(
        _walk(JobRow.zero_at, limit)
        .where(or_(JobRow.zero_at < func.now(), _was_told()))
        .with_for_update(skip_locked=True)
        .execution_options(populate_existing=True)
    ).all()
    if not jobs:
        return 0
    moment = clock(session)
    strip_jobs(session, [job for job in jobs if _keeps_answer(job)])
    erase_jobs(session, [job for job in jobs if not _keeps_answer(job)], Why(reason="zero_retention"))
    for job in jobs:
        job.zero_at = None
        mark_ended(job, moment, KeptClass.SOURCE)
        if not _keeps_answer(job):
            job.expires_at = moment
    session.flush()
    return len(jobs)


def _was_told() -> ColumnElement[bool]:
    """Of a job: that its end had somewhere to go, and got there or was given up. Asked per row, and so by index."""
    return (
        select(func.bool_and(DeliveryRow.state != "pending"))
        .join(EventRow, EventRow.id == DeliveryRow.event_id)
        .where(EventRow.job_id == JobRow.id, EventRow.terminal)
        .correlate(JobRow)
        .scalar_subquery()
        .is_(True)
    )


def _keeps_answer(job: JobRow) -> bool:
    return float((job.retention or {}).get("results_days", 0.0)) > 0


def _undated(session: Session, keep: Keep, limit: int) -> int:
    """Jobs that an earlier version accepted, or ended."""
    return date_undated(session, keep.default, limit)


def _batches(session: Session, keep: Keep, limit: int) -> int:
    """Finished batches past their `expires_at`, items first. Their jobs go when their own time has come."""
    stale = select(BatchRow.id).where(BatchRow.finished_at.is_not(None), BatchRow.expires_at < func.now())
    batch_id = session.scalar(stale.order_by(BatchRow.expires_at).limit(1).with_for_update(skip_locked=True))
    if batch_id is None:
        return 0
    some = select(BatchItemRow.position).where(BatchItemRow.batch_id == batch_id).limit(limit)
    gone = session.scalars(
        delete(BatchItemRow)
        .where(BatchItemRow.batch_id == batch_id, BatchItemRow.position.in_(some))
        .returning(BatchItemRow.position)
        .execution_options(synchronize_session=False)
    ).all()
    if not gone:
        forget_answers(session, [batch_id])
        session.execute(delete(BatchDeltaRow).where(BatchDeltaRow.batch_id == batch_id))
        session.execute(delete(BatchRow).where(BatchRow.id == batch_id))
    return max(1, len(gone))


def _events(session: Session, keep: Keep, limit: int) -> int:
    """Old events with their deliveries, but none that is still promised to someone, or whose job is under legal hold.

    A delivery older than any schedule lasts waits for an endpoint that was switched off, and promises nothing.
    """
    promised = and_(DeliveryRow.state == "pending", DeliveryRow.created_at > _ago(days=LONGEST_DELIVERY_DAYS))
    held_at = select(JobRow.held_at).where(JobRow.id == EventRow.job_id).correlate(EventRow).scalar_subquery()
    old = (
        select(EventRow.id)
        .where(EventRow.created_at < _ago(days=keep.events_days), ~_any_delivery(promised), held_at.is_(None))
        .order_by(EventRow.created_at)
        .limit(limit)
    )
    return _deleted(session, delete(EventRow).where(EventRow.id.in_(old)).returning(EventRow.id))


def _erased_events(session: Session, keep: Keep, limit: int) -> int:
    """Events that were still on their way when their job was erased, and have arrived or failed since."""
    arrived = (
        select(EventRow.id)
        .where(
            EventRow.erased_at.is_not(None), EventRow.body != text("''"), ~_any_delivery(DeliveryRow.state == "pending")
        )
        .order_by(EventRow.erased_at)
        .limit(limit)
    )
    return blank_events(session, session.scalars(arrived).all())


def _any_delivery(condition: ColumnElement[bool]) -> ColumnElement[bool]:
    """Of an event: that one of its deliveries is so. Asked per row, and so by index."""
    deliveries = select(func.bool_or(condition)).where(DeliveryRow.event_id == EventRow.id)
    return func.coalesce(deliveries.correlate(EventRow).scalar_subquery(), False)


def _answers(session: Session, keep: Keep, limit: int) -> int:
    """Stored answers whose Idempotency-Key may be used anew."""
    gone = session.execute(
        text(
            "delete from idempotency_keys where ctid = any(array(select ctid from idempotency_keys"
            " where expires_at < now() order by expires_at limit :limit for update skip locked)) returning 1"
        ),
        {"limit": limit},
    )
    return len(gone.all())


def _proofs(session: Session, keep: Keep, limit: int) -> int:
    """Tombstones, completed erasures, released holds and finished relabellings, when their time as proof is over."""
    before = _ago(days=keep.audit_days)
    return sum(
        _deleted(
            session,
            delete(table).where(key.in_(select(key).where(age < before).order_by(age).limit(limit))).returning(key),
        )
        for table, key, age in (
            (TombstoneRow, TombstoneRow.job_id, TombstoneRow.erased_at),
            (ErasureRow, ErasureRow.id, ErasureRow.finished_at),
            (LegalHoldRow, LegalHoldRow.id, LegalHoldRow.released_at),
            (RelabelingRow, RelabelingRow.id, RelabelingRow.finished_at),
        )
    )


def _walk(until: Any, limit: int, *conditions: ColumnElement[bool]) -> Select[JobRow]:
    """Along one of the indexes that hold what ends: `until` is its column."""
    wanted = select(JobRow).where(until.is_not(None), JobRow.held_at.is_(None), *conditions)
    return wanted.order_by(until).limit(limit)


def _locked(session: Session, until: Any, limit: int, *conditions: ColumnElement[bool]) -> Sequence[JobRow]:
    wanted = _walk(until, limit, until < func.now(), *conditions)
    return session.scalars(wanted.with_for_update(skip_locked=True).execution_options(populate_existing=True)).all()


def _deleted(session: Session, statement: Any) -> int:
    return len(session.scalars(statement.execution_options(synchronize_session=False)).all())


def _ago(*, days: float) -> ColumnElement[datetime]:
    return func.now() - timedelta(days=days)


KINDS: Mapping[str, Sweep] = MappingProxyType(
    {
        "uploads": _uploads,
        "erased_uploads": _erased_uploads,
        "crops": _crops,
        "frames": _frames,
        "zero": _zero,
        "undated": _undated,
        "jobs": _jobs,
        "batches": _batches,
        "events": _events,
        "erased_events": _erased_events,
        "answers": _answers,
        "proofs": _proofs,
    }
)
"""Each is swept in a transaction of its own."""
QUICK = frozenset({"zero", "uploads"})
"""Kinds for which minutes matter."""
