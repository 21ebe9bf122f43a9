"""What each project used, by day and model, and how many of its jobs are open: exact at any moment, and nobody waits.

Whoever accepts, ends or uploads something adds one row of its own to `usage_deltas` in the same transaction. A
recurring duty folds these rows into `usage_days` and `project_activity`; a reader adds what is not folded yet, in one
statement and so from one snapshot. Days are UTC's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from styleflow.database import transaction_time
from styleflow.tables import JobRow
from styleflow.writes import Write, write_all

MEASURES = (
    "accepted",
    "succeeded",
    "failed",
    "canceled",
    "expired",
    "scored",
    "not_applicable",
    "inconclusive",
    "worker_ms",
    "upload_bytes",
)
"""What is counted: jobs accepted, jobs by terminal state and by outcome, milliseconds of workers, bytes announced."""
FOLDED_AT_ONCE = 20_000
_SUMS = ", ".join(f"sum({name})::bigint as {name}" for name in MEASURES)
_NAMES = ", ".join(MEASURES)


@dataclass(frozen=True, kw_only=True)
class Used:
    """What a project has open, and what it used today."""

    active_jobs: int
    accepted: int
    worker_ms: int
    upload_bytes: int


def today(session: Session) -> date:
    """The day to which this transaction belongs."""
    return transaction_time(session).astimezone(UTC).date()


def addition(session: Session, project_id: str, model: str = "", *, active_jobs: int = 0, **measures: int) -> Write:
    """What counts so much more, on this transaction's day. `measures` are names of MEASURES."""
    values = {"project_id": project_id, "day": today(session), "model": model, "active_jobs": active_jobs, **measures}
    if unknown := measures.keys() - set(MEASURES):
        raise ValueError(f"nothing counts {sorted(unknown)}")
    marks = ", ".join(f":usage_{name}" for name in values)
    parameters = {f"usage_{name}": value for name, value in values.items()}
    return Write(f"insert into usage_deltas ({', '.join(values)}) values ({marks})", parameters)


def add(session: Session, project_id: str, model: str = "", *, active_jobs: int = 0, **measures: int) -> None:
    """Count so much more at once: see `addition`."""
    write_all(session, [addition(session, project_id, model, active_jobs=active_jobs, **measures)])


def settled(session: Session, job: JobRow, state: str, worker_seconds: float) -> Write:
    """The job is about to be in the terminal `state`; its last attempt held a worker for so long."""
    outcome = {job.outcome: 1} if state == "succeeded" and job.outcome in MEASURES else {}
    spent = {"worker_ms": round(worker_seconds * 1000)}
    return addition(session, job.project_id, job.model, active_jobs=-1, **{str(state): 1}, **outcome, **spent)


def used(session: Session, project_id: str) -> Used:
    """Exact as of one snapshot: what has committed before, and what this transaction itself has written."""
    row = session.execute(_USED, {"project": project_id, "today": today(session)}).one()
    return Used(
        active_jobs=max(0, row.active_jobs),
        accepted=row.accepted,
        worker_ms=row.worker_ms,
        upload_bytes=row.upload_bytes,
    )


_USED = text("""
    select coalesce(sum(active_jobs), 0)::bigint as active_jobs,
        coalesce(sum(accepted) filter (where day = :today), 0)::bigint as accepted,
        coalesce(sum(worker_ms) filter (where day = :today), 0)::bigint as worker_ms,
        coalesce(sum(upload_bytes) filter (where day = :today), 0)::bigint as upload_bytes
    from (
        select active_jobs, null::date as day, 0 as accepted, 0 as worker_ms, 0 as upload_bytes
        from project_activity where project_id = :project
        union all select 0, day, accepted, worker_ms, upload_bytes
        from usage_days where project_id = :project and day = :today
        union all select active_jobs, day, accepted, worker_ms, upload_bytes
        from usage_deltas where project_id = :project
    ) as known
""")


def report(session: Session, project_id: str, first: date, until: date, by: Sequence[str]) -> list[Mapping[str, Any]]:
    """Sums of MEASURES over the days from `first` to before `until`, grouped and ordered by `day`, `model`, both or
    neither (`by`); groups in which nothing happened are left out. One row without groups, also when nothing happened.
    """
    keys = [name for name in ("day", "model") if name in by]
    columns = "".join(f"{name}, " for name in keys)
    grouped = f" group by {', '.join(keys)} order by {', '.join(keys)}" if keys else ""
    rows = session.execute(
        text(
            f"select {columns}{_COALESCED} from ("
            f" select day, model, {_NAMES} from usage_days"
            f" where project_id = :project and day >= :first and day < :until"
            f" union all select day, model, {_NAMES} from usage_deltas"
            f" where project_id = :project and day >= :first and day < :until"
            f") as known{grouped}"
        ),
        {"project": project_id, "first": first, "until": until},
    )
    return [dict(row) for row in rows.mappings()]


_COALESCED = ", ".join(f"coalesce(sum({name}), 0)::bigint as {name}" for name in MEASURES)


def fold(session: Session, limit: int = FOLDED_AT_ONCE) -> int:
    """Fold at most `limit` deltas; returns how many. Two at a time do no harm."""
    folded = session.execute(_FOLD, {"limit": limit})
    return int(folded.scalar_one())


# In order of their keys, so that two folds lock rows in the same order.
_FOLD = text(f"""
    with taken as (
        delete from usage_deltas where id = any(array(
            select id from usage_deltas order by id limit :limit for update skip locked))
        returning project_id, day, model, active_jobs, {_NAMES}
    ), known as (
        select taken.* from taken where exists (select from projects where projects.id = taken.project_id)
    ), days as (
        insert into usage_days (project_id, day, model, {_NAMES})
        select project_id, day, model, {_SUMS} from known
        group by project_id, day, model order by project_id, day, model
        on conflict (project_id, day, model) do update
        set {", ".join(f"{name} = usage_days.{name} + excluded.{name}" for name in MEASURES)}
    ), open as (
        insert into project_activity (project_id, active_jobs)
        select project_id, sum(active_jobs)::bigint from known group by project_id order by project_id
        on conflict (project_id) do update set active_jobs = project_activity.active_jobs + excluded.active_jobs
    )
    select count(*) from taken
""")


def recount(session: Session) -> int:
    """Mend the number of open jobs where it is not what the jobs say; returns of how many projects it was wrong.

    It goes wrong only when rows are changed by hand, or by an older version beside this one. A move of a job and its
    delta commit together, so that one snapshot sees both or neither, and the difference is the error itself.
    """
    mended = session.execute(_RECOUNT, {"today": today(session)})
    return len(mended.all())


_RECOUNT = text("""
    with counted as (
        select project_id, count(*) as jobs from jobs where state in ('queued', 'running') group by project_id
    ), known as (
        select project_id, sum(active_jobs)::bigint as jobs from (
            select project_id, active_jobs from project_activity
            union all select project_id, active_jobs from usage_deltas
        ) as all_known group by project_id
    )
    insert into usage_deltas (project_id, day, active_jobs)
    select project_id, :today, coalesce(counted.jobs, 0) - coalesce(known.jobs, 0)
    from counted full join known using (project_id)
    where coalesce(counted.jobs, 0) <> coalesce(known.jobs, 0)
    returning 1
""")
