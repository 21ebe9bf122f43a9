"""Alembic's entry: online migrations of the address given by the caller, with a lock timeout in each."""

from __future__ import annotations

from alembic import context
from sqlalchemy import create_engine, text

from migrations.tables import Table

LOCK_TIMEOUT = "5s"


def run() -> None:
    """Each migration in a transaction; a table that is locked for longer fails instead of queueing the service up."""
    url = str(context.config.attributes["url"])
    engine = create_engine(url)
    try:
        with engine.connect() as connection:
            connection.execute(text(f"set lock_timeout = '{LOCK_TIMEOUT}'"))
            connection.commit()
            context.configure(connection=connection, target_metadata=Table.metadata, transaction_per_migration=True)
            with context.begin_transaction():
                context.run_migrations()
    finally:
        engine.dispose()


run()
