from __future__ import annotations

from sqlalchemy import inspect

from migrations.tables import Table
from migrations.upgrade import current, head
from styleflow.database import Database


def test_a_migrated_database_has_the_revision_that_the_code_expects(database: Database) -> None:
    assert current(database.url) == head()


def test_migrations_make_exactly_the_mapped_tables(database: Database) -> None:
    found = set(inspect(database.engine).get_table_names()) - {"alembic_version"}

    assert found == set(Table.metadata.tables)
