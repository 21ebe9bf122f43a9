"""Is a list right while it grows, and is a poll cheap? 100,000 jobs paged through while 1,000 more are submitted.

Run with `python -m benchmarks.paging [ROWS] [SUBMITTED]` in a checkout with the extras service, embedded and dev. In
both orders every job that was there at the first page must be seen, none twice; else it ends with an error. Then the
statements of a poll with If-None-Match are timed from outside of the database, the way there and back included.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from sqlalchemy import event, text

from benchmarks.service.backlog import queue_jobs
from benchmarks.service.figures import Findings
from benchmarks.service.installation import Installation, installed
from styleflow import api_keys
from styleflow.database import Database
from styleflow.jobs import queries

ROWS, SUBMITTED = 100_000, 1_000
SUBMITTERS = 4
POLLS = 2_000
JOB = {"source": {"type": "url", "url": "https://media.example.org/clip.mp4"}}


class Wrong(Exception):
    """A job was left out or shown twice."""


async def paged(place: Installation, sort: str) -> tuple[list[str], list[float]]:
    """The ids of all pages of 200, and the milliseconds of each page."""
    seen: list[str] = []
    taken: list[float] = []
    first = f"/v1/jobs?limit=200&sort={sort}"
    path: str | None = first
    async with place.server.pool(1) as pool:
        while path is not None:
            sent = time.perf_counter()
            answer = await place.server.call(pool, "GET", path)
            taken.append((time.perf_counter() - sent) * 1000)
            seen += [job["id"] for job in answer["data"]]
            path = f"{first}&cursor={answer['next_cursor']}" if answer["has_more"] else None
    return seen, taken


async def submitted(place: Installation, jobs: int) -> list[str]:
    """The ids of so many jobs that a few callers submit, one after the other each."""
    made: list[str] = []

    async def one() -> None:
        async with place.server.pool(1) as pool:
            for _ in range(jobs // SUBMITTERS):
                made.append((await place.server.call(pool, "POST", "/v1/jobs", JOB))["id"])

    await asyncio.gather(*(one() for _ in range(SUBMITTERS)))
    return made


def paging(place: Installation, found: Findings, jobs: int, sort: str) -> None:
    """Raises Wrong."""
    with place.database.transaction() as session:
        before = set(session.scalars(text("select id from jobs")))

    async def both() -> tuple[tuple[list[str], list[float]], list[str]]:
        return await asyncio.gather(paged(place, sort), submitted(place, jobs))

    (seen, taken), made = asyncio.run(both())
    if len(set(seen)) != len(seen) or not before <= set(seen):
        raise Wrong(f"sort={sort}: {len(seen) - len(set(seen))} twice, {len(before - set(seen))} left out")
    found.add(f"sort={sort}: jobs that were there and were seen once", len(before), "jobs")
    found.add(f"sort={sort}: jobs submitted meanwhile", len(made), "jobs")
    found.add(f"sort={sort}: of these on its pages", len(set(seen) & set(made)), "jobs")
    found.latencies(f"sort={sort}: a page of 200", taken)


def polling(place: Installation, found: Findings) -> None:
    """What a poll asks of the database, again and again, each time of another job."""
    with place.database.transaction() as session:
        ids = session.scalars(text("select id from jobs order by id limit :polls"), {"polls": POLLS}).all()
    polls: list[float] = []
    with timed(place.database) as statements:
        for job_id in ids:
            statements.clear()
            with place.database.reading() as session:
                api_keys.authenticate(session, place.secret_key, place.server.key)
            with place.database.reading() as session:
                queries.get_job(session, place.project_id, job_id)
            polls.append(sum(statements))
    found.latencies("statements of a poll", polls, p99=1)


@contextmanager
def timed(database: Database) -> Iterator[list[float]]:
    """Milliseconds from sending each statement to having its answer."""
    taken: list[float] = []
    sent = [0.0]

    def before(*_: Any) -> None:
        sent[0] = time.perf_counter()

    def after(*_: Any) -> None:
        taken.append((time.perf_counter() - sent[0]) * 1000)

    event.listen(database.engine, "before_cursor_execute", before)
    event.listen(database.engine, "after_cursor_execute", after)
    try:
        yield taken
    finally:
        event.remove(database.engine, "before_cursor_execute", before)
        event.remove(database.engine, "after_cursor_execute", after)


def main() -> int:
    rows, jobs = (int(one) for one in (*sys.argv[1:], *map(str, (ROWS, SUBMITTED)[len(sys.argv) - 1 :])))
    found = Findings()
    with installed() as place:
        queue_jobs(place.database, place.project_id, rows)
        for sort in ("-created_at", "created_at"):
            paging(place, found, jobs, sort)
        polling(place, found)
    Console().print(found.as_table(f"{rows:,} jobs"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
