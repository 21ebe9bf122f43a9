"""One effect per Idempotency-Key: the answer is stored in the transaction that has the effect."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from psycopg.errors import LockNotAvailable
from sqlalchemy import func, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from styleflow.errors import Erased, IdempotencyInProgress, IdempotencyMismatch
from styleflow.tables import IdempotencyRow

WAIT_FOR_FIRST = "2s"
FORGOTTEN = 410
"""Status of an answer that was blanked, because what it told of was erased."""


@dataclass(frozen=True, kw_only=True)
class StoredAnswer:
    """What the first request was told."""

    status: int
    body: dict[str, Any]
    headers: dict[str, Any]


def remember(
    session: Session, project_id: str, operation: str, key: str, fingerprint: str, hours: float
) -> StoredAnswer | None:
    """None the first time; the caller then acts and calls `keep_answer` in this transaction. Else the first answer.

    A second request waits up to two seconds for the first. Raises IdempotencyInProgress when that is still running
    (the transaction is then void and must be rolled back), IdempotencyMismatch when its fingerprint was another, and
    Erased when what it made was erased since.
    """
    if _enter(session, project_id, operation, key, fingerprint, hours):
        return None
    row = session.execute(
        select(
            IdempotencyRow.fingerprint, IdempotencyRow.status, IdempotencyRow.body, IdempotencyRow.headers
        ).filter_by(project_id=project_id, operation=operation, key=key)
    ).one_or_none()
    if row is None or row.status is None:
        raise IdempotencyInProgress
    if row.fingerprint != fingerprint:
        raise IdempotencyMismatch
    if row.status == FORGOTTEN:
        raise Erased
    return StoredAnswer(status=row.status, body=row.body or {}, headers=row.headers or {})


def keep_answer(
    session: Session,
    project_id: str,
    operation: str,
    key: str,
    status: int,
    body: Mapping[str, Any],
    headers: Mapping[str, Any],
) -> None:
    """Store what the caller is about to be told, for every later request with this key."""
    session.execute(
        update(IdempotencyRow)
        .where(
            IdempotencyRow.project_id == project_id, IdempotencyRow.operation == operation, IdempotencyRow.key == key
        )
        .values(status=status, body=dict(body), headers=dict(headers))
    )


def forget_answers(session: Session, made: Sequence[str]) -> None:
    """Blank the stored answers whose body has one of these ids. Their keys stay taken: a repetition is told Erased."""
    session.execute(
        update(IdempotencyRow)
        .where(IdempotencyRow.body["id"].astext.in_(made))
        .values(status=FORGOTTEN, body=None, headers=None)
        .execution_options(synchronize_session=False)
    )


def _enter(session: Session, project_id: str, operation: str, key: str, fingerprint: str, hours: float) -> bool:
    """Whether this request is the first (or the first after the key's time ran out)."""
    fresh = insert(IdempotencyRow).values(
        project_id=project_id,
        operation=operation,
        key=key,
        fingerprint=fingerprint,
        expires_at=func.now() + timedelta(hours=hours),
    )
    entered = (
        fresh.on_conflict_do_update(
            index_elements=[IdempotencyRow.project_id, IdempotencyRow.operation, IdempotencyRow.key],
            set_={
                "fingerprint": fresh.excluded.fingerprint,
                "status": None,
                "body": None,
                "headers": None,
                "created_at": func.now(),
                "expires_at": fresh.excluded.expires_at,
            },
            where=IdempotencyRow.expires_at < func.now(),
        )
        .returning(IdempotencyRow.key)
        .execution_options(synchronize_session=False)
    )
    before = session.execute(text("select current_setting('lock_timeout')")).scalar_one()
    _limit_lock_wait(session, WAIT_FOR_FIRST)
    try:
        first = session.execute(entered).one_or_none() is not None
    except OperationalError as error:
        if isinstance(error.orig, LockNotAvailable):
            raise IdempotencyInProgress from error
        raise
    _limit_lock_wait(session, before)
    return first


def _limit_lock_wait(session: Session, limit: str) -> None:
    session.execute(text("select set_config('lock_timeout', :limit, true)"), {"limit": limit})
