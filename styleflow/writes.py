"""Several writes sent to PostgreSQL as one statement: a claim or a settlement writes to six tables and waits once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from sqlalchemy import TextClause, text
from sqlalchemy.orm import Session


@dataclass(frozen=True)
class Write:
    """One INSERT, UPDATE or DELETE. Its parameters bear names that no other write of the same statement has."""

    sql: str
    parameters: Mapping[str, Any]


@dataclass(frozen=True)
class Notification:
    """A NOTIFY that goes out when the transaction commits."""

    channel: str
    payload: str


def write_all(session: Session, writes: Sequence[Write], notification: Notification | None = None) -> None:
    """Carry all of them out, in no particular order: each sees the rows as they were before the statement, so no two of
    them may change the same row. A row may refer to one that another write of the statement inserts.

    Raises ValueError when two share a parameter's name.
    """
    if not writes and notification is None:
        return
    parameters: dict[str, Any] = {}
    for write in writes:
        if shared := parameters.keys() & write.parameters.keys():
            raise ValueError(f"two writes have parameters named {sorted(shared)}")
        parameters |= write.parameters
    if notification is not None:
        parameters |= {"notify_channel": notification.channel, "notify_payload": notification.payload}
    session.execute(_together(tuple(write.sql for write in writes), notification is not None), parameters)


@lru_cache(maxsize=256)
def _together(statements: tuple[str, ...], notifying: bool) -> TextClause:
    """Made once for each combination, so that it is compiled, and prepared by the server, once."""
    parts = ", ".join(f"write_{number} as ({sql})" for number, sql in enumerate(statements))
    last = "select pg_notify(:notify_channel, :notify_payload)" if notifying else "select"
    return text(f"with {parts} {last}" if parts else last)
