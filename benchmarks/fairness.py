"""How long one project's single job waits behind another's backlog, in lengths of a job, and how long a slot idles.

Run with `python -m benchmarks.fairness` in a checkout with the extras service, embedded and dev. Every process is the
service's own but for the analyzer, a stub that takes the time that each file says.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from rich.console import Console
from sqlalchemy import func, select, text

from migrations.upgrade import upgrade
from styleflow import api_keys
from styleflow.database import Database
from styleflow.embedded import start_postgres, start_redis
from styleflow.jobs.intake import NewJob, submit_all
from styleflow.tables import AttemptRow, JobRow
from tests.stack import Stack, eventually, settings_of

MODEL = "stub@1"


@dataclass(frozen=True)
class Place:
    """Light worker, stub workers, and two projects: `big` with a backlog, `small` without."""

    database: Database
    big: str
    small: str

    def submit(self, project_id: str, count: int) -> str:
        """Queue so many jobs; returns the id of the last."""
        job = NewJob(
            project_id=project_id,
            source={"type": "upload", "key": "videos/one"},
            model=MODEL,
            max_attempts=5,
            expires_in_days=1,
        )
        with self.database.transaction() as session:
            return submit_all(session, [job] * count)[-1].id

    def started(self) -> int:
        """Jobs that were ever claimed."""
        with self.database.transaction() as session:
            return session.execute(select(func.count()).select_from(AttemptRow)).scalar_one()


@dataclass(frozen=True)
class Wait:
    """Of one single job."""

    seconds: float
    overtaken: int
    """Jobs of the big project that started between its submission and its start."""


@contextmanager
def placed(workers: int, job_seconds: float) -> Iterator[Place]:
    """Started, and ended with the block."""
    with tempfile.TemporaryDirectory(prefix="styleflow-bench-") as folder, ExitStack() as stopping:
        home = Path(folder)
        postgres = start_postgres(home)
        stopping.callback(postgres.stop)
        redis = start_redis(home)
        stopping.callback(redis.stop)
        upgrade(postgres.url)
        stack = Stack(home, settings_of(postgres.url, redis.url, home))
        stopping.callback(stack.stop)
        (home / "bucket" / "videos").mkdir(parents=True)
        (home / "bucket" / "videos" / "one").write_text(str(job_seconds))
        database = Database(postgres.url)
        stopping.callback(database.close)
        with database.transaction() as session:
            projects = [api_keys.ensure_project(session, name).id for name in ("big", "small")]
        stack.spawn("-m", "worker.duties")
        for _ in range(workers):
            stack.spawn("-m", "tests.stub_worker")
        place = Place(database, projects[0], projects[1])
        place.submit(place.small, 1)
        eventually(lambda: _present(place) == workers and place.started() == 1, seconds=60, explain=stack.logs)
        yield place


def _present(place: Place) -> int:
    with place.database.transaction() as session:
        return session.execute(text("select count(*) from workers")).scalar_one()


def one_wait(place: Place) -> Wait:
    """Submit a single job of the small project, and see it start."""
    job_id = place.submit(place.small, 1)
    with place.database.transaction() as session:
        asked = session.get_one(JobRow, job_id).created_at
    eventually(lambda: _started_at(place, job_id) is not None, seconds=600)
    began = _started_at(place, job_id)
    assert began is not None
    with place.database.transaction() as session:
        between = select(func.count()).select_from(JobRow).where(JobRow.project_id == place.big)
        overtaken = session.execute(between.where(JobRow.started_at > asked, JobRow.started_at < began)).scalar_one()
    return Wait((began - asked).total_seconds(), overtaken)


def _started_at(place: Place, job_id: str) -> datetime | None:
    with place.database.transaction() as session:
        return session.get_one(JobRow, job_id).started_at


_IDLE = text(
    "select extract(epoch from started_at - lag(finished_at) over (partition by worker order by started_at))"
    " from attempts where finished_at is not null"
)


def idle(place: Place) -> list[float]:
    """Seconds between the end of one job and the start of the next, on every worker."""
    with place.database.transaction() as session:
        return [float(seconds) for (seconds,) in session.execute(_IDLE) if seconds is not None]


def measure(workers: int, job_seconds: float, waits: int, backlog: int) -> None:
    """One line for so many workers."""
    with placed(workers, job_seconds) as place:
        place.submit(place.big, backlog)
        before = place.started()
        eventually(lambda: place.started() > before + 2 * workers, seconds=60)
        found = []
        for _ in range(waits):
            found.append(one_wait(place))
            time.sleep(1.3 * job_seconds)
        pauses = [1000 * seconds for seconds in idle(place)[workers:]]
    lengths = [wait.seconds / job_seconds for wait in found]
    Console(highlight=False).print(
        f"{workers} workers, {job_seconds} s a job: waited {min(lengths):.2f} to {max(lengths):.2f} lengths (mean"
        f" {statistics.fmean(lengths):.2f}), overtaken by {max(wait.overtaken for wait in found)} at most; between jobs"
        f" a slot idles {statistics.median(pauses):.0f} ms (p95 {statistics.quantiles(pauses, n=20)[-1]:.0f})"
    )


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fairness", description="What a single job waits for.")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--job-seconds", type=float, default=1.0, help="what every job takes")
    parser.add_argument("--waits", type=int, default=8, help="single jobs, one after the other")
    parser.add_argument("--backlog", type=int, default=2000, help="jobs that the other project has queued")
    asked = parser.parse_args()
    for workers in asked.workers:
        measure(workers, asked.job_seconds, asked.waits, asked.backlog)
    return 0


if __name__ == "__main__":
    sys.exit(main())
