"""Which deliveries are due, who works on them, and how an attempt ended: the SQL under delivery.py.

A claim is a lease. A deliverer that dies leaves its lease to run out, and then the delivery is due again: a receiver
may so be told twice, never not at all.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import CursorResult, Row, text
from sqlalchemy.orm import Session

from styleflow.webhooks.schedule import Settlement

ENDPOINT_CAP = 2
"""Requests that may be open to one endpoint at a time; one, while it is failing."""
_CLAIM_LOCK = 727_010


@dataclass(frozen=True, kw_only=True)
class ClaimedDelivery:
    """One attempt to make: what to send where, and the number under which to record it."""

    delivery_id: str
    endpoint_id: str
    attempt: int
    url: str
    secret_encrypted: bytes
    event_id: str
    body: str
    claimed_at: datetime


@dataclass(frozen=True, kw_only=True)
class AttemptOutcome:
    """How an attempt ended. Either `status` or `error` is set."""

    status: int | None
    error: str | None
    latency_ms: int
    excerpt: str | None


def claim(session: Session, *, limit: int, lease_seconds: float, failing: bool) -> list[ClaimedDelivery]:
    """Lease up to `limit` due deliveries, those due longest first, and write a row for each attempt.

    `failing` chooses between endpoints whose last attempt failed and the others, so that the caller can keep room for
    those that answer. The cap per endpoint counts the leases of every process, so claims go one after the other.
    """
    if limit <= 0:
        return []
    session.execute(text("select pg_advisory_xact_lock(:key)"), {"key": _CLAIM_LOCK})
    values = {
        "limit": limit,
        "lease": lease_seconds,
        "failing": failing,
        "cap": 1 if failing else ENDPOINT_CAP,
    }
    rows = session.execute(_CLAIM, values).all()
    if rows:
        session.execute(_LOST, {"ids": [row.delivery_id for row in rows]})
        session.execute(_ATTEMPT, [{"id": row.delivery_id, "number": row.attempt} for row in rows])
    return [_claimed(row) for row in rows]


def record(session: Session, claimed: ClaimedDelivery, outcome: AttemptOutcome, settlement: Settlement) -> bool:
    """Write how the attempt ended and what follows. False when the delivery was taken over in the meantime.

    A success counts even then: the receiver has the message, and nobody needs to send it again.
    """
    session.execute(
        _OUTCOME,
        {
            "id": claimed.delivery_id,
            "number": claimed.attempt,
            "status": outcome.status,
            "error": outcome.error,
            "latency": outcome.latency_ms,
            "excerpt": outcome.excerpt,
        },
    )
    settled = session.execute(
        _SETTLE,
        {
            "id": claimed.delivery_id,
            "number": claimed.attempt,
            "state": settlement.state,
            "delay": settlement.delay_seconds or 0.0,
        },
    )
    assert isinstance(settled, CursorResult)
    _note_health(session, claimed.endpoint_id, settlement)
    return settled.rowcount == 1


def seconds_until_due(session: Session) -> float | None:
    """How long until a claim could find something: 0 when now, None when nothing waits for an active endpoint.

    Where an endpoint has as many requests open as it may, that is when the first of their leases ends.
    """
    seconds: float | None = session.execute(_UNTIL_DUE, {"cap": ENDPOINT_CAP}).scalar_one()
    return seconds


def _note_health(session: Session, endpoint_id: str, settlement: Settlement) -> None:
    """Remember that an endpoint fails or works again; writes nothing while that stays as it is."""
    if settlement.state == "delivered":
        session.execute(_WORKS, {"id": endpoint_id})
    else:
        session.execute(_FAILS, {"id": endpoint_id})
    if settlement.disables_endpoint:
        session.execute(_DISABLE, {"id": endpoint_id})


def _claimed(row: Row[tuple[object, ...]]) -> ClaimedDelivery:
    return ClaimedDelivery(**row._mapping)


_CLAIM = text("""
    with due as (
        select d.id
        from webhook_endpoints e
        cross join lateral (
            select id, next_attempt_at from deliveries
            where endpoint_id = e.id and state = 'pending' and next_attempt_at <= now()
                and (lease_expires_at is null or lease_expires_at <= now())
            order by next_attempt_at, id
            limit greatest(0, :cap - (
                select count(*) from deliveries where endpoint_id = e.id and lease_expires_at > now()
            ))
            for update skip locked
        ) d
        where e.state = 'active' and e.deleted_at is null and (e.failing_since is not null) = :failing
        order by d.next_attempt_at, d.id
        limit :limit
    )
    update deliveries d
    set attempt = d.attempt + 1, lease_expires_at = now() + make_interval(secs => :lease)
    from due, webhook_endpoints e, events v
    where d.id = due.id and e.id = d.endpoint_id and v.id = d.event_id
    returning d.id as delivery_id, d.endpoint_id, d.attempt, e.url, e.secret_encrypted, v.id as event_id, v.body,
        now() as claimed_at
""")

_LOST = text("""
    update delivery_attempts set error = 'lost'
    where delivery_id = any(:ids) and status is null and error is null
""")

_ATTEMPT = text("insert into delivery_attempts (delivery_id, number) values (:id, :number)")

_OUTCOME = text("""
    update delivery_attempts set status = :status, error = :error, latency_ms = :latency, response_excerpt = :excerpt
    where delivery_id = :id and number = :number
""")

_SETTLE = text("""
    update deliveries
    set state = :state, lease_expires_at = null,
        next_attempt_at = case when :state = 'pending' then now() + make_interval(secs => :delay)
            else next_attempt_at end,
        finished_at = case when :state = 'pending' then null else now() end
    where id = :id and state = 'pending' and (attempt = :number or :state = 'delivered')
""")

_WORKS = text("update webhook_endpoints set failing_since = null where id = :id and failing_since is not null")
_FAILS = text("update webhook_endpoints set failing_since = now() where id = :id and failing_since is null")
_DISABLE = text("update webhook_endpoints set state = 'disabled', disabled_reason = 'gone' where id = :id")

_UNTIL_DUE = text("""
    with open_leases as (
        select endpoint_id, count(*) as busy, min(lease_expires_at) as ends_at
        from deliveries where lease_expires_at > now() group by endpoint_id
    )
    -- greatest() is no use here: it takes null, nothing waiting, for less than zero
    select extract(epoch from case when min(first.at) <= now() then interval '0' else min(first.at) - now() end)::float8
    from webhook_endpoints e
    left join open_leases l on l.endpoint_id = e.id
    left join lateral (
        select next_attempt_at from deliveries
        where endpoint_id = e.id and state = 'pending' and (lease_expires_at is null or lease_expires_at <= now())
        order by next_attempt_at limit 1
    ) d on true
    cross join lateral (
        select case when coalesce(l.busy, 0) < case when e.failing_since is null then :cap else 1 end
            then coalesce(d.next_attempt_at, l.ends_at) else l.ends_at end as at
    ) first
    where e.state = 'active' and e.deleted_at is null
""")
