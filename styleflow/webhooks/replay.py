"""Send again what happened in a span of time: ordered in one row, carried out some hundred events to a transaction.

A transaction moves the row's place and writes the deliveries that go with it, so a process that dies in between has
done either both or neither, and the next goes on from there. The deliveries are new; those from before stay as they
are. A replay waits while its endpoint is behind, so that it never buries what happens meanwhile.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import delete, func, select, text
from sqlalchemy.orm import Session

from styleflow.database import Database, transaction_time
from styleflow.errors import InvalidRequest, NotFound, NotRetryable
from styleflow.ids import new_id
from styleflow.webhook_tables import DeliveryRow, ReplayRow, WebhookEndpointRow

EVENTS_AT_ONCE = 500
LONGEST_DAYS = 30.0
MOST_WAITING = 1_000
"""Deliveries that may wait for the endpoint before a replay adds to them."""


def order_replay(
    session: Session,
    endpoint: WebhookEndpointRow,
    *,
    from_time: datetime,
    to_time: datetime,
    states: Sequence[str],
    event_types: Sequence[str] | None,
) -> ReplayRow:
    """The order, for a locked endpoint that is not disabled; nothing is sent again yet. Orders of a month ago go.

    Events count from `from_time` to before `to_time`, or now. Raises InvalidRequest for a span that is empty or too
    long, NotRetryable while another replay of the endpoint runs.
    """
    moment = transaction_time(session)
    until = min(to_time, moment)
    if from_time >= until:
        raise InvalidRequest("The span is empty: `from` lies before `to`, and in the past.")
    if moment - from_time > timedelta(days=LONGEST_DAYS + 1):
        raise InvalidRequest(f"Events are kept for {LONGEST_DAYS:.0f} days.")
    running = select(ReplayRow.id).where(ReplayRow.endpoint_id == endpoint.id, ReplayRow.state == "running")
    if session.scalar(running) is not None:
        raise NotRetryable("A replay of this endpoint is running; wait for its end.")
    long_done = ReplayRow.finished_at < moment - timedelta(days=LONGEST_DAYS)
    session.execute(delete(ReplayRow).where(ReplayRow.endpoint_id == endpoint.id, long_done))
    row = ReplayRow(
        id=new_id("rpl"),
        project_id=endpoint.project_id,
        endpoint_id=endpoint.id,
        from_time=from_time,
        to_time=until,
        states=sorted(set(states)),
        event_types=None if event_types is None else sorted(set(event_types)),
        state="running",
        seen_time=from_time,
        seen_id="",
    )
    session.add(row)
    session.flush()
    session.refresh(row)
    return row


def get_replay(session: Session, project_id: str, replay_id: str) -> ReplayRow:
    """Raises NotFound, also for another project's."""
    row = session.get(ReplayRow, replay_id)
    if row is None or row.project_id != project_id:
        raise NotFound
    return row


def replay_once(database: Database, limit: int = EVENTS_AT_ONCE) -> int:
    """Carry every running replay that has room on by `limit` events; how many were carried on."""
    with database.transaction() as session:
        running = session.scalars(select(ReplayRow.id).where(ReplayRow.state == "running").order_by(ReplayRow.id)).all()
    return sum(_carry_on(database, replay_id, limit) for replay_id in running)


def _carry_on(database: Database, replay_id: str, limit: int) -> bool:
    """One step. False when another process is at it, or the endpoint is behind."""
    with database.transaction() as session:
        row = session.scalars(
            select(ReplayRow)
            .where(ReplayRow.id == replay_id, ReplayRow.state == "running")
            .with_for_update(skip_locked=True)
        ).one_or_none()
        if row is None or _waiting(session, row.endpoint_id) >= MOST_WAITING:
            return False
        step = session.execute(
            _STEP,
            {
                "replay": row.id,
                "project": row.project_id,
                "endpoint": row.endpoint_id,
                "time": row.seen_time,
                "id": row.seen_id,
                "to": row.to_time,
                "states": row.states,
                "types": row.event_types,
                "limit": limit,
            },
        ).all()
        again = [event_id for event_id, _, wanted in step if wanted]
        session.add_all(_delivery(row, event_id) for event_id in again)
        row.deliveries += len(again)
        if step:
            row.seen_id, row.seen_time = step[-1][0], step[-1][1]
        if len(step) < limit:
            row.state, row.finished_at = "completed", transaction_time(session)
        return True


def _waiting(session: Session, endpoint_id: str) -> int:
    some = (
        select(DeliveryRow.id)
        .where(DeliveryRow.endpoint_id == endpoint_id, DeliveryRow.state == "pending")
        .limit(MOST_WAITING)
        .subquery()
    )
    return session.scalar(select(func.count()).select_from(some)) or 0


def _delivery(row: ReplayRow, event_id: str) -> DeliveryRow:
    return DeliveryRow(
        id=new_id("dlv"),
        project_id=row.project_id,
        endpoint_id=row.endpoint_id,
        event_id=event_id,
        replay_id=row.id,
        state="pending",
    )


# The next events of the project, each with whether it is to be sent again: by how its latest delivery to the endpoint
# ended, and not when its body is gone or its job was erased.
_STEP = text("""
    select v.id, v.created_at,
        coalesce(last.state = any(:states), false)
            and (cast(:types as text[]) is null or v.type = any(:types))
            and v.body <> ''
            and not exists (select from jobs j where j.id = v.job_id and j.erased_at is not null) as wanted
    from (
        select id, created_at, type, body, job_id from events
        where project_id = :project and (created_at, id) > (:time, :id) and created_at < :to
        order by created_at, id limit :limit
    ) v
    left join lateral (
        select state from deliveries d where d.event_id = v.id and d.endpoint_id = :endpoint order by d.id desc limit 1
    ) last on true
    order by v.created_at, v.id
""")
