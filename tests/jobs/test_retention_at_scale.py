"""Every sweep, and the walk of every erasure, goes along an index, and reads no table from end to end.

With RETENTION_ROWS=1000000 the same at a million rows a table, which takes minutes to fill.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from sqlalchemy import event, text
from sqlalchemy.orm import Session

from styleflow.database import Database, psycopg_url
from styleflow.embedded import Server
from styleflow.jobs import erasures
from styleflow.jobs.object_erasures import _CLAIM, ObjectEraser
from styleflow.jobs.retention import KINDS
from styleflow.storage.local import LocalBucket
from tests.jobs.desk import KEEP, KEY, PROJECT, Desk

ROWS = int(os.environ.get("RETENTION_ROWS", "20000"))
TABLES = ("jobs", "uploads", "events", "tombstones", "object_erasures", "idempotency_keys")

FILLED = (
    """
    insert into jobs (id, project_id, state, lane, source, model, options, tags, metadata, max_attempts, finished_at,
        expires_at, crops_until, frames_until, zero_at, retention, dated_at, media,
        client_ref, created_at)
    select 'job_' || lpad(n::text, 12, '0'), 'prj_test', 'succeeded', 'bulk',
        jsonb_build_object('type', 'upload', 'upload_id', 'upl_' || n), 'm', '{}', '{}', '{}', 1, now(),
        until, until, until, until,
        case when n % 1000 > 0 then '{"mode": "standard"}'::jsonb end, case when n % 1000 > 0 then now() end,
        jsonb_build_object('sha256', 'sha' || n), 'ref' || n, now() - make_interval(secs => n)
    from generate_series(1, :rows) n, make_interval(mins => n - 100) m, lateral (select now() + m as until) u
    """,
    """
    insert into uploads (id, project_id, state, filename, content_type, size_bytes, key, expires_at, sha256)
    select 'upl_' || n, 'prj_test', case when n % 2 = 0 then 'erased' else 'complete' end, '', '', 1, 'uploads/' || n,
        now() + make_interval(mins => n - 100), 'sha' || n from generate_series(1, :rows) n
    """,
    """
    insert into events (id, project_id, job_id, type, sequence, terminal, body, created_at, erased_at)
    select 'evt_' || n, 'prj_test', 'job_' || lpad(n::text, 12, '0'), 'job.succeeded', 1, true, '{}',
        now() - make_interval(days => 31, mins => -n), case when n % 1000 = 0 then now() end
    from generate_series(1, :rows) n
    """,
    """
    insert into tombstones (job_id, project_id, reason, erased_at)
    select 'old_' || n, 'prj_test', 'request', now() - make_interval(days => 732, mins => -n)
    from generate_series(1, :rows) n
    """,
    """
    insert into object_erasures (name, due_at) select 'crops/' || n || '/', now() + make_interval(mins => n - 100)
    from generate_series(1, :rows) n
    """,
    """
    insert into idempotency_keys (project_id, operation, key, fingerprint, expires_at)
    select 'prj_test', 'POST /v1/jobs', n::text, '', now() + make_interval(mins => n - 100)
    from generate_series(1, :rows) n
    """,
)


@pytest.fixture(scope="module")
def full(postgres: Server) -> Iterator[Desk]:
    """Tables with ROWS rows, of which some hundred are due; one for all tests, which change nothing of it."""
    name = f"full_{uuid4().hex}"
    administration = psycopg_url(postgres.url).replace("/styleflow?", "/postgres?")
    with psycopg.connect(administration, autocommit=True) as connection:
        connection.execute(f'create database "{name}" template styleflow')
        database = Database(postgres.url.replace("/styleflow?", f"/{name}?"))
        desk = Desk(database)
        for statement in FILLED:
            desk.sql(statement, rows=ROWS)
        with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as filled:
            for table in TABLES:
                filled.execute(text(f"vacuum analyze {table}"))
        yield desk
        database.close()
        connection.execute(f'drop database "{name}" with (force)')


def plans(desk: Desk, act: Callable[[Session], object]) -> list[tuple[str, dict[str, Any]]]:
    """What `act` sends that reads one of the large tables, each with its plan. Nothing of it is committed."""
    found: list[tuple[str, dict[str, Any]]] = []

    def before(connection: Any, cursor: Any, statement: str, parameters: Any, context: Any, many: bool) -> None:
        words = statement.lower().replace("\n", " ")
        if (
            many
            or not words.startswith(("select", "update", "delete"))
            or not any(f" {name}" in words for name in TABLES)
        ):
            return
        cursor.execute(f"explain (format json) {statement}", parameters)
        found.append((statement, cursor.fetchone()[0][0]["Plan"]))

    event.listen(desk.database.engine, "before_cursor_execute", before)
    try:
        with desk.database.engine.connect() as connection, connection.begin() as transaction:
            act(Session(connection))
            transaction.rollback()
    finally:
        event.remove(desk.database.engine, "before_cursor_execute", before)
    return found


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", ()):
        yield from nodes(child)


def read_whole(found: list[tuple[str, dict[str, Any]]]) -> list[str]:
    """Statements that read one of the large tables from end to end."""
    return [
        statement
        for statement, plan in found
        if any(node["Node Type"] == "Seq Scan" and node["Relation Name"] in TABLES for node in nodes(plan))
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_a_sweep_walks_along_an_index(full: Desk, kind: str) -> None:
    gone: list[int] = []

    found = plans(full, lambda session: gone.append(KINDS[kind](session, KEEP, 50)))

    assert read_whole(found) == []
    if kind not in ("batches", "erased_uploads"):
        assert gone[0] >= 20, "there was something to sweep, so the plans are those of a sweep"


@pytest.mark.parametrize(
    ("by", "value"),
    [("client_ref", "ref77"), ("sha256", "sha77"), ("job_ids", [f"job_{number:012}" for number in range(50, 90)])],
)
def test_the_walk_of_an_erasure_goes_along_an_index(full: Desk, by: Any, value: Any) -> None:
    rows: list[int] = []

    def walk(session: Session) -> None:
        row = erasures.order(session, PROJECT, by, value, requested_by=KEY)
        erasures.walk(session, row)
        rows.append(row.erased)

    assert read_whole(plans(full, walk)) == []
    assert rows[0] == (40 if by == "job_ids" else 1)


def test_the_queue_of_objects_is_read_from_its_front(full: Desk, tmp_path: Path) -> None:
    eraser = ObjectEraser(database=full.database, bucket=LocalBucket(tmp_path))
    found: list[tuple[str, dict[str, Any]]] = plans(full, lambda session: session.execute(_CLAIM, {"limit": 50}))

    assert len(found) == 1
    assert read_whole(found) == []
    assert eraser.erase_due(10) == 10
