"""Bring a database to the newest schema, or tell which one it has."""

from __future__ import annotations

import time
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine, text

LOCK = 727_001
"""Advisory lock under which migrations run, so that two starting servers do not race."""
TURN_SECONDS = 0.2


def _config(url: str) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.attributes["url"] = url
    return config


def upgrade(url: str) -> None:
    """Apply what is missing. Safe to call at every start and from several processes."""
    engine = create_engine(url)
    try:
        with engine.connect() as connection:
            _wait_for_turn(connection)
            command.upgrade(_config(url), "head")
    finally:
        engine.dispose()  # the lock goes with its connection, also when a migration failed


def _wait_for_turn(connection: Connection) -> None:
    """Asking again and again: who waited within a statement would be waited for by an index that is built meanwhile."""
    while not connection.execute(text("select pg_try_advisory_lock(:lock)"), {"lock": LOCK}).scalar_one():
        connection.commit()
        time.sleep(TURN_SECONDS)
    connection.commit()


def head() -> str | None:
    """The revision that this code expects."""
    return ScriptDirectory.from_config(_config("")).get_current_head()


def current(url: str) -> str | None:
    """The revision that the database has; None when it was never migrated."""
    engine = create_engine(url)
    with engine.connect() as connection:
        revision = MigrationContext.configure(connection).get_current_revision()
    engine.dispose()
    return revision
