"""Which workers are alive: for health, for people, and for how many nudges wait in the broker at a time."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import func, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from styleflow.worker_tables import WorkerRow


def seen(session: Session, worker: str, *, lanes: Sequence[str], models: Sequence[str], device: str) -> None:
    """Record that the worker lives, and forget those not seen for a day."""
    row = insert(WorkerRow).values(id=worker, lanes=list(lanes), models=list(models), device=device)
    session.execute(row.on_conflict_do_update(index_elements=["id"], set_={"seen_at": func.now()}))
    session.execute(text("delete from workers where seen_at < now() - interval '1 day'"))


def alive(session: Session, *, within_seconds: float = 60.0) -> list[WorkerRow]:
    """The workers seen lately, newest first."""
    recent = func.now() - func.make_interval(0, 0, 0, 0, 0, 0, within_seconds)
    return list(session.scalars(select(WorkerRow).where(WorkerRow.seen_at > recent).order_by(WorkerRow.id)))


def live_slots(session: Session, lane: str, *, within_seconds: float = 30.0) -> int:
    """Workers seen lately that serve the lane, each with its one slot."""
    recent = func.now() - func.make_interval(0, 0, 0, 0, 0, 0, within_seconds)
    serving = select(func.count()).where(WorkerRow.seen_at > recent, WorkerRow.lanes.any_() == lane)
    return session.execute(serving).scalar_one()
