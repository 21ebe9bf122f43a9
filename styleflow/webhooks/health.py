"""What an attempt says about its endpoint: activation, circuit, and when it is switched off. All of it is in the row,
so that every process and every restart knows the same."""

from __future__ import annotations

from datetime import timedelta

import structlog
from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from styleflow.database import transaction_time
from styleflow.webhook_tables import WebhookEndpointRow
from styleflow.webhooks.announce import ENDPOINT_DISABLED, ENDPOINT_FAILING, announce_endpoint
from styleflow.webhooks.schedule import (
    BREAKER_FAILURES,
    CONFIG_FAILURES,
    SLOW_SECONDS,
    Settlement,
    circuit_pause,
    config_failures,
)

_log = structlog.get_logger(__name__)

DISABLED_AT_ONCE = 100
FAILED_AT_ONCE = 1000


def failing(endpoint: WebhookEndpointRow) -> str | None:
    """`config` where only its owner can mend it, `delivery` where its circuit is open, else None."""
    if endpoint.config_failures >= CONFIG_FAILURES:
        return "config"
    return "delivery" if endpoint.failures >= BREAKER_FAILURES else None


def note_success(session: Session, endpoint_id: str, delivery_id: str, latency_ms: int) -> None:
    """It answered with 2xx. Writes nothing while that is all as it was."""
    session.execute(_WORKS, {"id": endpoint_id, "delivery": delivery_id, "slow": latency_ms > SLOW_SECONDS * 1000})


def note_failure(session: Session, endpoint_id: str, error: str | None, settlement: Settlement) -> None:
    """It failed once more: count, open the circuit, tell its owner, or switch it off."""
    endpoint = _locked(session, endpoint_id)
    if endpoint is None or endpoint.state == "disabled":
        return
    moment = transaction_time(session)
    endpoint.failing_since = endpoint.failing_since or moment
    endpoint.failures += 1
    endpoint.slow = False
    wrong_before = endpoint.config_failures
    endpoint.config_failures = config_failures(wrong_before, error)
    pause = max(circuit_pause(endpoint.failures), settlement.pause_seconds)
    if pause:
        until = moment + timedelta(seconds=pause)
        endpoint.paused_until = max(endpoint.paused_until or until, until)
    session.flush()
    if settlement.disables_endpoint:
        switch_off(session, endpoint, "gone")
    elif wrong_before < CONFIG_FAILURES <= endpoint.config_failures:
        _log.warning("webhook_endpoint_misconfigured", endpoint_id=endpoint.id, error=error)
        announce_endpoint(session, endpoint, ENDPOINT_FAILING, reason=str(error))


def switch_off(session: Session, endpoint: WebhookEndpointRow, reason: str) -> None:
    """Disable a locked endpoint that is not, and tell the project's others."""
    if endpoint.state == "disabled":
        return
    endpoint.state = "disabled"
    endpoint.disabled_reason = reason
    endpoint.revision += 1
    session.flush()
    _log.warning("webhook_endpoint_disabled", endpoint_id=endpoint.id, reason=reason)
    announce_endpoint(session, endpoint, ENDPOINT_DISABLED, reason=reason)


def switch_off_silent(session: Session, days: float) -> int:
    """Disable endpoints that for so long answered nothing with 2xx; how many. Some at a time; safe in every process."""
    silent = session.scalars(
        select(WebhookEndpointRow)
        .where(
            WebhookEndpointRow.state.in_(["active", "pending"]),
            WebhookEndpointRow.deleted_at.is_(None),
            WebhookEndpointRow.failing_since <= func.now() - func.make_interval(0, 0, 0, 0, 0, 0, days * 86400.0),
        )
        .order_by(WebhookEndpointRow.id)
        .limit(DISABLED_AT_ONCE)
        .with_for_update(skip_locked=True, key_share=True)
    ).all()
    for endpoint in silent:
        switch_off(session, endpoint, "no_success")
    return len(silent)


def fail_to_deleted(session: Session) -> int:
    """Fail deliveries that were made for an endpoint in the moment in which it was deleted, and that nobody would ever
    send; how many. Some at a time; safe in every process."""
    return len(session.execute(_FAIL_TO_DELETED, {"limit": FAILED_AT_ONCE}).all())


def _locked(session: Session, endpoint_id: str) -> WebhookEndpointRow | None:
    return session.scalars(
        select(WebhookEndpointRow)
        .where(WebhookEndpointRow.id == endpoint_id)
        .with_for_update(key_share=True)
        .execution_options(populate_existing=True)
    ).one_or_none()


_FAIL_TO_DELETED = text("""
    update deliveries set state = 'failed', finished_at = now(), lease_expires_at = null
    where state = 'pending' and id = any(array(
        select d.id from webhook_endpoints e join deliveries d on d.endpoint_id = e.id and d.state = 'pending'
        where e.deleted_at is not null limit :limit for update of d skip locked))
    returning 1
""")

_WORKS = text("""
    update webhook_endpoints
    set failing_since = null, failures = 0, config_failures = 0, paused_until = null, slow = :slow,
        revision = case when state = 'pending' and ping_delivery_id = :delivery then revision + 1 else revision end,
        state = case when state = 'pending' and ping_delivery_id = :delivery then 'active' else state end
    where id = :id and (
        failing_since is not null or failures > 0 or paused_until is not null or slow <> :slow
        or (state = 'pending' and ping_delivery_id = :delivery)
    )
""")
