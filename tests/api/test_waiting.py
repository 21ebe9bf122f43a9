"""Five hundred callers wait, and nobody else notices: no thread, no connection, no delay."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
from sqlalchemy import text

from styleflow import api_keys
from styleflow.database import Database
from styleflow.jobs import progress
from tests.api.conftest import SCOPES, write_pack
from tests.stack import Stack, answers, eventually, free_port, settings_of

WAITERS = 500
POOL = 6
KILL_LISTENERS = (
    "select pg_terminate_backend(pid) from pg_stat_activity"
    " where application_name = '' and backend_type = 'client backend' and datname = current_database()"
)
URL = {"type": "url", "url": "https://media.example.org/clip.mp4"}


@pytest.fixture
def stack(tmp_path: Path, database_url: str, redis_url: str) -> Iterator[Stack]:
    write_pack(tmp_path / "packs")
    more = {"packs_directory": str(tmp_path / "packs"), "database_pool": str(POOL)}
    stack = Stack(tmp_path, settings_of(database_url, redis_url, tmp_path, **more))
    yield stack
    stack.stop()


def threads_of(pid: int) -> int:
    found = re.search(r"^Threads:\s+(\d+)", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    assert found
    return int(found[1])


def connections_of(database: Database) -> int:
    with database.transaction() as session:
        counted = text(
            "select count(*) from pg_stat_activity"
            " where datname = current_database() and application_name <> 'styleflow' and pid <> pg_backend_pid()"
        )
        return int(session.execute(counted).scalar_one())


def make_key(database: Database, secret: str) -> str:
    with database.transaction() as session:
        project = api_keys.ensure_project(session, f"p-{uuid4().hex}")
        return api_keys.create(session, secret, project.id, "test", SCOPES, None)[1]


async def slowest(client: httpx.AsyncClient, times: int) -> float:
    """The slowest of some submissions and health checks, in seconds."""
    worst = 0.0
    for _ in range(times):
        for call in (client.post("/v1/jobs", json={"source": URL}), client.get("/livez")):
            started = time.perf_counter()
            answer = await call
            worst = max(worst, time.perf_counter() - started)
            assert answer.is_success
    return worst


@pytest.mark.skipif(not Path("/proc").exists(), reason="counts threads in /proc")
def test_five_hundred_waiting_callers_hold_neither_thread_nor_connection(stack: Stack, database: Database) -> None:
    port = free_port()
    server = stack.spawn(
        "-m", "uvicorn", "api.main:create_app", "--factory", "--port", str(port), "--log-level", "warning"
    )
    url = f"http://127.0.0.1:{port}"
    eventually(lambda: answers(f"{url}/readyz"), explain=stack.logs)
    headers = {"Authorization": f"Bearer {make_key(database, stack.environment['STYLEFLOW_SECRET_KEY'])}"}

    async def drill() -> None:
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
        options = {"base_url": url, "headers": headers, "timeout": 60, "limits": limits, "trust_env": False}
        async with httpx.AsyncClient(**options) as waiting, httpx.AsyncClient(**options) as other:  # type: ignore[arg-type]
            job = (await other.post("/v1/jobs", json={"source": URL})).json()
            waiters = [
                asyncio.create_task(waiting.get(f"/v1/jobs/{job['id']}", headers={"Prefer": "wait=60"}))
                for _ in range(WAITERS)
            ]
            while await waiting_now(other) < WAITERS:
                await asyncio.sleep(0.05)
            assert await slowest(other, 30) < 2.0
            assert threads_of(server.pid) <= POOL + 2, "a pool of threads, the event loop, the listener"
            assert connections_of(database) <= POOL + 1, "a pool of connections, and the one that listens"
            assert not any(task.done() for task in waiters)
            with database.transaction() as session:
                progress.request_cancel(session, project_of(database, job["id"]), job["id"])
            told = await asyncio.gather(*waiters)
        assert {answer.json()["state"] for answer in told} == {"canceled"}

    asyncio.run(drill())


async def waiting_now(client: httpx.AsyncClient) -> int:
    found = re.search(r"^styleflow_waiting_requests (\d+)", (await client.get("/metrics")).text, re.MULTILINE)
    return int(found[1]) if found else 0


def project_of(database: Database, job_id: str) -> str:
    with database.transaction() as session:
        return str(session.execute(text("select project_id from jobs where id = :id"), {"id": job_id}).scalar_one())


def test_a_wait_survives_the_loss_of_the_listening_connection(stack: Stack, database: Database) -> None:
    port = free_port()
    stack.spawn("-m", "uvicorn", "api.main:create_app", "--factory", "--port", str(port), "--log-level", "warning")
    url = f"http://127.0.0.1:{port}"
    eventually(lambda: answers(f"{url}/readyz"), explain=stack.logs)
    headers = {"Authorization": f"Bearer {make_key(database, stack.environment['STYLEFLOW_SECRET_KEY'])}"}

    async def drill() -> str:
        async with httpx.AsyncClient(base_url=url, headers=headers, timeout=60, trust_env=False) as client:
            job = (await client.post("/v1/jobs", json={"source": URL})).json()["id"]
            waiter = asyncio.create_task(client.get(f"/v1/jobs/{job}", headers={"Prefer": "wait=60"}))
            while await waiting_now(client) < 1:
                await asyncio.sleep(0.05)
            with database.transaction() as session:
                assert session.execute(text(KILL_LISTENERS)).all()
                # Nothing is announced: only the look at all awaited jobs can find this.
                session.execute(
                    text("update jobs set state = 'canceled', row_version = row_version + 1 where id = :id"),
                    {"id": job},
                )
            return str((await waiter).json()["state"])

    assert asyncio.run(drill()) == "canceled"
