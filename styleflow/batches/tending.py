"""What batches need besides being fed: ends, cancellation, second tries, and how fast they drain.

Each batch in a transaction of its own that holds its row, some thousand items or some dozen jobs at a time.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from sqlalchemy import func, select, text, update
from sqlalchemy.orm import Session, defer

from styleflow.batch_tables import BatchRow
from styleflow.batches.state import (
    BatchState,
    Standing,
    Step,
    StopReason,
    drain_rate,
    ended,
    errors,
    next_step,
    settled,
    stop_reason,
)
from styleflow.database import Database
from styleflow.jobs.batch_counts import LISTED, add_counts, counts_of, spent_seconds_of
from styleflow.jobs.keeping import Mode
from styleflow.jobs.state import JobEvent, JobState
from styleflow.jobs.transitions import clock, finish
from styleflow.tables import JobRow
from styleflow.webhooks.announce import BATCH_PROGRESS, announce_batch

ITEMS_AT_ONCE = 5000
JOBS_AT_ONCE = 100
SAMPLE_SECONDS = 10.0
# A batch that was canceled before it was expanded still has its whole list, which nobody will read.
_FORGET_INLINE = text(
    "update batches set source = jsonb_build_object('type', 'inline', 'count', jsonb_array_length(source -> 'items'))"
    " where id = :batch and source ->> 'type' = 'inline' and source ? 'items'"
)


def tend_once(database: Database) -> int:
    """Look at every batch that is not finished; returns how many of them something was done for."""
    with database.transaction() as session:
        rows = session.scalars(
            select(BatchRow)
            .where(BatchRow.finished_at.is_(None))
            .options(defer(BatchRow.source))
            .order_by(BatchRow.created_at)
        ).all()
        counts = counts_of(session, [row.id for row in rows])
        moment = clock(session)
        spent = spent_seconds_of(session, [row.id for row in rows])
    needy = [row.id for row in rows if next_step(standing(row, counts[row.id], spent[row.id])) is not Step.NOTHING]
    done = sum(_tend(database, batch_id) for batch_id in needy)
    for row in rows:
        if moment - row.drain_at >= timedelta(seconds=SAMPLE_SECONDS):
            _sample(database, row, settled(counts[row.id]), moment)
            if settled(counts[row.id]) != row.drain_settled or row.state == BatchState.EXPANDING:
                _tell_progress(database, row.id)
    return done


def standing(batch: BatchRow, counts: Mapping[str, int], spent_seconds: float) -> Standing:
    """What the decisions of state.py look at."""
    return Standing(
        state=BatchState(batch.state),
        expanded=batch.expanded_at is not None,
        retry_requested=batch.retry_requested_at is not None,
        refused=batch.error is not None,
        max_item_errors=batch.max_item_errors,
        budget_seconds=batch.budget_seconds,
        spent_seconds=spent_seconds,
        counts=counts,
    )


def _tend(database: Database, batch_id: str) -> bool:
    with database.transaction() as session:
        batch = session.scalars(
            select(BatchRow)
            .where(BatchRow.id == batch_id)
            .options(defer(BatchRow.source))
            .with_for_update(skip_locked=True, key_share=True)
        ).one_or_none()
        if batch is None:
            return False
        # Counted again: only now nobody feeds it.
        counts = counts_of(session, [batch_id])[batch_id]
        found = standing(batch, counts, spent_seconds_of(session, [batch_id])[batch_id])
        match next_step(found):
            case Step.CANCEL:
                return _cancel(session, batch) > 0
            case Step.RETRY:
                return _try_again(session, batch)
            case Step.STOP:
                return _stop(session, batch, found)
            case Step.CLOSE:
                return _close(session, batch, found)
            case Step.NOTHING:
                return False


def _cancel(session: Session, batch: BatchRow) -> int:
    waiting = _cancel_items(session, batch)
    queued = session.scalars(
        select(JobRow)
        .where(JobRow.batch_id == batch.id, JobRow.state == JobState.QUEUED)
        .limit(JOBS_AT_ONCE)
        .with_for_update(skip_locked=True)
    ).all()
    for job in queued:
        finish(session, job, JobEvent.CANCEL)
    told = session.scalars(
        update(JobRow)
        .where(JobRow.batch_id == batch.id, JobRow.state == JobState.RUNNING, JobRow.cancel_requested_at.is_(None))
        .values(cancel_requested_at=func.now(), row_version=JobRow.row_version + 1)
        .returning(JobRow.id)
        .execution_options(synchronize_session=False)
    ).all()
    return waiting + len(queued) + len(told)


def _cancel_items(session: Session, batch: BatchRow) -> int:
    """Those that never became jobs. With zero retention nothing remains of what they named: no job's end will take it
    away. Otherwise they can be read for as long as the batch can, and an erasure by their `client_ref` finds them."""
    zero = (batch.template.get("retention") or {}).get("mode") == Mode.ZERO
    moved = len(
        session.execute(
            text(
                "update batch_items set state = 'canceled',"
                " item = case when :zero then '{}' else item end,"
                " identity = case when :zero then null else identity end"
                " where batch_id = :batch and position = any(array("
                " select position from batch_items where batch_id = :batch and state = 'listed'"
                " order by position limit :limit)) returning 1"
            ),
            {"batch": batch.id, "zero": zero, "limit": ITEMS_AT_ONCE},
        ).all()
    )
    add_counts(session, batch.id, {LISTED: -moved, JobState.CANCELED: moved})
    return moved


def _try_again(session: Session, batch: BatchRow) -> bool:
    """Back to waiting with those whose job failed before it was asked for; the new job names the old one as parent."""
    again = session.scalars(
        text(
            "with again as (select i.position, j.state from jobs j join batch_items i on i.batch_id = j.batch_id"
            "  and i.position = j.batch_position and i.job_id = j.id and i.state = 'submitted'"
            "  where j.batch_id = :batch and j.state in ('failed', 'expired') and j.finished_at <= :until"
            "  and j.erased_at is null and i.item <> '{}' limit :limit)"
            " update batch_items i set state = 'listed' from again"
            # Asked again, since what the item said may have been erased while this waited for it.
            " where i.batch_id = :batch and i.position = again.position and i.item <> '{}' returning again.state"
        ),
        {"batch": batch.id, "until": batch.retry_requested_at, "limit": ITEMS_AT_ONCE},
    ).all()
    if not again:
        batch.retry_requested_at = None
    changes: dict[str, int] = {state: -again.count(state) for state in (JobState.FAILED, JobState.EXPIRED)}
    add_counts(session, batch.id, {**changes, LISTED: len(again)})
    return True


def _stop(session: Session, batch: BatchRow, found: Standing) -> bool:
    reason = stop_reason(found)
    if reason is None:
        return False
    batch.state = BatchState.CANCELING
    batch.error = {"code": reason, "message": _told(reason, found)}
    announce_batch(session, batch, found.counts, BATCH_PROGRESS)
    return True


def _told(reason: StopReason, found: Standing) -> str:
    match reason:
        case StopReason.TOO_MANY_ITEM_ERRORS:
            return f"{errors(found.counts)} items failed; it was to stop at {found.max_item_errors}."
        case StopReason.BUDGET_EXCEEDED:
            return f"Workers were held for {found.spent_seconds:.1f} s; the budget was {found.budget_seconds} s."


def _close(session: Session, batch: BatchRow, found: Standing) -> bool:
    batch.state = ended(found)
    batch.finished_at = clock(session)
    session.flush()
    session.execute(_FORGET_INLINE, {"batch": batch.id})
    announce_batch(session, batch, found.counts)
    return True


def _sample(database: Database, seen: BatchRow, now_settled: int, moment: datetime) -> None:
    seconds = (moment - seen.drain_at) / timedelta(seconds=1)
    rate = drain_rate(seen.drain_rate, now_settled - seen.drain_settled, seconds)
    with database.transaction() as session:
        session.execute(
            update(BatchRow)
            .where(BatchRow.id == seen.id)
            .values(drain_settled=now_settled, drain_rate=rate, drain_at=moment)
            .execution_options(synchronize_session=False)
        )


def _tell_progress(database: Database, batch_id: str) -> None:
    """Once for each sample in which something moved; a batch that is held elsewhere is told of the next time."""
    with database.transaction() as session:
        batch = session.scalars(
            select(BatchRow)
            .where(BatchRow.id == batch_id, BatchRow.finished_at.is_(None))
            .options(defer(BatchRow.source))
            .with_for_update(skip_locked=True, key_share=True)
        ).one_or_none()
        if batch is not None:
            announce_batch(session, batch, counts_of(session, [batch_id])[batch_id], BATCH_PROGRESS)
