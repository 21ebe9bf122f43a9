"""Endpoints, events and deliveries as their project sees them: the SQL behind the API's webhook routes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Protocol

from sqlalchemy import Select, exists, func, select, update
from sqlalchemy.orm import Session

from styleflow.errors import NotFound, NotRetryable
from styleflow.ids import new_id
from styleflow.tables import JobRow
from styleflow.webhook_tables import DeliveryAttemptRow, DeliveryRow, EventRow, WebhookEndpointRow
from styleflow.webhooks.signature import new_secret

PING_TYPE = "webhook.ping"


class SecretSealer(Protocol):
    """What seals an endpoint's secret for storage; api_keys.SecretBox does."""

    def seal(self, plaintext: str) -> bytes:
        """The secret in a form that only the same key opens."""
        ...


# --- endpoints --------------------------------------------------------------------------------------


def create_endpoint(
    session: Session, secrets: SecretSealer, *, project_id: str, url: str, events: Sequence[str], description: str = ""
) -> tuple[WebhookEndpointRow, str]:
    """A new active endpoint and its secret, which is not shown again. The caller has checked the URL."""
    secret = new_secret()
    endpoint = WebhookEndpointRow(
        id=new_id("whe"),
        project_id=project_id,
        url=url,
        events=list(events),
        description=description,
        secret_encrypted=secrets.seal(secret),
        state="active",
    )
    session.add(endpoint)
    session.flush()
    session.refresh(endpoint)
    return endpoint, secret


def get_endpoint(session: Session, project_id: str, endpoint_id: str) -> WebhookEndpointRow:
    """Raises NotFound, also for another project's and for a deleted one."""
    endpoint = session.get(WebhookEndpointRow, endpoint_id)
    if endpoint is None or endpoint.project_id != project_id or endpoint.deleted_at is not None:
        raise NotFound
    return endpoint


def list_endpoints(
    session: Session, project_id: str, *, limit: int = 50, after: str | None = None
) -> list[WebhookEndpointRow]:
    """Newest first; `after` is the id of the last one seen."""
    wanted = select(WebhookEndpointRow).where(
        WebhookEndpointRow.project_id == project_id, WebhookEndpointRow.deleted_at.is_(None)
    )
    if after is not None:
        wanted = wanted.where(WebhookEndpointRow.id < after)
    return list(session.scalars(wanted.order_by(WebhookEndpointRow.id.desc()).limit(limit)))


def update_endpoint(
    session: Session,
    project_id: str,
    endpoint_id: str,
    *,
    url: str | None = None,
    events: Sequence[str] | None = None,
    description: str | None = None,
    active: bool | None = None,
) -> WebhookEndpointRow:
    """Change what is given. Enabling takes up what has been waiting since it was disabled. Raises NotFound."""
    endpoint = get_endpoint(session, project_id, endpoint_id)
    if url is not None:
        endpoint.url = url
    if events is not None:
        endpoint.events = list(events)
    if description is not None:
        endpoint.description = description
    if active is not None:
        endpoint.state = "active" if active else "disabled"
        endpoint.disabled_reason = None if active else "request"
        endpoint.failing_since = None
    session.flush()
    return endpoint


def delete_endpoint(session: Session, project_id: str, endpoint_id: str) -> None:
    """The endpoint is gone, and what waits for it fails; past deliveries can still be read. Raises NotFound."""
    endpoint = get_endpoint(session, project_id, endpoint_id)
    endpoint.state = "disabled"
    endpoint.disabled_reason = "deleted"
    endpoint.deleted_at = session.execute(select(func.now())).scalar_one()
    session.execute(
        update(DeliveryRow)
        .where(DeliveryRow.endpoint_id == endpoint_id, DeliveryRow.state == "pending")
        .values(state="failed", finished_at=func.now(), lease_expires_at=None)
        .execution_options(synchronize_session=False)
    )
    session.flush()


def ping(session: Session, project_id: str, endpoint_id: str) -> DeliveryRow:
    """Send a test event to this endpoint, whatever it subscribed to. Raises NotFound, NotRetryable when disabled."""
    endpoint = _active(get_endpoint(session, project_id, endpoint_id))
    moment: datetime = session.execute(select(func.now())).scalar_one()
    event = EventRow(
        id=new_id("evt"),
        project_id=project_id,
        job_id=None,
        type=PING_TYPE,
        sequence=0,
        terminal=False,
        body=_ping_body(endpoint.id, moment),
    )
    session.add(event)
    session.flush()
    return _new_delivery(session, project_id, endpoint.id, event.id, redelivery_of=None)


# --- deliveries and events --------------------------------------------------------------------------


def list_deliveries(
    session: Session,
    project_id: str,
    endpoint_id: str,
    *,
    state: str | None = None,
    event_type: str | None = None,
    limit: int = 50,
    after: str | None = None,
) -> list[tuple[DeliveryRow, EventRow]]:
    """Deliveries to one endpoint with their events, newest first; `after` is the last delivery id seen."""
    wanted = _deliveries(project_id).where(DeliveryRow.endpoint_id == endpoint_id)
    if state is not None:
        wanted = wanted.where(DeliveryRow.state == state)
    if event_type is not None:
        wanted = wanted.where(EventRow.type == event_type)
    if after is not None:
        wanted = wanted.where(DeliveryRow.id < after)
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
    endpoint = _active(get_endpoint(session, project_id, old.endpoint_id))
    return _new_delivery(session, project_id, endpoint.id, old.event_id, redelivery_of=old.id)


def list_events(
    session: Session, project_id: str, *, after: str | None = None, limit: int = 50, settle_seconds: float = 1.0
) -> list[EventRow]:
    """The project's events, oldest first, from behind the event id `after`. Raises NotFound for an unknown `after`.

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


def _deliveries(project_id: str) -> Select[DeliveryRow, EventRow]:
    return (
        select(DeliveryRow, EventRow)
        .join(EventRow, EventRow.id == DeliveryRow.event_id)
        .where(DeliveryRow.project_id == project_id)
    )


def _active(endpoint: WebhookEndpointRow) -> WebhookEndpointRow:
    if endpoint.state != "active":
        raise NotRetryable("The endpoint is disabled; enable it first.")
    return endpoint


def _new_delivery(
    session: Session, project_id: str, endpoint_id: str, event_id: str, redelivery_of: str | None
) -> DeliveryRow:
    delivery = DeliveryRow(
        id=new_id("dlv"),
        project_id=project_id,
        endpoint_id=endpoint_id,
        event_id=event_id,
        redelivery_of=redelivery_of,
        state="pending",
    )
    session.add(delivery)
    session.flush()
    session.refresh(delivery)
    return delivery


def _ping_body(endpoint_id: str, moment: datetime) -> str:
    timestamp = moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    content: dict[str, Any] = {"type": PING_TYPE, "timestamp": timestamp, "data": {"endpoint_id": endpoint_id}}
    return json.dumps(content, separators=(",", ":"))
