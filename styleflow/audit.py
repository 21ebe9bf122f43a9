"""Who changed what of a project: a chain of events in which nothing can be altered or left out unnoticed.

Each event holds the hash of the one before and of its own content. Both ends of a project's chain are kept apart, so
that events taken from its end are missed too, and retention can drop the oldest and leave what can be verified. What
it cannot show: that somebody who may write to the database made the whole chain anew. For that, note the head that
`styleflow audit verify` prints somewhere else.

Only for administrative acts: an append waits for the one before it to commit.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, delete, exists, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from styleflow.database import transaction_time
from styleflow.ids import new_id
from styleflow.tenant_tables import AuditChainRow, AuditEventRow

OPERATOR = "operator"
"""The actor of what is done on the installation's own machine."""
GENESIS = bytes(32)
"""What the first event of a chain has for the hash before it."""
DROPPED_AT_ONCE = 500
VERIFIED_AT_ONCE = 1000
_TELLTALE = ("secret", "token", "password")


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What verifying a project's chain came to."""

    events: int
    """Events that hold together, from the oldest that is kept."""
    head_sequence: int
    head_hash: bytes
    broken: str | None
    """The first event that does not fit, and why; None when the chain is whole."""


@dataclass(frozen=True, kw_only=True)
class AuditFilters:
    """Which events to list; None does not filter."""

    action: str | None = None
    target: str | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None


def record(
    session: Session, project_id: str, actor: str, action: str, target: str, details: Mapping[str, Any] | None = None
) -> AuditEventRow:
    """Append an event to the project's chain, in the transaction of the act. Call it last: others wait from here on.

    `details` are JSON values without fractions, since PostgreSQL may write those in another way than they were hashed.
    Raises ValueError for a fraction, and for a member that sounds like a secret.
    """
    _check_details(details or {})
    chain = _lock_chain(session, project_id)
    event = AuditEventRow(
        project_id=project_id,
        sequence=chain.head_sequence + 1,
        id=new_id("aud"),
        actor=actor,
        action=action,
        target=target,
        details=dict(details or {}),
        created_at=_to_milliseconds(transaction_time(session)),
        previous_hash=chain.head_hash,
    )
    event.hash = content_hash(event)
    session.add(event)
    chain.head_sequence, chain.head_hash = event.sequence, event.hash
    session.flush()
    return event


def content_hash(event: AuditEventRow) -> bytes:
    """SHA-256 of the event before and of this one: compact JSON in ASCII, members in order of their names."""
    content = {
        "action": event.action,
        "actor": event.actor,
        "created_at": written_time(event.created_at),
        "details": event.details,
        "id": event.id,
        "previous_hash": event.previous_hash.hex(),
        "project_id": event.project_id,
        "sequence": event.sequence,
        "target": event.target,
    }
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).digest()


def written_time(moment: datetime) -> str:
    """`2026-11-20T12:31:00.000Z`, as the API writes it."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def list_events(
    session: Session, project_id: str, filters: AuditFilters, limit: int, before: int | None = None
) -> list[AuditEventRow]:
    """Newest first; `before` is the sequence of the last one seen."""
    conditions: list[ColumnElement[bool]] = [AuditEventRow.project_id == project_id]
    if filters.action is not None:
        conditions.append(AuditEventRow.action == filters.action)
    if filters.target is not None:
        conditions.append(AuditEventRow.target == filters.target)
    if filters.created_after is not None:
        conditions.append(AuditEventRow.created_at > filters.created_after)
    if filters.created_before is not None:
        conditions.append(AuditEventRow.created_at < filters.created_before)
    if before is not None:
        conditions.append(AuditEventRow.sequence < before)
    wanted = select(AuditEventRow).where(*conditions).order_by(AuditEventRow.sequence.desc())
    return list(session.scalars(wanted.limit(limit)))


def verify(session: Session, project_id: str) -> Finding:
    """Recompute the whole chain, some thousand events at a time. Appending and dropping wait for its end."""
    chain = session.scalars(select(AuditChainRow).filter_by(project_id=project_id).with_for_update()).one_or_none()
    if chain is None:
        strays = session.scalar(select(func.count()).where(AuditEventRow.project_id == project_id))
        broken = "the events have no chain" if strays else None
        return Finding(events=0, head_sequence=0, head_hash=GENESIS, broken=broken)
    sequence, hash_before, events = chain.anchor_sequence, chain.anchor_hash, 0
    for event in _in_order(session, project_id):
        broken = _fault(event, sequence, hash_before)
        if broken is not None:
            return _finding(chain, events, broken)
        sequence, hash_before, events = event.sequence, event.hash, events + 1
    if (sequence, hash_before) != (chain.head_sequence, chain.head_hash):
        return _finding(chain, events, f"event {sequence + 1}: is missing, the chain goes on to {chain.head_sequence}")
    return _finding(chain, events, None)


def drop_old(session: Session, days: float, limit: int = DROPPED_AT_ONCE) -> int:
    """Drop at most `limit` older events of one project; returns how many. The chain then begins behind them."""
    cutoff = transaction_time(session) - timedelta(days=days)
    stale = exists().where(AuditEventRow.project_id == AuditChainRow.project_id, AuditEventRow.created_at < cutoff)
    chain = session.scalars(select(AuditChainRow).where(stale).limit(1).with_for_update(skip_locked=True)).one_or_none()
    if chain is None:
        return 0
    oldest = select(AuditEventRow).filter_by(project_id=chain.project_id).order_by(AuditEventRow.sequence).limit(limit)
    gone: list[AuditEventRow] = []
    for event in session.scalars(oldest):
        if event.created_at >= cutoff:
            break  # a chain has no holes: what is younger keeps what comes behind it
        gone.append(event)
    if gone:
        chain.anchor_sequence, chain.anchor_hash = gone[-1].sequence, gone[-1].hash
        session.execute(
            delete(AuditEventRow)
            .where(AuditEventRow.project_id == chain.project_id, AuditEventRow.sequence <= gone[-1].sequence)
            .execution_options(synchronize_session=False)
        )
        session.flush()
    return len(gone)


def _lock_chain(session: Session, project_id: str) -> AuditChainRow:
    """The project's chain, begun where there is none, and locked until the commit."""
    session.execute(
        insert(AuditChainRow)
        .values(project_id=project_id, anchor_hash=GENESIS, head_hash=GENESIS)
        .on_conflict_do_nothing(index_elements=["project_id"])
    )
    return session.scalars(
        select(AuditChainRow)
        .filter_by(project_id=project_id)
        .with_for_update()
        .execution_options(populate_existing=True)
    ).one()


def _in_order(session: Session, project_id: str) -> Iterator[AuditEventRow]:
    """From above the lowest, whatever that is: a row from before the anchor is a fault, and must be met."""
    after = -(2**62)
    while True:
        wanted = select(AuditEventRow).where(AuditEventRow.project_id == project_id, AuditEventRow.sequence > after)
        ordered = wanted.order_by(AuditEventRow.sequence).limit(VERIFIED_AT_ONCE)
        rows = session.scalars(ordered.execution_options(populate_existing=True)).all()
        yield from rows
        if len(rows) < VERIFIED_AT_ONCE:
            return
        after = rows[-1].sequence
        session.expunge_all()


def _fault(event: AuditEventRow, sequence: int, hash_before: bytes) -> str | None:
    if event.sequence != sequence + 1:
        return f"event {sequence + 1}: is missing, {event.sequence} ({event.id}) comes next"
    if event.previous_hash != hash_before:
        return f"event {event.sequence} ({event.id}): does not follow the event before it"
    if event.hash != content_hash(event):
        return f"event {event.sequence} ({event.id}): its content is not what was hashed"
    return None


def _finding(chain: AuditChainRow, events: int, broken: str | None) -> Finding:
    return Finding(events=events, head_sequence=chain.head_sequence, head_hash=chain.head_hash, broken=broken)


def _to_milliseconds(moment: datetime) -> datetime:
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def _check_details(value: Any) -> None:
    """Raises ValueError."""
    if isinstance(value, float):
        raise ValueError("details of an audit event hold no fractions")
    if isinstance(value, Mapping):
        for name, inner in value.items():
            if any(word in str(name).lower() for word in _TELLTALE):
                raise ValueError(f"details of an audit event hold no secrets: {name}")
            _check_details(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            _check_details(inner)
