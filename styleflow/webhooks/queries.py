"""Deliveries and events as their project sees them: the SQL behind the API's webhook routes."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Select, exists, func, select
from sqlalchemy.orm import Session

from styleflow.errors import NotFound
from styleflow.tables import JobRow
from styleflow.webhook_tables import DeliveryAttemptRow, DeliveryRow, EventRow
from styleflow.webhooks.announce import OPT_IN_TYPES
from styleflow.webhooks.endpoints import enabled, get_endpoint, new_delivery


def list_deliveries(
    session: Session,
    project_id: str,
    endpoint_id: str,
    *,
    state: str | None = None,
    event_type: str | None = None,
    limit: int = 50,
    after: str | None = None,
    newer_than: str | None = None,
) -> list[tuple[DeliveryRow, EventRow]]:
    """Deliveries to one endpoint with their events, newest first; `after` is the last delivery id of the page before,
    `newer_than` the id of a delivery that all of them were made after."""
    wanted = _deliveries(project_id).where(DeliveryRow.endpoint_id == endpoint_id)
    if state is not None:
        wanted = wanted.where(DeliveryRow.state == state)
    if event_type is not None:
        wanted = wanted.where(EventRow.type == event_type)
    if after is not None:
        wanted = wanted.where(DeliveryRow.id < after)
    if newer_than is not None:
        wanted = wanted.where(DeliveryRow.id > newer_than)
    return [(row[0], row[1]) for row in session.execute(wanted.order_by(DeliveryRow.id.desc()).limit(limit))]


def get_delivery(
    session: Session, project_id: str, delivery_id: str
) -> tuple[DeliveryRow, EventRow, list[DeliveryAttemptRow]]:
    """A delivery, its event, and its attempts in order. Raises NotFound."""
    found = session.execute(_deliveries(project_id).where(DeliveryRow.id == delivery_id)).one_or_none()
    if found is None:
        raise NotFound
    attempts = session.scalars(
        select(DeliveryAttemptRow)
        .where(DeliveryAttemptRow.delivery_id == delivery_id)
        .order_by(DeliveryAttemptRow.number)
    )
    return found[0], found[1], list(attempts)


def redeliver(session: Session, project_id: str, delivery_id: str) -> DeliveryRow:
    """Send the same event to the same endpoint again: same webhook-id, same bytes, signed afresh.

    The old delivery stays as it is. Raises NotFound, also when the endpoint is gone, and NotRetryable when disabled.
    """
    old, _, _ = get_delivery(session, project_id, delivery_id)
    endpoint = enabled(get_endpoint(session, project_id, old.endpoint_id))
    return new_delivery(session, project_id, endpoint.id, old.event_id, redelivery_of=old.id)


def list_events(
    session: Session,
    project_id: str,
    *,
    after: str | None = None,
    types: Sequence[str] = (),
    limit: int = 50,
    settle_seconds: float = 1.0,
) -> list[EventRow]:
    """The project's events, oldest first, from behind the event id `after`. Raises NotFound for an unknown `after`.

    `types` are exact; without any, all but those that one has to ask for by name.

    The youngest second is held back: a transaction that began earlier may still commit an older event, and a reader
    who had gone past it would never see it. Events of an erased job are left out; as `after` they still serve.
    """
    erased = exists().where(JobRow.id == EventRow.job_id, JobRow.erased_at.is_not(None))
    wanted = select(EventRow).where(
        EventRow.project_id == project_id,
        EventRow.body != "",
        EventRow.erased_at.is_(None),
        ~erased,
        EventRow.created_at <= func.now() - func.make_interval(0, 0, 0, 0, 0, 0, settle_seconds),
        EventRow.type.in_(types) if types else EventRow.type.not_in(sorted(OPT_IN_TYPES)),
    )
    if after is not None:
        last = session.get(EventRow, after)
        if last is None or last.project_id != project_id:
            raise NotFound("No event of that id is kept any more.")
        wanted = wanted.where(
            (EventRow.created_at > last.created_at)
            | ((EventRow.created_at == last.created_at) & (EventRow.id > last.id))
        )
    return list(session.scalars(wanted.order_by(EventRow.created_at, EventRow.id).limit(limit)))


def list_job_events(session: Session, job_id: str, *, after: int = 0, limit: int = 100) -> list[EventRow]:
    """A job's events behind the sequence `after`, in order. Each change locks the job, so none appears out of order."""
    wanted = select(EventRow).where(EventRow.job_id == job_id, EventRow.sequence > after)
    return list(session.scalars(wanted.order_by(EventRow.sequence).limit(limit)))


def list_subject_events(session: Session, subject_id: str, *, after: int = 0, limit: int = 100) -> list[EventRow]:
    """The same of a batch or another thing that is no job; each change locks it."""
    wanted = select(EventRow).where(EventRow.subject_id == subject_id, EventRow.sequence > after)
    return list(session.scalars(wanted.order_by(EventRow.sequence).limit(limit)))


def _deliveries(project_id: str) -> Select[DeliveryRow, EventRow]:
    return (
        select(DeliveryRow, EventRow)
        .join(EventRow, EventRow.id == DeliveryRow.event_id)
        .where(DeliveryRow.project_id == project_id)
    )
