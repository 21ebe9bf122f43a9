"""Requests made from the served description, good and bad: every answer is one that the description names."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from sqlalchemy import func, select, text

from styleflow import api_keys
from styleflow.database import Database
from styleflow.errors import Erased
from styleflow.jobs import progress
from styleflow.tables import JobRow
from tests.api.conftest import SCOPES, write_pack
from tests.stack import Stack, answers, eventually, free_port, settings_of

EXAMPLES = os.environ.get("SCHEMATHESIS_EXAMPLES", "8")
"""Of each operation and phase; more of them look longer."""
SEED = "20261120"
RUN = Path(__file__).parent / "schemathesis_run"


@pytest.fixture
def served(database_url: str, redis_url: str, tmp_path: Path) -> Iterator[tuple[str, str]]:
    """The URL of an API process and a key of all scopes; a worker counts as alive, so that it is healthy."""
    write_pack(tmp_path / "packs")
    more = {"packs_directory": str(tmp_path / "packs"), "predict_wait_seconds": "0.5"}
    stack = Stack(tmp_path, settings_of(database_url, redis_url, tmp_path, **more))
    database = Database(database_url)
    try:
        with database.transaction() as session:
            project = api_keys.ensure_project(session, "schemathesis").id
            _, key = api_keys.create(session, stack.environment["STYLEFLOW_SECRET_KEY"], project, "all", SCOPES)
            session.execute(
                text(
                    "insert into workers (id, lanes, models, device, seen_at)"
                    " values ('worker', '{standard}', '{styleflow@1}', 'cpu', now() + interval '1 day')"
                )
            )
        port = free_port()
        stack.spawn("-m", "uvicorn", "api.main:create_app", "--factory", "--port", str(port), "--no-access-log")
        url = f"http://127.0.0.1:{port}"
        eventually(lambda: answers(f"{url}/readyz"), explain=stack.logs)
        with jobs_settled(database):
            yield url, key
    finally:
        stack.stop()
        database.close()


BATCHES_ENDED = text(
    "update batches set state = 'canceled', finished_at = now()"
    " where finished_at is null and created_at < now() - interval '1 second'"
)


@contextmanager
def jobs_settled(database: Database) -> Iterator[None]:
    """In place of workers: what has waited for a second is canceled, so that every stream of events has its end."""
    done = threading.Event()

    def settle() -> None:
        waited = select(JobRow.project_id, JobRow.id).where(
            JobRow.state == "queued", JobRow.created_at < func.now() - text("interval '1 second'")
        )
        while not done.wait(0.3):
            with database.transaction() as session:
                session.execute(BATCHES_ENDED)
                for project_id, job_id in session.execute(waited.limit(100)).all():
                    with suppress(Erased):  # between the look and the lock
                        progress.request_cancel(session, project_id, job_id)

    thread = threading.Thread(target=settle)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


@pytest.mark.timeout(600)
def test_every_check_of_schemathesis_passes(served: tuple[str, str], tmp_path: Path) -> None:
    url, key = served
    command = [
        *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(RUN / "schemathesis.toml")),
        *("run", f"{url}/openapi.json", "--header", f"Authorization: Bearer {key}", "--checks", "all"),
        *("--max-examples", EXAMPLES, "--seed", SEED, "--generation-database", "none", "--no-color"),
        *("--request-timeout", "30", "--warnings", "off"),
    ]
    hooks = {"SCHEMATHESIS_HOOKS": "tests.api.schemathesis_run.hooks", "PYTHONPATH": str(Path.cwd())}
    found = subprocess.run(command, env=os.environ | hooks, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert found.returncode == 0, found.stdout[-20_000:] + found.stderr[-2_000:]
    assert "No issues found" in found.stdout
