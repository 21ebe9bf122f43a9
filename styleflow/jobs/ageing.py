"""Bulk work that waited for long enough is rung for as if it were standard, a few jobs at a time.

Workers ask the lanes in their order (`lane_order.py`), so one of all three lanes would never reach `bulk` while
`standard` is never empty: the share of the others goes to `standard` first. The job keeps its lane; its nudge goes to
the other queue, where dispatch gives it every fourth place: bulk work gets a share and standard work keeps the rest. At
most a quarter of a window is aged at any moment, the projects in turn.
"""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import text
from sqlalchemy.orm import Session

from styleflow.jobs.state import Lane

SHARE = 4
"""One of so many places in a window may be held by aged nudges."""

# Those that stand in the queue that nobody reaches, and those that were never published; of each project the oldest, by
# hopping from project to project along the index. Whoever has the fewest among the aged goes first.
_AGE = text(
    "with recursive waiting (project_id) as ("
    " (select project_id from outbox where lane = :old and published_at is null order by project_id limit 1)"
    " union all select (select project_id from outbox where lane = :old and published_at is null"
    "  and project_id > waiting.project_id order by project_id limit 1) from waiting where project_id is not null),"
    " candidates as (select id, project_id, run_at from outbox where published_at is not null and lane = :old"
    "   and run_at < now() - :after"
    "  union all select due.id, due.project_id, due.run_at from waiting, lateral ("
    "   select id, project_id, run_at from outbox"
    "   where lane = :old and published_at is null and project_id = waiting.project_id and run_at < now() - :after"
    "   order by run_at, id limit :quota) as due),"
    " ranked as (select id, run_at, row_number() over (partition by project_id order by run_at, id)"
    "  + (select count(*) from outbox held where held.aged and held.project_id = candidates.project_id) as place"
    "  from candidates),"
    " room as (select greatest(0, :quota - count(*)) as places from outbox where aged)"
    " update outbox set lane = :new, aged = true, published_at = null where id = any(array("
    "  select id from ranked order by place, run_at, id limit (select places from room))) returning id"
)


def age(session: Session, window: int, after_seconds: float) -> int:
    """Let bulk nudges that have been due for `after_seconds` into the standard lane; returns how many."""
    values = {
        "old": Lane.BULK,
        "new": Lane.STANDARD,
        "after": timedelta(seconds=after_seconds),
        "quota": max(1, window // SHARE),
    }
    return len(session.execute(_AGE, values).all())
