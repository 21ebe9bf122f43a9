"""Connections to PostgreSQL: sessions for the doors, and a listener for what other processes announce."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import psycopg
from pydantic_core import from_json
from sqlalchemy import Engine, create_engine, func, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session, sessionmaker

JOB_CHANNEL = "styleflow_job"
"""NOTIFY payload: the id of a job that reached a terminal state."""
DISPATCH_CHANNEL = "styleflow_dispatch"
"""NOTIFY without payload: a job was queued, or there is room for a nudge."""


_CONNECTION: dict[str, Any] = {
    "connect_timeout": 5,
    # A server that fell silent is noticed within half a minute instead of two hours.
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
    # A process that was frozen inside a transaction gives its row locks back.
    "options": "-c idle_in_transaction_session_timeout=60s",
}


class Database:
    """One engine and its sessions. Doors open transactions; rooms take the session and never commit."""

    def __init__(self, url: str, *, pool_size: int = 10, application: str = "styleflow") -> None:
        self.url = url
        self.engine: Engine = create_engine(
            url,
            pool_size=pool_size,
            max_overflow=0,
            pool_pre_ping=True,
            pool_timeout=10,
            # A page of jobs holds some hundred small JSON values, and reading them was most of what a page cost.
            json_deserializer=from_json,
            connect_args={**_CONNECTION, "application_name": application},
        )
        self._sessions = sessionmaker(self.engine, expire_on_commit=False)
        single = self.engine.execution_options(isolation_level="AUTOCOMMIT")
        self._readers = sessionmaker(single, expire_on_commit=False, autoflush=False)

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        """A session that commits when the block ends and rolls back when it raises."""
        with self._sessions.begin() as session:
            yield session

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """A session each statement of which is a transaction of its own: for a look that needs one statement, and pays
        no BEGIN and no COMMIT for it. What is read by two is not from one snapshot."""
        with self._readers() as session:
            yield session

    def listener(self) -> psycopg.Connection[tuple[object, ...]]:
        """A connection of its own, in autocommit, for LISTEN or a session-wide advisory lock."""
        return psycopg.connect(psycopg_url(self.url), autocommit=True, **_CONNECTION)

    def is_reachable(self) -> bool:
        try:
            with self.engine.connect() as connection:
                connection.execute(text("select 1"))
        except DBAPIError:
            return False
        return True

    def close(self) -> None:
        self.engine.dispose()


def transaction_facts(session: Session) -> dict[Hashable, Any]:
    """What this transaction has read and will not ask again: empty at its beginning, gone with its end."""
    transaction, known = session.get_transaction(), session.info.get("transaction_facts")
    if known is None or known[0] is not transaction:
        known = session.info["transaction_facts"] = (transaction, {})
    facts: dict[Hashable, Any] = known[1]
    return facts


def transaction_time(session: Session) -> datetime:
    """The database's `now()`, which stays the same during a whole transaction: asked once in each."""
    facts = transaction_facts(session)
    if "now" not in facts:
        facts["now"] = session.execute(select(func.now())).scalar_one()
    moment: datetime = facts["now"]
    return moment


def remember_time(session: Session, moment: datetime) -> None:
    """A statement of this transaction has read `now()` along with something else."""
    transaction_facts(session)["now"] = moment


def psycopg_url(url: str) -> str:
    """The libpq form of an SQLAlchemy address."""
    return url.replace("postgresql+psycopg://", "postgresql://", 1)
