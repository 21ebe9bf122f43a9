"""Webhook endpoints as their project sees them: made, changed, pinged, enabled, given new secrets, deleted.

An endpoint is `pending` until a signed ping was answered with 2xx; what happens meanwhile is kept for it. A new address
and an endpoint that was disabled have to answer a ping again.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from styleflow.database import transaction_time
from styleflow.errors import NotFound, NotRetryable
from styleflow.ids import new_id
from styleflow.webhook_tables import DeliveryRow, EventRow, ReplayRow, WebhookEndpointRow
from styleflow.webhooks.signature import Kind, new_secret, public_key

PING_TYPE = "webhook.ping"
MAX_CONCURRENCY = 2
"""Requests that are open to an endpoint at a time, where it does not say."""


class SecretSealer(Protocol):
    """What seals an endpoint's secret for storage; api_keys.SecretBox does."""

    def seal(self, plaintext: str) -> bytes:
        """The secret in a form that only the same key opens."""
        ...


@dataclass(frozen=True, kw_only=True)
class NewEndpoint:
    """What a caller decides about an endpoint. The URL was checked."""

    url: str
    events: Sequence[str]
    description: str = ""
    signature: Kind = "hmac"
    payload: str = "summary"
    version: str = "1"
    max_rps: int | None = None
    max_concurrency: int = MAX_CONCURRENCY


def create_endpoint(
    session: Session, secrets: SecretSealer, project_id: str, new: NewEndpoint
) -> tuple[WebhookEndpointRow, str]:
    """A new pending endpoint with a ping on its way, and its secret, which is not shown again."""
    secret = new_secret(new.signature)
    endpoint = WebhookEndpointRow(
        id=new_id("whe"),
        project_id=project_id,
        url=new.url,
        events=list(new.events),
        description=new.description,
        signature=new.signature,
        payload=new.payload,
        version=new.version,
        max_rps=new.max_rps,
        max_concurrency=new.max_concurrency,
        secret_encrypted=secrets.seal(secret),
        public_key=public_key(secret),
        state="pending",
        revision=1,
    )
    session.add(endpoint)
    session.flush()
    _probe(session, endpoint)
    session.refresh(endpoint)
    return endpoint, secret


def get_endpoint(session: Session, project_id: str, endpoint_id: str, *, lock: bool = False) -> WebhookEndpointRow:
    """Raises NotFound, also for another project's and for a deleted one."""
    # The project is part of the statement: nobody waits for, or holds, a row of another's.
    wanted = select(WebhookEndpointRow).where(
        WebhookEndpointRow.id == endpoint_id,
        WebhookEndpointRow.project_id == project_id,
        WebhookEndpointRow.deleted_at.is_(None),
    )
    if lock:
        wanted = wanted.with_for_update(key_share=True).execution_options(populate_existing=True)
    endpoint = session.scalars(wanted).one_or_none()
    if endpoint is None:
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


def update_endpoint(session: Session, endpoint: WebhookEndpointRow, changes: dict[str, Any]) -> None:
    """Write `changes`, columns by name, into a locked endpoint. `state` is `active` (see `enable`) or `disabled`."""
    state = changes.pop("state", None)
    moved = "url" in changes and changes["url"] != endpoint.url
    for name, value in changes.items():
        setattr(endpoint, name, value)
    endpoint.revision += 1
    if state == "disabled":
        _disable(endpoint)
    elif endpoint.state == "disabled":
        if state == "active":
            enable(session, endpoint)
    elif moved:
        endpoint.state = "pending"
        _probe(session, endpoint)
    session.flush()


def enable(session: Session, endpoint: WebhookEndpointRow) -> None:
    """A disabled, locked endpoint becomes pending, with a ping on its way; its answer lets through what has waited.

    For one that is pending it is another ping, and nothing for an active one.
    """
    if endpoint.state == "active":
        return
    endpoint.revision += endpoint.state == "disabled"
    endpoint.state = "pending"
    endpoint.disabled_reason = None
    _probe(session, endpoint)


def rotate_secret(
    session: Session, secrets: SecretSealer, endpoint: WebhookEndpointRow, *, overlap_hours: float, kind: Kind | None
) -> str:
    """A fresh secret for a locked endpoint. The one from before signs too for `overlap_hours`; an older one no more."""
    secret = new_secret(kind or ("ed25519" if endpoint.signature == "ed25519" else "hmac"))
    overlaps = overlap_hours > 0
    endpoint.previous_secret_encrypted = endpoint.secret_encrypted if overlaps else None
    endpoint.previous_public_key = endpoint.public_key if overlaps else None
    endpoint.previous_secret_until = transaction_time(session) + timedelta(hours=overlap_hours) if overlaps else None
    endpoint.secret_encrypted = secrets.seal(secret)
    endpoint.public_key = public_key(secret)
    endpoint.signature = kind or endpoint.signature
    endpoint.revision += 1
    session.flush()
    return secret


def delete_endpoint(session: Session, project_id: str, endpoint_id: str) -> None:
    """The endpoint is gone, and what waits for it fails; past deliveries can still be read. Raises NotFound."""
    get_endpoint(session, project_id, endpoint_id)
    moment = transaction_time(session)
    # Deliveries before their endpoint, in which order a claim takes them too: else the two could wait for each other.
    session.execute(
        update(DeliveryRow)
        .where(DeliveryRow.endpoint_id == endpoint_id, DeliveryRow.state == "pending")
        .values(state="failed", finished_at=moment, lease_expires_at=None)
        .execution_options(synchronize_session=False)
    )
    session.execute(
        update(ReplayRow)
        .where(ReplayRow.endpoint_id == endpoint_id, ReplayRow.state == "running")
        .values(state="canceled", finished_at=moment)
        .execution_options(synchronize_session=False)
    )
    endpoint = get_endpoint(session, project_id, endpoint_id, lock=True)
    _disable(endpoint, "deleted")
    endpoint.deleted_at = moment
    session.flush()


def ping(session: Session, endpoint: WebhookEndpointRow) -> DeliveryRow:
    """Send a test event to this locked endpoint, whatever it subscribed to, and at once, though it were paused.

    One that is pending becomes active by its answer. Raises NotRetryable when disabled.
    """
    return _probe(session, enabled(endpoint))


def enabled(endpoint: WebhookEndpointRow) -> WebhookEndpointRow:
    """The same endpoint. Raises NotRetryable when it is disabled."""
    if endpoint.state == "disabled":
        raise NotRetryable("The endpoint is disabled; enable it first.")
    return endpoint


def new_delivery(
    session: Session, project_id: str, endpoint_id: str, event_id: str, redelivery_of: str | None
) -> DeliveryRow:
    """One that is due now."""
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


def _disable(endpoint: WebhookEndpointRow, reason: str = "request") -> None:
    endpoint.state = "disabled"
    endpoint.disabled_reason = reason


def _probe(session: Session, endpoint: WebhookEndpointRow) -> DeliveryRow:
    """A ping on its way, and a clean sheet: what the endpoint did before says nothing of it now."""
    moment = transaction_time(session)
    event = EventRow(
        id=new_id("evt"),
        project_id=endpoint.project_id,
        job_id=None,
        subject_id=endpoint.id,
        type=PING_TYPE,
        sequence=0,
        terminal=False,
        body=_ping_body(endpoint.id, moment),
    )
    session.add(event)
    session.flush()
    delivery = new_delivery(session, endpoint.project_id, endpoint.id, event.id, redelivery_of=None)
    endpoint.paused_until = None
    if endpoint.state == "pending":
        endpoint.ping_delivery_id = delivery.id
        endpoint.failing_since, endpoint.failures, endpoint.config_failures = None, 0, 0
    session.flush()
    return delivery


def _ping_body(endpoint_id: str, moment: datetime) -> str:
    timestamp = moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    content: dict[str, Any] = {"type": PING_TYPE, "timestamp": timestamp, "data": {"endpoint_id": endpoint_id}}
    return json.dumps(content, separators=(",", ":"))
