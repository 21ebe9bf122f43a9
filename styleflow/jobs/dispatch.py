"""The one publisher: meters nudges out of PostgreSQL into the broker, per lane one ahead for every live worker.

The projects in turn, by the work that their jobs are expected to be: whoever has a hundred thousand jobs in a lane
delays another's single one by what runs and by one more for each worker, which is two lengths of a job.

A nudge stays in the outbox until its job is claimed, so a message that the broker lost is noticed and sent again. A
message sent twice finds nothing to claim. While the broker is away nothing is marked as sent, so nothing is lost.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from sqlalchemy import ColumnElement, func, select, text, update
from sqlalchemy.orm import Session

from styleflow.broker import Broker
from styleflow.database import DISPATCH_CHANNEL, Database
from styleflow.errors import DependencyUnavailable
from styleflow.jobs.fairness import Debts, in_turn
from styleflow.jobs.state import Lane
from styleflow.jobs.workers import live_slots
from styleflow.jobs.workload import SIZE_BYTES, Kind, Workload
from styleflow.tables import OutboxRow

DISPATCH_LOCK = 727_003
"""Advisory lock of a transaction that publishes: two publishers could each fill the window."""
PATIENCE = 10
"""Times the repair delay after which a nudge counts as lost although its lane still has messages waiting."""


PLACES_WITHOUT_WORKERS = 2
"""Nudges that wait for the first worker of a lane to come."""
AGED_SHARE = 4
"""One of so many places goes to aged nudges while the lane's own ones wait too."""


@dataclass
class LaneTurns:
    """Whose turn it is in one lane, and for how many places no aged nudge went. Aged nudges have turns of their own:
    what a project's old bulk work takes is neither added to what it owes for its standard work nor pays for it."""

    own: Debts = field(default_factory=Debts)
    aged: Debts = field(default_factory=Debts)
    since_aged: int = 0


@dataclass
class Turns:
    """Whose turn it is, and what jobs are expected to take. Kept by whoever dispatches; a new one begins anew, which
    costs a turn at most."""

    lanes: dict[Lane, LaneTurns] = field(default_factory=dict)
    workload: Workload = field(default_factory=Workload)


def dispatch_once(
    database: Database, broker: Broker, window: int, repair_seconds: float, turns: Turns | None = None
) -> int:
    """Fill each lane's places once, `window` of them at most; returns how many nudges were published.

    Raises DependencyUnavailable when the broker does not answer; what it took until then is marked as published.
    """
    turns = turns or Turns()
    repair = timedelta(seconds=repair_seconds)
    return sum(_dispatch_lane(database, broker, lane, window, repair, turns) for lane in Lane)


def places(slots: int, window: int) -> int:
    """How many nudges may wait in the broker for so many slots: one ahead of each, so that none has to wait for the
    next, and no more, since what waits there goes in the order in which it came. The window is the most."""
    return min(window, slots or PLACES_WITHOUT_WORKERS)


def wake(session: Session) -> None:
    """Tell whoever dispatches, at commit, that there may be something to publish, or a place for it."""
    session.execute(text("select pg_notify(:channel, '')"), {"channel": DISPATCH_CHANNEL})


def ring_again(session: Session, job_id: str) -> None:
    """Take back the mark that a nudge was sent, so that it is sent once more; nothing happens when it was answered."""
    session.execute(
        update(OutboxRow)
        .where(OutboxRow.job_id == job_id)
        .values(published_at=None)
        .execution_options(synchronize_session=False)
    )
    wake(session)


def _dispatch_lane(database: Database, broker: Broker, lane: Lane, window: int, repair: timedelta, turns: Turns) -> int:
    with database.transaction() as session:
        if not session.execute(text("select pg_try_advisory_xact_lock(:lock)"), {"lock": DISPATCH_LOCK}).scalar_one():
            return 0
        waiting = broker.waiting(lane)
        # The lock outlasts the publishing, so nobody else adds to what was just counted.
        room = places(live_slots(session, lane), window) - waiting
        nudges = _choose(session, lane, room, waiting, repair if waiting == 0 else PATIENCE * repair, turns)
        published, trouble = _publish(broker, lane, nudges)
        if published:
            session.execute(
                update(OutboxRow)
                .where(OutboxRow.id.in_([nudge.id for nudge in published]))
                .values(published_at=func.clock_timestamp())
                .execution_options(synchronize_session=False)
            )
    if trouble is not None:
        raise trouble
    return len(published)


def _choose(
    session: Session, lane: Lane, room: int, waiting: int, lost_after: timedelta, turns: Turns
) -> list[OutboxRow]:
    """At most `room` nudges, locked: those whose message seems lost, then those that are due, the projects in turn.

    No more are lost than are published and not among the `waiting` messages: in a lane that is asked seldom they lie
    for long, and a repeat would take the turn of a job.
    """
    if room <= 0:
        return []
    published = select(func.count()).where(OutboxRow.lane == lane, OutboxRow.published_at.is_not(None))
    missing = min(room, session.execute(published).scalar_one() - waiting)
    old = OutboxRow.published_at < func.now() - lost_after
    lost = _lock(session, lane, missing, old, order=[OutboxRow.published_at])
    chosen = _in_turn(session, lane, room - len(lost), turns)
    due = _lock(session, lane, len(chosen), OutboxRow.id.in_(chosen), order=[]) if chosen else []
    return [*lost, *sorted(due, key=lambda nudge: chosen.index(nudge.id))]


# The projects that wait, by hopping from one to the next along the index; then the oldest due nudges of each, and those
# that were let in from another lane.
_DUE = text(
    "with recursive waiting (project_id) as ("  # noqa: S608  a constant of ours is put in
    " (select project_id from outbox where lane = :lane and published_at is null order by project_id limit 1)"
    " union all select (select project_id from outbox where lane = :lane and published_at is null"
    "  and project_id > waiting.project_id order by project_id limit 1) from waiting where project_id is not null),"
    " due as ("
    " (select own.* from waiting, lateral (select id, job_id, run_at, aged from outbox"
    "   where lane = :lane and published_at is null and project_id = waiting.project_id and run_at <= now()"
    "   and not aged order by run_at, id limit :room) as own)"
    " union all (select id, job_id, run_at, aged from outbox"
    "   where aged and lane = :lane and published_at is null and run_at <= now() order by run_at, id limit :room))"
    " select due.id, due.aged, jobs.project_id, jobs.lane, jobs.model,"
    f" {SIZE_BYTES} as size_bytes"
    " from due join jobs on jobs.id = due.job_id order by due.run_at, due.id"
)


@dataclass(frozen=True)
class Due:
    """A nudge that could go."""

    nudge_id: int
    seconds: float
    """Of a worker, as expected."""


Queues = dict[str, deque[Due]]
"""By project, the oldest first."""


def _in_turn(session: Session, lane: Lane, room: int, turns: Turns) -> list[int]:
    """The ids of at most `room` due nudges in the order of turns, each project's oldest first."""
    if room <= 0:
        return []
    own: Queues = {}
    aged: Queues = {}
    for row in session.execute(_DUE, {"lane": lane, "room": room}):
        seconds = turns.workload.expected(Kind(row.project_id, row.lane, row.model), row.size_bytes)
        (aged if row.aged else own).setdefault(row.project_id, deque()).append(Due(row.id, seconds))
    return take_places(own, aged, room, turns.lanes.setdefault(lane, LaneTurns()))


def take_places(own: Queues, aged: Queues, room: int, turns: LaneTurns) -> list[int]:
    """Fill `room` places from the lane's own queues, and every fourth from the aged ones; both are used up. Where one
    kind is missing the other has all places. Updates `turns`."""
    chosen: list[int] = []
    while len(chosen) < room and (own or aged):
        from_aged = bool(aged) and (not own or turns.since_aged >= AGED_SHARE - 1)
        if from_aged:
            taken, turns.aged = _take_one(aged, turns.aged)
        else:
            taken, turns.own = _take_one(own, turns.own)
        chosen.append(taken.nudge_id)
        turns.since_aged = 0 if from_aged else turns.since_aged + 1
    if len(chosen) < room:  # everything that waited has gone: nobody is behind anybody
        turns.own = turns.aged = Debts()
    return chosen


def _take_one(queues: Queues, debts: Debts) -> tuple[Due, Debts]:
    first = {project: [queue[0].seconds] for project, queue in queues.items()}
    (project,), debts = in_turn(first, debts, 1)
    taken = queues[project].popleft()
    if not queues[project]:
        del queues[project]
    return taken, debts


def _lock(
    session: Session, lane: Lane, room: int, *conditions: ColumnElement[bool], order: Sequence[Any]
) -> list[OutboxRow]:
    wanted = select(OutboxRow).where(OutboxRow.lane == lane, *conditions).order_by(*order).limit(max(0, room))
    return list(session.scalars(wanted.with_for_update(skip_locked=True)))


def _publish(
    broker: Broker, lane: Lane, nudges: Sequence[OutboxRow]
) -> tuple[list[OutboxRow], DependencyUnavailable | None]:
    """Publish until done or until the broker fails; returns what was published, and the failure."""
    published: list[OutboxRow] = []
    for nudge in nudges:
        try:
            broker.publish(lane, nudge.job_id)
        except DependencyUnavailable as trouble:
            return published, trouble
        published.append(nudge)
    return published, None
