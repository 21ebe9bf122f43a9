"""The one publisher: meters nudges out of PostgreSQL into the broker, at most a window of them per lane.

The projects in turn: whoever has a hundred thousand jobs in a lane delays another's single one by a window of them.

A nudge stays in the outbox until its job is claimed, so a message that the broker lost is noticed and sent again. A
message sent twice finds nothing to claim. While the broker is away nothing is marked as sent, so nothing is lost.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import zip_longest
from typing import Any

from sqlalchemy import ColumnElement, func, select, text, update
from sqlalchemy.orm import Session

from styleflow.broker import Broker
from styleflow.database import DISPATCH_CHANNEL, Database
from styleflow.errors import DependencyUnavailable
from styleflow.jobs.fairness import Ring, share
from styleflow.jobs.state import Lane
from styleflow.tables import OutboxRow

DISPATCH_LOCK = 727_003
"""Advisory lock of a transaction that publishes: two publishers could each fill the window."""
PATIENCE = 10
"""Times the repair delay after which a nudge counts as lost although its lane still has messages waiting."""


@dataclass
class Turns:
    """Whose turn it is in each lane. Kept by whoever dispatches; a new one begins anew, which costs a turn at most."""

    rings: dict[Lane, Ring] = field(default_factory=dict)


def dispatch_once(
    database: Database, broker: Broker, window: int, repair_seconds: float, turns: Turns | None = None
) -> int:
    """Fill each lane's window once; returns how many nudges were published.

    Raises DependencyUnavailable when the broker does not answer; what it took until then is marked as published.
    """
    turns = turns or Turns()
    repair = timedelta(seconds=repair_seconds)
    return sum(_dispatch_lane(database, broker, lane, window, repair, turns) for lane in Lane)


def ring_again(session: Session, job_id: str) -> None:
    """Take back the mark that a nudge was sent, so that it is sent once more; nothing happens when it was answered."""
    session.execute(
        update(OutboxRow)
        .where(OutboxRow.job_id == job_id)
        .values(published_at=None)
        .execution_options(synchronize_session=False)
    )
    session.execute(text("select pg_notify(:channel, '')"), {"channel": DISPATCH_CHANNEL})


def _dispatch_lane(database: Database, broker: Broker, lane: Lane, window: int, repair: timedelta, turns: Turns) -> int:
    with database.transaction() as session:
        if not session.execute(text("select pg_try_advisory_xact_lock(:lock)"), {"lock": DISPATCH_LOCK}).scalar_one():
            return 0
        waiting = broker.waiting(lane)
        # The lock outlasts the publishing, so nobody else adds to what was just counted.
        nudges = _choose(session, lane, window - waiting, repair if waiting == 0 else PATIENCE * repair, turns)
        published, trouble = _publish(broker, lane, nudges)
        session.execute(
            update(OutboxRow)
            .where(OutboxRow.id.in_([nudge.id for nudge in published]))
            .values(published_at=func.clock_timestamp())
            .execution_options(synchronize_session=False)
        )
    if trouble is not None:
        raise trouble
    return len(published)


def _choose(session: Session, lane: Lane, room: int, lost_after: timedelta, turns: Turns) -> list[OutboxRow]:
    """At most `room` nudges, locked: those whose message seems lost, then those that are due, the projects in turn."""
    if room <= 0:
        return []
    lost = _lock(session, lane, room, OutboxRow.published_at < func.now() - lost_after, order=[OutboxRow.published_at])
    chosen = _in_turn(session, lane, room - len(lost), turns)
    due = _lock(session, lane, len(chosen), OutboxRow.id.in_(chosen), order=[]) if chosen else []
    return [*lost, *sorted(due, key=lambda nudge: chosen.index(nudge.id))]


# The projects that wait, by hopping from one to the next along the index; then the oldest due nudges of each.
_DUE = text(
    "with recursive waiting (project_id) as ("
    " (select project_id from outbox where lane = :lane and published_at is null order by project_id limit 1)"
    " union all select (select project_id from outbox where lane = :lane and published_at is null"
    "  and project_id > waiting.project_id order by project_id limit 1) from waiting where project_id is not null)"
    " select waiting.project_id, due.id from waiting, lateral (select id, run_at from outbox"
    "  where lane = :lane and published_at is null and project_id = waiting.project_id and run_at <= now()"
    "  order by run_at, id limit :room) as due order by due.run_at, due.id"
)


def _in_turn(session: Session, lane: Lane, room: int, turns: Turns) -> list[int]:
    """The ids of at most `room` due nudges: one of each project in turn, each project's oldest first."""
    if room <= 0:
        return []
    due: dict[str, list[int]] = {}
    for project_id, nudge_id in session.execute(_DUE, {"lane": lane, "room": room}):
        due.setdefault(project_id, []).append(nudge_id)
    before = turns.rings.get(lane, Ring())
    wanted = {project_id: len(nudges) for project_id, nudges in due.items()}
    granted, turns.rings[lane] = share(wanted, before, quantum=1, budget=room)
    rounds = zip_longest(*(due[project_id][:units] for project_id, units in granted.items()))
    return [nudge_id for one_round in rounds for nudge_id in one_round if nudge_id is not None]


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
