"""What outlives the process: uvicorn is killed and started again, and no event and no promise is lost or doubled."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import httpx
import pytest
from sqlalchemy import func, select

from styleflow.api_keys import ensure_project
from styleflow.database import Database
from styleflow.jobs import progress, queries
from styleflow.jobs.intake import NewJob, submit
from styleflow.tables import JobRow
from tests.api.conftest import write_pack
from tests.api.test_event_streams import Message, messages
from tests.journeys.conftest import make_key
from tests.stack import Stack, answers, eventually, free_port, settings_of

ROUNDS = 6


@pytest.fixture
def stack(database_url: str, redis_url: str, tmp_path: Path) -> Iterator[Stack]:
    packs = str(tmp_path / "packs")
    stack = Stack(tmp_path, settings_of(database_url, redis_url, tmp_path, packs_directory=packs))
    yield stack
    stack.stop()


def start(stack: Stack, port: int) -> subprocess.Popen[bytes]:
    child = stack.spawn(
        "-m", "uvicorn", "api.main:create_app", "--factory", "--port", str(port), "--log-level", "warning"
    )
    eventually(lambda: answers(f"http://127.0.0.1:{port}/livez"), seconds=60, explain=stack.logs)
    return child


def more(url: str, key: str, seen: list[Message], count: int) -> None:
    """Read on from the last event seen until there are so many, or the connection breaks."""
    headers = {"Authorization": f"Bearer {key}"} | ({"Last-Event-ID": str(seen[-1].id)} if seen else {})
    with suppress(httpx.TransportError), httpx.stream("GET", url, headers=headers, timeout=30) as answer:
        for message in messages(answer.iter_lines()):
            seen.append(message)
            if len(seen) >= count:
                return


def test_a_stream_resumed_after_a_kill_of_the_api_has_lost_nothing(stack: Stack, database: Database) -> None:
    key = make_key(database, stack.environment)
    with database.transaction() as session:
        project_id = ensure_project(session, "journeys").id
        new = NewJob(project_id=project_id, source={}, model="m@1", max_attempts=99, expires_in_days=1)
        job_id = submit(session, new).id
    port = free_port()
    url = f"http://127.0.0.1:{port}/v1/jobs/{job_id}/events"
    seen: list[Message] = []

    child = start(stack, port)
    for number in range(2):
        _claim_and_release(database, job_id)
        more(url, key, seen, 3 + 2 * number)
    child.send_signal(signal.SIGKILL)
    child.wait()
    for _ in range(ROUNDS - 2):
        _claim_and_release(database, job_id)
    with database.transaction() as session:
        progress.request_cancel(session, project_id, job_id)
    start(stack, port)
    more(url, key, seen, 10_000)

    assert [message.id for message in seen] == list(range(1, 2 * ROUNDS + 3))
    assert seen[-1].event == "job.canceled"


def _claim_and_release(database: Database, job_id: str) -> None:
    with database.transaction() as session:
        claimed = queries.claim(session, worker="test", lease_seconds=60, job_id=job_id)
    assert claimed is not None
    with database.transaction() as session:
        progress.release(session, job_id, claimed.token)


def test_a_job_whose_answer_was_lost_with_the_api_is_told_again_by_its_key(stack: Stack, database: Database) -> None:
    """Killed between the commit and the answer: the request is held by `Prefer: wait` while the row is there."""
    key = make_key(database, stack.environment)
    write_pack(Path(stack.environment["STYLEFLOW_PACKS_DIRECTORY"]))
    port = free_port()
    url = f"http://127.0.0.1:{port}/v1/jobs"
    body = {"source": {"type": "url", "url": "https://media.example.org/clip.mp4"}}
    headers = {"Authorization": f"Bearer {key}", "Idempotency-Key": "once"}

    child = start(stack, port)
    with ThreadPoolExecutor(1) as caller:
        lost = caller.submit(httpx.post, url, json=body, headers={**headers, "Prefer": "wait=60"}, timeout=90)
        eventually(lambda: _jobs(database) == 1, explain=stack.logs)
        child.send_signal(signal.SIGKILL)
        child.wait()
        assert isinstance(lost.exception(), httpx.TransportError)
    start(stack, port)
    again = httpx.post(url, json=body, headers=headers, timeout=30)

    assert (again.status_code, again.headers["Idempotency-Replayed"]) == (202, "true")
    assert _jobs(database) == 1
    with database.transaction() as session:
        assert session.scalars(select(JobRow.id)).one() == again.json()["id"]


def _jobs(database: Database) -> int:
    with database.transaction() as session:
        return session.scalar(select(func.count()).select_from(JobRow)) or 0
