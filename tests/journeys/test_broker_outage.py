"""With Redis down submissions are accepted, duties go on, and the backlog drains when it is back, or even before."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from sqlalchemy import func, select, update

from styleflow import api_keys
from styleflow.broker import Broker
from styleflow.database import Database
from styleflow.embedded import Server, socket_folder, start_redis
from styleflow.jobs import intake
from styleflow.jobs.intake import NewJob
from styleflow.tables import JobRow
from tests.journeys.conftest import make_key
from tests.stack import Stack, answers, eventually, free_port, settings_of


class Installation:
    """API, light worker and a stub worker on a Redis that the test starts and stops."""

    def __init__(self, home: Path, database_url: str) -> None:
        self.home = home
        self.redis: Server = start_redis(home)
        self.port = free_port()
        self.environment = settings_of(
            database_url, self.redis.url, home, rescue_seconds="0.5", lease_seconds="4", nudge_repair_seconds="3"
        )
        self.stack = Stack(home, self.environment)
        self.database = Database(database_url, pool_size=2)
        (home / "bucket" / "videos").mkdir(parents=True)
        (home / "bucket" / "videos" / "one").write_text("0.05")

    def submit(self, count: int) -> None:
        with self.database.transaction() as session:
            project = api_keys.ensure_project(session, "outage")
            for _ in range(count):
                source = {"type": "upload", "key": "videos/one"}
                job = NewJob(project_id=project.id, source=source, model="stub@1", max_attempts=5, expires_in_days=1)
                intake.submit(session, job)

    def count(self, state: str) -> int:
        with self.database.transaction() as session:
            return session.execute(select(func.count()).where(JobRow.state == state)).scalar_one()

    def stop(self) -> None:
        self.stack.stop()
        self.database.close()
        self.redis.stop()


@pytest.fixture
def installation(database_url: str) -> Iterator[Installation]:
    home = Path(tempfile.mkdtemp(prefix="styleflow-outage-"))
    made = Installation(home, database_url)
    yield made
    made.stop()
    shutil.rmtree(socket_folder(home), ignore_errors=True)
    shutil.rmtree(home, ignore_errors=True)


def test_the_backlog_drains_when_the_broker_is_back(installation: Installation) -> None:
    # a worker that never looks by itself: what it does, a nudge told it
    installation.stack.spawn("-m", "tests.stub_worker", STYLEFLOW_POLL_SECONDS="3600")
    installation.stack.spawn("-m", "worker.duties")
    installation.submit(1)
    eventually(lambda: installation.count("succeeded") == 1, seconds=60, explain=installation.stack.logs)

    installation.redis.stop()
    installation.submit(20)
    with installation.database.transaction() as session:  # rescue must go on meanwhile
        expired = session.scalars(select(JobRow.id).where(JobRow.state == "queued").limit(1)).one()
        session.execute(update(JobRow).where(JobRow.id == expired).values(deadline=func.now()))
    eventually(lambda: installation.count("expired") == 1, seconds=30, explain=installation.stack.logs)
    assert installation.count("queued") == 19

    installation.redis = start_redis(installation.home)

    eventually(lambda: installation.count("succeeded") == 20, seconds=90, explain=installation.stack.logs)


def test_a_worker_that_hears_no_nudges_looks_for_work_by_itself(installation: Installation) -> None:
    installation.redis.stop()
    installation.submit(5)

    installation.stack.spawn("-m", "tests.stub_worker", STYLEFLOW_POLL_SECONDS="0.5")

    eventually(lambda: installation.count("succeeded") == 5, seconds=60, explain=installation.stack.logs)
    assert not Broker(installation.redis.url).is_reachable()


def test_the_api_accepts_jobs_and_calls_itself_degraded_without_a_broker(
    installation: Installation, packs: Path
) -> None:
    installation.redis.stop()
    url = f"http://127.0.0.1:{installation.port}"
    installation.stack.spawn(
        *("-m", "uvicorn", "api.main:create_app", "--factory", "--port", str(installation.port)),
        STYLEFLOW_PACKS_DIRECTORY=str(packs),
    )
    eventually(lambda: answers(f"{url}/livez"), seconds=60, explain=installation.stack.logs)
    key = make_key(installation.database, installation.environment)
    job = {"source": {"type": "s3", "bucket": "bucket", "key": "videos/one"}}

    accepted = httpx.post(f"{url}/v1/jobs", json=job, headers={"Authorization": f"Bearer {key}"}, timeout=30)
    ready = httpx.get(f"{url}/readyz", timeout=30)

    assert accepted.status_code == 202, accepted.text
    assert (ready.status_code, ready.json()["status"]) == (200, "degraded")
