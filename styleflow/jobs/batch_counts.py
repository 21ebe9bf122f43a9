"""How many items of a batch are in which state: exact at any moment, also at a million rows, and nobody waits for it.

Whoever moves an item adds small rows of their own to `batch_deltas` in the same transaction. A recurring duty folds
them into `batch_counts`; a reader adds what is not folded yet, in one statement and so from one snapshot.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import insert, text
from sqlalchemy.orm import Session

from styleflow.batch_tables import BatchDeltaRow
from styleflow.jobs.state import JobState
from styleflow.tables import JobRow

LISTED, INVALID, DEDUPLICATED = "listed", "invalid", "deduplicated"
"""Counts of items that are no jobs: waiting to become one, never to become one, repetitions of an earlier one."""
COUNTED = (LISTED, INVALID, *JobState, DEDUPLICATED)
SPENT = "spent_ms"
"""Kept like a count, and none: milliseconds for which attempts at the batch's jobs held a worker."""
FOLDED_AT_ONCE = 20_000


def tell_batch(session: Session, job: JobRow, state: JobState) -> None:
    """The job, which its transaction has locked, is about to move to `state`."""
    if job.batch_id is not None:
        add_counts(session, job.batch_id, {job.state: -1, state: 1})


def charge_batch(session: Session, job: JobRow, seconds: float) -> None:
    """An attempt at the job held a worker for so long."""
    if job.batch_id is not None:
        add_counts(session, job.batch_id, {SPENT: round(seconds * 1000)})


def add_counts(session: Session, batch_id: str, changes: Mapping[str, int]) -> None:
    """Change counts of one batch, by state; zeros are left out."""
    rows = [{"batch_id": batch_id, "state": str(state), "delta": delta} for state, delta in changes.items() if delta]
    if rows:
        session.execute(insert(BatchDeltaRow).values(rows))


def counts_of(session: Session, batch_ids: Sequence[str]) -> dict[str, dict[str, int]]:
    """For each batch every state of COUNTED with its number of items, zeros included."""
    known = _known(session, batch_ids)
    return {identity: {str(state): known.get((identity, state), 0) for state in COUNTED} for identity in batch_ids}


def spent_seconds_of(session: Session, batch_ids: Sequence[str]) -> dict[str, float]:
    """For each batch the seconds for which attempts at its jobs held a worker; those that still run are not in it."""
    known = _known(session, batch_ids)
    return {identity: known.get((identity, SPENT), 0) / 1000 for identity in batch_ids}


def _known(session: Session, batch_ids: Sequence[str]) -> dict[tuple[str, str], int]:
    rows = session.execute(
        text(
            "select batch_id, state, sum(items)::bigint from ("
            " select batch_id, state, items from batch_counts where batch_id = any(:ids)"
            " union all select batch_id, state, delta from batch_deltas where batch_id = any(:ids)"
            ") as known group by batch_id, state"
        ),
        {"ids": list(batch_ids)},
    )
    return {(identity, state): items for identity, state, items in rows}


def fold(session: Session, limit: int = FOLDED_AT_ONCE) -> int:
    """Fold at most `limit` deltas into the counts; returns how many. Two at a time do no harm."""
    # In order of their keys, so that two folds lock the counts in the same order.
    folded = session.execute(
        text(
            "with taken as (delete from batch_deltas where id = any(array("
            "  select id from batch_deltas order by id limit :limit for update skip locked))"
            "  returning batch_id, state, delta),"
            " known as (select batch_id, state, sum(delta) as delta from taken"
            "  where exists (select from batches where id = batch_id)"
            "  group by batch_id, state order by batch_id, state),"
            " kept as (insert into batch_counts (batch_id, state, items) select batch_id, state, delta from known"
            "  on conflict (batch_id, state) do update set items = batch_counts.items + excluded.items)"
            " select count(*) from taken"
        ),
        {"limit": limit},
    )
    return int(folded.scalar_one())
