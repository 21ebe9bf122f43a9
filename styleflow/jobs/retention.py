"""What has been kept for long enough: videos, frames, results, events, stored answers.

What it may get wrong: objects go before the transaction that forgets them commits, so a sweep that is cut off leaves
rows that name missing objects until the next one. Deleting an object twice is harmless; losing its name would not be.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import MappingProxyType

from sqlalchemy import ColumnElement, and_, delete, exists, func, or_, select, text, update
from sqlalchemy.orm import Session

from styleflow.batch_tables import BatchDeltaRow, BatchItemRow, BatchRow
from styleflow.jobs.erasure import blank_events, evidence_keys
from styleflow.jobs.idempotency import forget_answers
from styleflow.jobs.state import TERMINAL
from styleflow.tables import JobRow, ResultRow, TrackRow, UploadRow
from styleflow.webhook_tables import DeliveryRow, EventRow

BATCH = 500
LONGEST_DELIVERY_DAYS = 14.0
"""The schedule lasts three days, and ten answers may each ask for one more."""


@dataclass(frozen=True, kw_only=True)
class Keep:
    """How long each kind is kept. A job with its result goes when the job's own `expires_at` says so."""

    source_hours: float
    frames_days: float
    events_days: float


DeleteObjects = Callable[[Sequence[str]], None]
"""Takes bucket keys, of which some may be gone already."""
Sweep = Callable[[Session, Keep, DeleteObjects, int], int]
"""Deletes at most so many of one kind; returns how many."""


def _uploads(session: Session, keep: Keep, delete_objects: DeleteObjects, limit: int) -> int:
    """Announced and never sent, or kept for long enough and not needed by a job that is still to run, or to be made of
    a batch's item."""
    needed = or_(
        exists().where(
            JobRow.state.in_(["queued", "running"]),
            JobRow.project_id == UploadRow.project_id,
            JobRow.source["upload_id"].astext == UploadRow.id,
        ),
        exists().where(
            BatchItemRow.state == "listed",
            text("batch_items.item #>> '{source,upload_id}' = uploads.id"),
            BatchRow.id == BatchItemRow.batch_id,
            BatchRow.project_id == UploadRow.project_id,
        ),
    )
    stale = or_(
        and_(UploadRow.state == "pending", UploadRow.expires_at < func.now()),
        UploadRow.created_at < _ago(hours=keep.source_hours),
    )
    rows = session.execute(
        select(UploadRow.id, UploadRow.key).where(stale, ~needed).limit(limit).with_for_update(skip_locked=True)
    ).all()
    # Asked again now that the rows are locked: a job may have been accepted since the first look.
    still_needed = select(UploadRow.id).where(UploadRow.id.in_([identity for identity, _ in rows]), needed)
    kept = set(session.scalars(still_needed)) if rows else set()
    gone = {identity: key for identity, key in rows if identity not in kept}
    if gone:
        delete_objects(list(gone.values()))
        session.execute(delete(UploadRow).where(UploadRow.id.in_(list(gone))))
    return len(gone)


def _frames(session: Session, keep: Keep, delete_objects: DeleteObjects, limit: int) -> int:
    """The frames of a result, in its tracks and in the stored report; the summary stays."""
    rows = session.execute(
        select(ResultRow.job_id, ResultRow.report_key)
        .where(ResultRow.report_key.is_not(None), ResultRow.created_at < _ago(days=keep.frames_days))
        .limit(limit)
        .with_for_update(skip_locked=True)
    ).all()
    if not rows:
        return 0
    jobs = [job_id for job_id, _ in rows]
    delete_objects([key for _, key in rows if key is not None])
    session.execute(update(TrackRow).where(TrackRow.job_id.in_(jobs)).values({name: [] for name in _FRAME_COLUMNS}))
    session.execute(update(ResultRow).where(ResultRow.job_id.in_(jobs)).values(report_key=None))
    return len(jobs)


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


def _jobs(session: Session, keep: Keep, delete_objects: DeleteObjects, limit: int) -> int:
    """Finished jobs past their `expires_at`, tombstones among them, with everything that hangs on them."""
    jobs = session.scalars(
        select(JobRow.id)
        .where(JobRow.state.in_(list(TERMINAL)), JobRow.expires_at < func.now())
        .limit(limit)
        .with_for_update(skip_locked=True)
    ).all()
    if not jobs:
        return 0
    delete_objects(evidence_keys(session, jobs))
    forget_answers(session, jobs)
    session.execute(delete(JobRow).where(JobRow.id.in_(jobs)))
    return len(jobs)


def _batches(session: Session, keep: Keep, delete_objects: DeleteObjects, limit: int) -> int:
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


def _events(session: Session, keep: Keep, delete_objects: DeleteObjects, limit: int) -> int:
    """Old events with their deliveries, but none that is still promised to someone.

    A delivery older than any schedule lasts waits for an endpoint that was switched off, and promises nothing.
    """
    pending = exists().where(
        DeliveryRow.event_id == EventRow.id,
        DeliveryRow.state == "pending",
        DeliveryRow.created_at > _ago(days=LONGEST_DELIVERY_DAYS),
    )
    old = select(EventRow.id).where(EventRow.created_at < _ago(days=keep.events_days), ~pending).limit(limit)
    gone = session.scalars(
        delete(EventRow).where(EventRow.id.in_(old)).returning(EventRow.id).execution_options(synchronize_session=False)
    )
    return len(gone.all())


def _erased_events(session: Session, keep: Keep, delete_objects: DeleteObjects, limit: int) -> int:
    """Events that were still on their way when their job was erased, and have arrived or failed since."""
    pending = exists().where(DeliveryRow.event_id == EventRow.id, DeliveryRow.state == "pending")
    arrived = (
        select(EventRow.id)
        .join(JobRow, JobRow.id == EventRow.job_id)
        .where(JobRow.erased_at.is_not(None), EventRow.body != "", ~pending)
        .limit(limit)
    )
    return blank_events(session, session.scalars(arrived).all())


def _answers(session: Session, keep: Keep, delete_objects: DeleteObjects, limit: int) -> int:
    """Stored answers whose Idempotency-Key may be used anew."""
    gone = session.execute(
        text(
            "delete from idempotency_keys where ctid = any(array(select ctid from idempotency_keys"
            " where expires_at < now() limit :limit for update skip locked)) returning 1"
        ),
        {"limit": limit},
    )
    return len(gone.all())


def _ago(*, days: float = 0.0, hours: float = 0.0) -> ColumnElement[datetime]:
    return func.now() - timedelta(days=days, hours=hours)


KINDS: Mapping[str, Sweep] = MappingProxyType(
    {
        "uploads": _uploads,
        "frames": _frames,
        "jobs": _jobs,
        "batches": _batches,
        "events": _events,
        "erased_events": _erased_events,
        "answers": _answers,
    }
)
"""Each is swept in a transaction of its own, so that one object that cannot be deleted holds up its kind only."""
