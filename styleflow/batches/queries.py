"""Recording batches, reading them, and reading their items."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Row, select, text, tuple_
from sqlalchemy.orm import Session

from styleflow.batch_tables import BatchRow
from styleflow.batches.state import BatchState
from styleflow.errors import NotFound
from styleflow.ids import new_id
from styleflow.jobs.batch_counts import INVALID, LISTED, counts_of
from styleflow.jobs.state import JobState
from styleflow.jobs.transitions import clock
from styleflow.webhooks.announce import BATCH_PROGRESS, announce_batch

ITEM_STATES = (LISTED, INVALID, *JobState)
"""Where an item stands: where its job does, once it has one."""


@dataclass(frozen=True, kw_only=True)
class NewBatch:
    """What a caller asks for, already checked by the door."""

    project_id: str
    name: str
    source: dict[str, Any]
    template: dict[str, Any]
    max_in_flight: int
    max_item_errors: int | None = None
    budget_seconds: float | None = None
    request_id: str | None = None
    keep_days: float


@dataclass(frozen=True, kw_only=True)
class Item:
    """One item as a caller sees it."""

    position: int
    state: str
    source: dict[str, Any] | None
    client_ref: str | None
    job_id: str | None
    error: dict[str, Any] | None


def create(session: Session, new: NewBatch) -> BatchRow:
    """Record a batch in `expanding`. Its list is read later, so that this takes no longer for a million items."""
    moment = clock(session)
    batch = BatchRow(
        id=new_id("bat"),
        project_id=new.project_id,
        name=new.name,
        state=BatchState.EXPANDING,
        source=new.source,
        template=new.template,
        max_in_flight=new.max_in_flight,
        max_item_errors=new.max_item_errors,
        budget_seconds=new.budget_seconds,
        request_id=new.request_id,
        checkpoint={},
        lease_token=0,
        drain_settled=0,
        drain_rate=0.0,
        drain_at=moment,
        event_sequence=0,
        created_at=moment,
        expires_at=moment + timedelta(days=new.keep_days),
    )
    session.add(batch)
    session.flush()
    announce_batch(session, batch, counts(session, batch.id), BATCH_PROGRESS)
    return batch


def get_batch(session: Session, project_id: str, batch_id: str, *, lock: bool = False) -> BatchRow:
    """Raises NotFound, also for another project's batch."""
    wanted = select(BatchRow).where(BatchRow.id == batch_id, BatchRow.project_id == project_id)
    if lock:
        wanted = wanted.with_for_update(key_share=True).execution_options(populate_existing=True)
    batch = session.scalars(wanted).one_or_none()
    if batch is None:
        raise NotFound
    return batch


def list_batches(
    session: Session, project_id: str, state: str | None, limit: int, after: tuple[datetime, str] | None = None
) -> list[BatchRow]:
    """Newest first. `after` is (created_at, id) of the last batch of the previous page."""
    conditions: list[ColumnElement[bool]] = [BatchRow.project_id == project_id]
    if state is not None:
        conditions.append(BatchRow.state == state)
    if after is not None:
        conditions.append(tuple_(BatchRow.created_at, BatchRow.id) < tuple_(*after))
    wanted = select(BatchRow).where(*conditions).order_by(BatchRow.created_at.desc(), BatchRow.id.desc())
    return list(session.scalars(wanted.limit(limit)))


def counts(session: Session, batch_id: str) -> dict[str, int]:
    """Items by state; exact."""
    return counts_of(session, [batch_id])[batch_id]


_COLUMNS = (
    "select i.position, i.state, i.item, i.job_id, i.error_code, i.error_message, j.state as job_state,"
    " j.error as job_error"
)
_JOINED = f"{_COLUMNS} from batch_items i left join jobs j on j.id = i.job_id"
_PAGE = " order by i.position limit :limit"
_ALL = text(f"{_JOINED} where i.batch_id = :batch and i.position > :after{_PAGE}")
_UNSUBMITTED = text(f"{_JOINED} where i.batch_id = :batch and i.state = :state and i.position > :after{_PAGE}")
# From the jobs, whose index is by state and position; an item's earlier jobs do not count.
_BY_JOB = text(
    f"{_COLUMNS} from jobs j join batch_items i"
    " on i.batch_id = j.batch_id and i.position = j.batch_position and i.job_id = j.id and i.state = 'submitted'"
    " where j.batch_id = :batch and j.state = :state and j.batch_position > :after"
    " order by j.batch_position limit :limit"
)


def list_items(session: Session, batch_id: str, state: str | None, limit: int, after: int = 0) -> list[Item]:
    """In order of position, behind position `after`; with `state`, one of ITEM_STATES, those that stand there."""
    values = {"batch": batch_id, "state": state, "limit": limit, "after": after}
    if state is None:
        return [_item(row) for row in session.execute(_ALL, values)]
    # Canceled are items that never became a job, and items whose job was.
    statements = {LISTED: [_UNSUBMITTED], INVALID: [_UNSUBMITTED], JobState.CANCELED: [_UNSUBMITTED, _BY_JOB]}
    rows = [row for statement in statements.get(state, [_BY_JOB]) for row in session.execute(statement, values)]
    return sorted((_item(row) for row in rows), key=lambda item: item.position)[:limit]


def list_errors(session: Session, batch_id: str, limit: int, after: int = 0) -> list[Item]:
    """Items that are invalid, or whose job failed or expired; in order of position, behind `after`."""
    states = (INVALID, JobState.FAILED, JobState.EXPIRED)
    found = [item for state in states for item in list_items(session, batch_id, state, limit, after)]
    return sorted(found, key=lambda item: item.position)[:limit]


def _item(row: Row[Any]) -> Item:
    state = row.job_state if row.state == "submitted" and row.job_state is not None else row.state
    error = None if row.error_code is None else {"code": row.error_code, "message": row.error_message}
    return Item(
        position=row.position,
        state=state,
        source=row.item.get("source"),
        client_ref=row.item.get("client_ref"),
        job_id=row.job_id,
        error=error or (row.job_error if row.state == "submitted" else None),
    )
