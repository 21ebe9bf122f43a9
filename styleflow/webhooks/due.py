"""Which deliveries are due, who works on them, and how an attempt ended: the SQL under delivery.py.

A claim is a lease. A deliverer that dies leaves its lease to run out, and then the delivery is due again: a receiver
may so be told twice, never not at all.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import CursorResult, Row, text
from sqlalchemy.orm import Session

from styleflow.webhooks.health import note_failure, note_success
from styleflow.webhooks.schedule import Settlement

_BURST_SECONDS = 0.25
"""An endpoint with a `max_rps` may catch up on so much: about as long as a deliverer takes to look again."""
_CLAIM_LOCK = 727_010


@dataclass(frozen=True, kw_only=True)
class ClaimedDelivery:
    """One attempt to make: what to send where, and the number under which to record it."""

    delivery_id: str
    endpoint_id: str
    attempt: int
    url: str
    secret_encrypted: bytes
    previous_secret_encrypted: bytes | None
    """To sign with as well, while a rotation overlaps."""
    payload: str
    """`summary` or `thin`."""
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

    `failing` chooses between endpoints that failed or were slow the last time and the others, so that the caller can
    keep room for those that answer. An endpoint has at most its `max_concurrency` open, one while it fails or is slow,
    none while it is paused, and no more than `max_rps` a second. These count what every process does, so claims go one
    after the other. To a pending endpoint only its ping is sent.
    """
    if limit <= 0:
        return []
    session.execute(text("select pg_advisory_xact_lock(:key)"), {"key": _CLAIM_LOCK})
    values = {
        "limit": limit,
        "lease": lease_seconds,
        "failing": failing,
        "burst": _BURST_SECONDS,
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
    if settlement.state == "delivered":
        note_success(session, claimed.endpoint_id, claimed.delivery_id, outcome.latency_ms)
    else:
        note_failure(session, claimed.endpoint_id, outcome.error, settlement)
    return settled.rowcount == 1


def drop(session: Session, claimed: ClaimedDelivery) -> None:
    """Nothing is left to say of this event: it was erased in the moment in which somebody had it sent again."""
    session.execute(_DROP_ATTEMPT, {"id": claimed.delivery_id, "number": claimed.attempt})
    session.execute(_DROP, {"id": claimed.delivery_id})


def _claimed(row: Row[tuple[object, ...]]) -> ClaimedDelivery:
    return ClaimedDelivery(**row._mapping)


_CLAIM = text("""
    with endpoints as (
        select id, state, ping_delivery_id, max_rps, paced_until,
            greatest(0, least(
                case when :failing then 1 else max_concurrency end
                    - (select count(*) from deliveries where endpoint_id = e.id and lease_expires_at > now()),
                case when max_rps is null then :limit when paced_until > now() then 0
                    else 1 + floor(least(extract(epoch from now() - coalesce(paced_until, to_timestamp(0))), :burst)
                        * max_rps)::int end
            )) as free
        from webhook_endpoints e
        where state in ('active', 'pending') and deleted_at is null
            and (failing_since is not null or slow) = :failing
            and (paused_until is null or paused_until <= now())
    ),
    found as (
        select d.id, d.endpoint_id, d.next_attempt_at
        from endpoints e
        cross join lateral (
            select id, endpoint_id, next_attempt_at from deliveries
            where endpoint_id = e.id and state = 'pending' and next_attempt_at <= now()
                and (lease_expires_at is null or lease_expires_at <= now())
            order by next_attempt_at, id
            limit e.free
            for update skip locked
        ) d
        where e.state = 'active'
    ),
    pinged as (
        select d.id, d.endpoint_id, d.next_attempt_at
        from endpoints e join deliveries d on d.id = e.ping_delivery_id
        where e.state = 'pending' and e.free > 0 and d.state = 'pending' and d.next_attempt_at <= now()
            and (d.lease_expires_at is null or d.lease_expires_at <= now())
        for update of d skip locked
    ),
    due as (
        select * from found union all select * from pinged order by next_attempt_at, id limit :limit
    ),
    paced as (
        update webhook_endpoints e
        set paced_until = greatest(e.paced_until, now() - make_interval(secs => :burst))
            + make_interval(secs => taken.count / e.max_rps::float8)
        from (select endpoint_id, count(*) as count from due group by endpoint_id) taken
        where e.id = taken.endpoint_id and e.max_rps is not null
    )
    update deliveries d
    set attempt = d.attempt + 1, lease_expires_at = now() + make_interval(secs => :lease)
    from due, webhook_endpoints e, events v
    where d.id = due.id and e.id = d.endpoint_id and v.id = d.event_id
    returning d.id as delivery_id, d.endpoint_id, d.attempt, e.url, e.secret_encrypted,
        case when e.previous_secret_until > now() then e.previous_secret_encrypted end as previous_secret_encrypted,
        e.payload, v.id as event_id, v.body, now() as claimed_at
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

_DROP_ATTEMPT = text("""
    update delivery_attempts set error = 'erased', latency_ms = 0 where delivery_id = :id and number = :number
""")

_DROP = text("""
    update deliveries set state = 'failed', lease_expires_at = null, finished_at = now()
    where id = :id and state = 'pending'
""")

_SETTLE = text("""
    update deliveries
    set state = :state, lease_expires_at = null,
        next_attempt_at = case when :state = 'pending' then now() + make_interval(secs => :delay)
            else next_attempt_at end,
        finished_at = case when :state = 'pending' then null else now() end
    where id = :id and state = 'pending' and (attempt = :number or :state = 'delivered')
""")
