"""A worker that is told to stop gives its job back, with the attempt, and another carries it out."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from styleflow import api_keys
from styleflow.database import Database
from styleflow.jobs import intake
from styleflow.jobs.intake import NewJob
from styleflow.tables import JobRow
from tests.stack import Stack, eventually, settings_of


@pytest.fixture
def stack(database_url: str, redis_url: str, tmp_path: Path) -> Iterator[Stack]:
    made = Stack(tmp_path, settings_of(database_url, redis_url, tmp_path))
    yield made
    made.stop()


def test_sigterm_ends_a_busy_worker_at_once_and_the_attempt_does_not_count(
    stack: Stack, database: Database, tmp_path: Path
) -> None:
    videos = tmp_path / "bucket" / "videos"
    videos.mkdir()
    (videos / "long").write_text("60")
    with database.transaction() as session:
        project = api_keys.ensure_project(session, "tests")
        source = {"type": "upload", "key": "videos/long"}
        job_id = intake.submit(
            session, NewJob(project_id=project.id, source=source, model="stub@1", max_attempts=5, expires_in_days=1)
        ).id
    stack.spawn("-m", "worker.duties")
    worker = stack.spawn("-m", "tests.stub_worker")

    def job() -> JobRow:
        with database.transaction() as session:
            return session.get_one(JobRow, job_id)

    eventually(lambda: job().state == "running", seconds=60, explain=stack.logs)
    told = time.monotonic()
    worker.terminate()
    worker.wait(30)

    assert time.monotonic() - told < 20
    assert (job().state, job().attempt) == ("queued", 0)

    stack.spawn("-m", "tests.stub_worker")
    eventually(lambda: job().state == "running", seconds=60, explain=stack.logs)
    assert job().attempt == 1
