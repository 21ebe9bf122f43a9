"""The phases of the benchmark, one after the other, and their figures.

Run with `styleflow bench service` or `python -m benchmarks.service` in a checkout with the extras service, embedded and
dev. PostgreSQL syncs every commit to disk. The load comes from this machine too, and its share of the work is in every
figure: with two cores, a closed loop of many clients measures both ends together.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from redis import Redis
from rich.console import Console
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from benchmarks.service.backlog import queue_jobs, write_manifest
from benchmarks.service.claimers import run_claimers
from benchmarks.service.figures import Findings
from benchmarks.service.installation import Installation, installed
from benchmarks.service.load import Request, closed_loop, open_loop

JOB = {"source": {"type": "url", "url": "https://media.example.org/clip.mp4"}}
RATE = 100.0
CLIENTS = (1, 16, 64)
CLAIMERS = 16
READS = 500
console = Console(stderr=True, highlight=False)


def submitting(place: Installation) -> Request:
    return lambda pool: place.server.call(pool, "POST", "/v1/jobs", JOB)


def accepting(place: Installation, found: Findings, seconds: float) -> None:
    """`POST /v1/jobs` with nothing queued: open loop, then closed loops."""
    request = submitting(place)
    asyncio.run(closed_loop(place.server, request, clients=4, seconds=min(3.0, seconds)))
    taken = asyncio.run(open_loop(place.server, request, rate=RATE, seconds=seconds))
    found.latencies(f"POST /v1/jobs at {RATE:.0f}/s, open loop", taken.milliseconds, p99=50)
    for clients in CLIENTS:
        taken = asyncio.run(closed_loop(place.server, request, clients=clients, seconds=seconds))
        found.add(f"POST /v1/jobs, closed loop of {clients}", taken.rate, "requests/s")
        found.latencies(f"POST /v1/jobs, closed loop of {clients}", taken.milliseconds)


def expanding(place: Installation, found: Findings, rows: int) -> str:
    """A batch of `rows` manifest lines through the light worker; returns the id of the batch."""
    write_manifest(place.bucket, "manifests/backlog.jsonl", rows)
    source = {"type": "manifest", "uri": f"s3://{place.bucket.name}/manifests/backlog.jsonl", "format": "jsonl"}
    body = {"name": "backlog", "source": source, "max_in_flight": 1}
    batch = asyncio.run(_call(place, "POST", "/v1/batches", body))
    begin = time.perf_counter()
    path = f"/v1/batches/{batch['id']}"
    # An item may be fed as soon as it is listed, so all states count.
    while sum(asyncio.run(_call(place, "GET", path))["counts"].values()) < rows:
        time.sleep(0.5)
    found.add(f"expansion of a batch of {rows:,}", rows / (time.perf_counter() - begin), "items/s", floor=5_000)
    return str(batch["id"])


async def _call(place: Installation, method: str, path: str, body: object = None) -> dict[str, object]:
    headers = {"Idempotency-Key": f"bench-{time.time_ns()}"} if method == "POST" else {}
    async with place.server.pool(1) as pool:
        answer: dict[str, object] = await place.server.call(pool, method, path, body, **headers)
        return answer


def reading(place: Installation, found: Findings, batch_id: str) -> None:
    """Lists and counts with everything in the tables, one request after the other."""
    paths = {
        "GET /v1/jobs, first page": "/v1/jobs?limit=50",
        "GET /v1/jobs?state=queued": "/v1/jobs?limit=50&state=queued",
        "GET /v1/jobs?state=failed (none)": "/v1/jobs?limit=50&state=failed",
        "GET /v1/jobs?client_ref=…": "/v1/jobs?limit=50&client_ref=post-500",
        "GET /v1/jobs?batch_id=…": f"/v1/jobs?limit=50&batch_id={batch_id}",
        "GET /v1/batches/{id}, with counts": f"/v1/batches/{batch_id}",
    }
    for name, path in paths.items():
        found.latencies(name, asyncio.run(_repeated(place, path)), p99=20)
    found.latencies("GET /v1/jobs, page after page", asyncio.run(_paged(place)), p99=20)


async def _repeated(place: Installation, path: str) -> list[float]:
    taken = []
    async with place.server.pool(1) as pool:
        for _ in range(READS):
            sent = time.perf_counter()
            await place.server.call(pool, "GET", path)
            taken.append((time.perf_counter() - sent) * 1000)
    return taken


async def _paged(place: Installation) -> list[float]:
    taken, path = [], "/v1/jobs?limit=200"
    async with place.server.pool(1) as pool:
        for _ in range(READS):
            sent = time.perf_counter()
            answer = await place.server.call(pool, "GET", path)
            taken.append((time.perf_counter() - sent) * 1000)
            if answer["next_cursor"] is None:
                break
            path = f"/v1/jobs?limit=200&cursor={answer['next_cursor']}"
    return taken


def _emptied(place: Installation) -> None:
    """The duties read these tables in an order of their own, so that the database may have to end one of the two."""
    for left in range(9, -1, -1):
        try:
            with place.database.transaction() as session:
                session.execute(text("truncate jobs, outbox, events cascade"))
            return
        except OperationalError:
            if not left:
                raise


def claiming(place: Installation, found: Findings, rows: int, seconds: float) -> None:
    """Claim and settle with many claimers over the backlog, while dispatch keeps its window of nudges in Redis."""
    taken = run_claimers(place.database.url, CLAIMERS, seconds, rows)
    found.add(f"claim + settle, {CLAIMERS} claimers over {rows:,} queued", taken.rate, "jobs/s", floor=2_000)
    found.latencies("claim + settle", taken.milliseconds)


@contextmanager
def redis_watched(place: Installation, found: Findings) -> Iterator[None]:
    """The most memory that Redis used within the block, looked at four times a second."""
    client = Redis(unix_socket_path=place.redis_url.removeprefix("redis+socket://"))
    done, most = threading.Event(), [0]

    def watch() -> None:
        while not done.wait(0.25):
            most[0] = max(most[0], int(client.info("memory")["used_memory"]))  # type: ignore[index]

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        client.close()
    found.add("Redis memory, most", most[0] / 1e6, "MB", ceiling=50)


def measure(rows: int, seconds: float) -> Findings:
    """All phases."""
    found = Findings()
    with installed() as place, redis_watched(place, found):
        console.print("accepting")
        accepting(place, found, seconds)
        _emptied(place)
        console.print(f"expanding {rows:,} lines")
        batch_id = expanding(place, found, rows)
        console.print(f"queueing {rows:,} jobs")
        queue_jobs(place.database, place.project_id, rows)
        console.print("reading")
        reading(place, found, batch_id)
        console.print("accepting behind the backlog")
        taken = asyncio.run(open_loop(place.server, submitting(place), rate=RATE, seconds=seconds))
        found.latencies(f"POST /v1/jobs at {RATE:.0f}/s with {rows:,} queued", taken.milliseconds, p99=50)
        console.print("claiming")
        claiming(place, found, rows, seconds)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(prog="styleflow bench service", description="What the service does here.")
    parser.add_argument("--rows", type=int, default=1_000_000, help="lines of the batch, and jobs that wait")
    parser.add_argument("--seconds", type=float, default=20.0, help="how long each load lasts")
    parser.add_argument("--json", type=Path, help="write the figures to this file as well")
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # unwinds, and so stops all servers
    found = measure(asked.rows, asked.seconds)
    Console().print(found.as_table(f"{asked.rows:,} rows"))
    if asked.json:
        asked.json.write_text(json.dumps(found.as_json(), indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
