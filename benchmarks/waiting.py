"""Does waiting cost anybody anything? p50 and p99 of `POST /v1/jobs` and `/livez` with 0 and with 500 waiting callers.

Run with `python -m benchmarks.waiting` in a checkout with the extras service, embedded and dev. Blocks with and without
waiters alternate within one run on one server, so that whatever else the machine does falls on both. Submissions come
at an open-loop rate; a latency counts from the moment at which the request was due. The load comes from this process,
on the same machine, whose share of the work is in the figures. The waiters connect before a block begins.
"""

from __future__ import annotations

import asyncio
import re
import socket
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import httpx
from rich.console import Console
from rich.table import Table
from sqlalchemy import text

from benchmarks.homes import temporary_home
from migrations.upgrade import upgrade
from styleflow import api_keys
from styleflow.database import Database
from styleflow.embedded import start_postgres, start_redis
from styleflow.jobs import progress
from tests.api.conftest import SCOPES, write_pack
from tests.stack import Stack, answers, eventually, free_port, settings_of

WAITERS = 500
ROUNDS = 8
BLOCK_SECONDS = 8.0
SETTLE_SECONDS = 1.0
"""Between the burst of connecting callers and the first timed call; what is measured is waiting."""
RATE = 20.0
"""Pairs of requests a second, open loop."""
POOL = 10

JOB = {"source": {"type": "url", "url": "https://media.example.org/clip.mp4"}}


@dataclass
class Block:
    """Latencies in milliseconds of the blocks with one number of waiters, and what the server held meanwhile."""

    post: list[float] = field(default_factory=list)
    livez: list[float] = field(default_factory=list)
    threads: int = 0
    connections: int = 0


@contextmanager
def installation() -> Iterator[tuple[str, int, Database, str]]:
    """A migrated PostgreSQL with default durability, a Redis and one API process: URL, pid, database, API key."""
    with temporary_home() as home, ExitStack() as stopping:
        postgres = start_postgres(home)
        stopping.callback(postgres.stop)
        redis = start_redis(home)
        stopping.callback(redis.stop)
        upgrade(postgres.url)
        write_pack(home / "packs")
        more = {"packs_directory": str(home / "packs"), "database_pool": str(POOL), "log_format": "json"}
        stack = Stack(home, settings_of(postgres.url, redis.url, home, **more))
        stopping.callback(stack.stop)
        port = free_port()
        process = stack.spawn("-m", "uvicorn", "api.main:create_app", "--factory", "--port", str(port))
        url = f"http://127.0.0.1:{port}"
        eventually(lambda: answers(f"{url}/readyz"), explain=stack.logs)
        database = Database(postgres.url)
        stopping.callback(database.close)
        with database.transaction() as session:
            project = api_keys.ensure_project(session, "benchmark")
            _, key = api_keys.create(session, stack.environment["STYLEFLOW_SECRET_KEY"], project.id, "b", SCOPES)
        yield url, process.pid, database, key


async def timed(client: httpx.AsyncClient, method: str, path: str, due: float, into: list[float]) -> None:
    answer = await client.request(method, path, json=JOB if method == "POST" else None)
    answer.raise_for_status()
    into.append((time.perf_counter() - due) * 1000)


async def load(client: httpx.AsyncClient, block: Block) -> None:
    """One block of open-loop load."""
    started = time.perf_counter()
    calls = []
    for number in range(int(RATE * BLOCK_SECONDS)):
        due = started + number / RATE
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        calls.append(asyncio.create_task(timed(client, "POST", "/v1/jobs", due, block.post)))
        calls.append(asyncio.create_task(timed(client, "GET", "/livez", due, block.livez)))
    await asyncio.gather(*calls)


async def waiting_now(client: httpx.AsyncClient) -> int:
    found = re.search(r"^styleflow_waiting_requests (\d+)", (await client.get("/metrics")).text, re.MULTILINE)
    return int(found[1]) if found else 0


@dataclass(frozen=True)
class Waiters:
    """Callers that wait, as bare sockets: nothing in this process works for them while they do."""

    sockets: list[socket.socket]

    @classmethod
    def connect(cls, url: str, key: str, job_id: str, count: int) -> Waiters:
        parts = urlsplit(url)
        head = f"GET /v1/jobs/{job_id} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\nPrefer: wait=60\r\n"
        head += "Connection: close\r\n\r\n"
        sockets = []
        for _ in range(count):
            sockets.append(socket.create_connection((str(parts.hostname), int(parts.port or 80)), timeout=30))
            sockets[-1].sendall(head.encode())
        return cls(sockets)

    def finish(self) -> int:
        """How many were told that the job is canceled."""
        told = 0
        for waiter in self.sockets:
            with waiter, waiter.makefile("rb") as answer:
                told += b'"state":"canceled"' in answer.read()
        return told


async def round_of(client: httpx.AsyncClient, key: str, count: int, block: Block, pid: int, database: Database) -> None:
    job = (await client.post("/v1/jobs", json=JOB)).json()["id"]
    waiters = await asyncio.to_thread(Waiters.connect, str(client.base_url), key, job, count)
    while await waiting_now(client) < count:
        await asyncio.sleep(0.1)
    await asyncio.sleep(SETTLE_SECONDS)
    await load(client, block)
    block.threads = max(block.threads, _threads(pid))
    block.connections = max(block.connections, _connections(database))
    with database.transaction() as session:
        project = session.execute(text("select project_id from jobs where id = :id"), {"id": job}).scalar_one()
        progress.request_cancel(session, str(project), job)
    told = await asyncio.to_thread(waiters.finish)
    if told != count:
        raise RuntimeError(f"only {told} of {count} waiting callers were told")


def _threads(pid: int) -> int:
    found = re.search(r"^Threads:\s+(\d+)", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return int(found[1]) if found else 0


def _connections(database: Database) -> int:
    with database.transaction() as session:
        counted = "select count(*) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"
        return int(session.execute(text(counted)).scalar_one())


def percentile(values: list[float], percent: int) -> float:
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]


async def measure() -> dict[int, Block]:
    with installation() as (url, pid, database, key):
        blocks = {0: Block(), WAITERS: Block()}
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=50)
        headers = {"Authorization": f"Bearer {key}"}
        async with httpx.AsyncClient(
            base_url=url, headers=headers, timeout=90, limits=limits, trust_env=False
        ) as client:
            await round_of(client, key, 0, Block(), pid, database)  # warm
            for _ in range(ROUNDS):
                for waiters, block in blocks.items():
                    await round_of(client, key, waiters, block, pid, database)
        return blocks


def main() -> None:
    blocks = asyncio.run(measure())
    table = Table(title=f"{RATE:.0f} POST /v1/jobs and {RATE:.0f} GET /livez a second, milliseconds")
    for name in ("waiting", "calls", "POST p50", "POST p99", "livez p50", "livez p99", "threads", "connections"):
        table.add_column(name, justify="right")
    for waiters, block in blocks.items():
        figures = [percentile(values, percent) for values in (block.post, block.livez) for percent in (50, 99)]
        row = [waiters, len(block.post), *(f"{figure:.1f}" for figure in figures), block.threads, block.connections]
        table.add_row(*map(str, row))
    Console(file=sys.stdout, width=120).print(table)


if __name__ == "__main__":
    main()
