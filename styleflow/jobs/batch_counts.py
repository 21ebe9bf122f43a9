"""How many items of a batch are in which state: exact at any moment, also at a million rows, and nobody waits for it.

Whoever moves an item adds small rows of their own to `batch_deltas` in the same transaction. A recurring duty folds
them into `batch_counts`; a reader adds what is not folded yet, in one statement and so from one snapshot.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import text
from sqlalchemy.orm import Session

from styleflow.jobs.state import JobState
from styleflow.tables import JobRow
from styleflow.writes import Write, write_all

LISTED, INVALID, DEDUPLICATED = "listed", "invalid", "deduplicated"
"""Counts of items that are no jobs: waiting to become one, never to become one, repetitions of an earlier one."""
COUNTED = (LISTED, INVALID, *JobState, DEDUPLICATED)
SPENT = "spent_ms"
"""Kept like a count, and none: milliseconds for which attempts at the batch's jobs held a worker."""
FOLDED_AT_ONCE = 20_000


def told(job: JobRow, state: JobState, *, seconds: float = 0) -> list[Write]:
    """The job, which its transaction has locked, is about to move to `state`, after an attempt that held a worker for
    so long. Nothing is to be written for one that belongs to no batch."""
    if job.batch_id is None:
        return []
    changes = {job.state: -1, state: 1, SPENT: round(seconds * 1000)}
    return _additions(job.batch_id, changes)


def add_counts(session: Session, batch_id: str, changes: Mapping[str, int]) -> None:
    """Change counts of one batch, by state; zeros are left out."""
    write_all(session, _additions(batch_id, changes))


def _additions(batch_id: str, changes: Mapping[str, int]) -> list[Write]:
    wanted = {str(state): delta for state, delta in changes.items() if delta}
    if not wanted:
        return []
    parameters = {"counts_batch": batch_id, "counts_states": list(wanted), "counts_deltas": list(wanted.values())}
    return [Write(_ADD, parameters)]


_ADD = (
    "insert into batch_deltas (batch_id, state, delta) select :counts_batch, state, delta"
    " from unnest(cast(:counts_states as text[]), cast(:counts_deltas as bigint[])) as change (state, delta)"
)


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
