"""What the migrations make is what the code maps, also when several processes make it at once."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import psycopg
import pytest
from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, create_engine, event, inspect, text

from migrations.tables import Table
from migrations.upgrade import _config, current, head, upgrade
from styleflow.database import Database, psycopg_url
from styleflow.embedded import Server


@pytest.fixture
def empty_url(postgres: Server) -> Iterator[str]:
    """A database in which nothing is yet."""
    name = f"empty_{uuid4().hex}"
    administration = psycopg_url(postgres.url).replace("/styleflow?", "/postgres?")
    with psycopg.connect(administration, autocommit=True) as connection:
        connection.execute(f'create database "{name}"')
        yield postgres.url.replace("/styleflow?", f"/{name}?")
        connection.execute(f'drop database "{name}" with (force)')


def test_processes_that_start_together_migrate_once_and_wait_for_each_other(empty_url: str) -> None:
    """An index that is built beside the service waits for statements under way: waiting must not be one."""
    with ThreadPoolExecutor(3) as several:
        list(several.map(upgrade, [empty_url] * 3, timeout=120))

    assert current(empty_url) == head()


def test_every_mapped_column_and_index_is_there_and_fit_for_use(database: Database) -> None:
    found = inspect(database.engine)
    for table in Table.metadata.sorted_tables:
        assert {column["name"] for column in found.get_columns(table.name)} == set(table.columns.keys()), table.name
        indexes = {index["name"] for index in found.get_indexes(table.name)}
        assert {index.name for index in table.indexes} <= indexes, table.name
    with database.engine.connect() as connection:
        assert connection.scalar(text("select count(*) from pg_index where not indisvalid")) == 0


def test_a_migration_that_met_a_busy_table_goes_on_when_it_is_free(empty_url: str) -> None:
    """A writer is in the middle of a transaction for longer than a lock may be waited for."""
    config = _config(empty_url)
    command.upgrade(config, "0009")
    engine = create_engine(empty_url)
    with ThreadPoolExecutor(1) as migrating, engine.connect() as writer:
        writer.execute(text("lock table jobs in row exclusive mode"))
        going = migrating.submit(upgrade, empty_url)
        time.sleep(6)
        assert not going.done()
        writer.rollback()
        going.result(timeout=60)
    engine.dispose()

    assert current(empty_url) == head()


def test_a_migration_that_failed_leaves_its_turn_to_the_next(empty_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(config: object, revision: str) -> None:
        raise RuntimeError(revision)

    with monkeypatch.context() as broken:
        broken.setattr(command, "upgrade", fail)
        with pytest.raises(RuntimeError):
            upgrade(empty_url)
    with ThreadPoolExecutor(1) as other:
        other.submit(upgrade, empty_url).result(timeout=60)

    assert current(empty_url) == head()


def test_a_migration_that_broke_off_behind_its_indexes_begins_anew(empty_url: str) -> None:
    config = _config(empty_url)
    revision = ScriptDirectory.from_config(config).get_revision("0006")
    command.upgrade(config, "0006")
    engine = create_engine(empty_url)
    with engine.begin() as connection:
        connection.execute(text("drop table export_files, exports"))
        connection.execute(text("update alembic_version set version_num = :before"), {"before": revision.down_revision})
    engine.dispose()
    command.upgrade(config, "0006")

    assert current(empty_url) == "0006"


def test_events_of_batches_are_told_apart_by_the_migration_that_gave_them_a_subject_some_at_a_time(
    empty_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And it may break off behind the first of them, while the service goes on."""
    config = _config(empty_url)
    command.upgrade(config, "0006")
    engine = create_engine(empty_url)
    with engine.begin() as connection:
        connection.execute(text("insert into projects (id, name) values ('prj_1', 'one')"))
        connection.execute(
            text(
                "insert into events (id, project_id, type, sequence, terminal, body)"
                " select 'evt_' || lpad(n::text, 6, '0'), 'prj_1',"
                "  case when n % 3 = 0 then 'batch.completed' else 'job.succeeded' end, 1, true,"
                "  case when n % 6 = 0 then ''"
                "   else json_build_object('data', json_build_object('batch_id', n))::text end"
                " from generate_series(1, 25000) n"
            )
        )
    statements: list[str] = []

    def breaks_off(connection: object, cursor: object, statement: str, *rest: object) -> None:
        if "with chunk as materialized" in statement:
            statements.append(statement)
            if len(statements) == 2:
                raise InterruptedError

    event.listen(Engine, "before_cursor_execute", breaks_off)
    try:
        with pytest.raises(InterruptedError):
            command.upgrade(config, "0007")
        assert current(empty_url) == "0006"
        command.upgrade(config, "0007")
    finally:
        event.remove(Engine, "before_cursor_execute", breaks_off)

    with engine.connect() as connection:
        rows = connection.execute(text("select substr(id, 5)::int as n, subject_id from events")).all()
    engine.dispose()
    assert {row.n: row.subject_id for row in rows} == {n: str(n) if n % 6 == 3 else None for n in range(1, 25001)}
    assert len(statements) == 2 + 4
    assert current(empty_url) == "0007"
