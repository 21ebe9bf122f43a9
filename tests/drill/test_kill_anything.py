"""Kill anything, lose nothing: workers killed and frozen, PostgreSQL cut off, while 300 jobs run on a 4 s lease."""

from __future__ import annotations

import random
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from sqlalchemy import func, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from migrations.upgrade import upgrade
from styleflow import api_keys
from styleflow.database import Database
from styleflow.embedded import Server, socket_folder, start_postgres, start_redis
from styleflow.jobs import intake
from styleflow.jobs.intake import NewJob
from styleflow.tables import AttemptRow, JobRow, ResultRow
from styleflow.webhook_tables import EventRow
from tests.stack import Stack, settings_of

JOBS, WORKERS, KILLS, ZOMBIES, RESTARTS = 300, 8, 50, 10, 2
LEASE_SECONDS = 4.0
STUB = ("-m", "tests.stub_worker")


@pytest.fixture
def home() -> Iterator[Path]:
    home = Path(tempfile.mkdtemp(prefix="styleflow-drill-"))
    yield home
    shutil.rmtree(socket_folder(home), ignore_errors=True)
    shutil.rmtree(home, ignore_errors=True)


class Drill:
    """The installation under fire. Everything random comes from one seed."""

    def __init__(self, home: Path, seed: int) -> None:
        self.random = random.Random(seed)
        self.home = home
        self.postgres: Server = start_postgres(home)
        self.redis: Server = start_redis(home)
        upgrade(self.postgres.url)
        self.database = Database(self.postgres.url)
        self.stack = Stack(
            home,
            settings_of(
                self.postgres.url,
                self.redis.url,
                home,
                lease_seconds=str(LEASE_SECONDS),
                rescue_seconds="0.5",
                nudge_repair_seconds="4",
                poll_seconds="2",
            ),
        )
        self.workers = [self.stack.spawn(*STUB) for _ in range(WORKERS)]
        self.duties = self.stack.spawn("-m", "worker.duties")
        self.frozen: list[tuple[float, subprocess.Popen[bytes]]] = []

    def submit_all(self) -> None:
        bucket = self.home / "bucket" / "videos"
        bucket.mkdir(parents=True)
        with self.database.transaction() as session:
            project = api_keys.ensure_project(session, "drill")
            for number in range(JOBS):
                (bucket / str(number)).write_text(f"{self.random.uniform(0.3, 1.5):.3f} job {number}")
                intake.submit(session, new_job(project.id, number, self.random))

    def busy_worker(self) -> subprocess.Popen[bytes] | None:
        """A worker that holds a job right now: killing an idle one would prove nothing."""
        with self.database.transaction() as session:
            owners = session.scalars(select(JobRow.lease_owner).where(JobRow.state == "running")).all()
        pids = {int(str(owner).split("-")[-2]) for owner in owners}
        stopped = {zombie.pid for _, zombie in self.frozen}
        busy = [worker for worker in self.workers if worker.pid in pids - stopped and worker.poll() is None]
        return self.random.choice(busy) if busy else None

    def kill(self) -> bool:
        if (victim := self.busy_worker()) is None:
            return False
        victim.kill()
        victim.wait()
        self.workers[self.workers.index(victim)] = self.stack.spawn(*STUB)
        return True

    def freeze(self) -> bool:
        if (victim := self.busy_worker()) is None:
            return False
        victim.send_signal(signal.SIGSTOP)
        self.frozen.append((time.monotonic() + LEASE_SECONDS * self.random.uniform(1.2, 2.0), victim))
        return True

    def thaw(self) -> None:
        for until, zombie in [entry for entry in self.frozen if entry[0] < time.monotonic()]:
            zombie.send_signal(signal.SIGCONT)
            self.frozen.remove((until, zombie))

    def cut_postgres(self) -> bool:
        """An immediate shutdown: every connection is gone, recovery runs at the next start."""
        self.postgres.process.send_signal(signal.SIGQUIT)
        self.postgres.process.wait()
        self.postgres = start_postgres(self.home)
        return True

    def unfinished(self) -> int:
        open_states = ("queued", "running")
        try:
            with self.database.transaction() as session:
                return count(session, select(func.count()).where(JobRow.state.in_(open_states)))
        except DBAPIError:
            return JOBS

    def stop(self) -> None:
        for _, zombie in self.frozen:
            zombie.send_signal(signal.SIGCONT)
        self.stack.stop()
        self.database.close()
        self.redis.stop()
        self.postgres.stop()


def new_job(project_id: str, number: int, chance: random.Random) -> NewJob:
    return NewJob(
        project_id=project_id,
        source={"type": "upload", "key": f"videos/{number}"},
        model="stub@1",
        lane=chance.choice(["realtime", "standard", "bulk"]),
        options={},
        client_ref=str(number),
        tags={},
        metadata={},
        callback_endpoint_id=None,
        deadline=None,
        request_id=None,
        max_attempts=12,  # towards the end few jobs are left to be hit: one that is hit often is no poison here
        expires_in_days=400,
    )


def count(session: Session, statement: object) -> int:
    return int(session.execute(statement).scalar_one())  # type: ignore[call-overload]


@pytest.mark.timeout(400)
def test_300_jobs_survive_50_kills_10_zombies_and_2_database_restarts(home: Path) -> None:
    drill = Drill(home, seed=20261120)
    try:
        drill.submit_all()
        actions: list[Callable[[], bool]] = []
        actions += [drill.kill] * KILLS + [drill.freeze] * ZOMBIES + [drill.cut_postgres] * RESTARTS
        drill.random.shuffle(actions)
        started = time.monotonic()
        while drill.unfinished() or actions or drill.frozen:
            assert time.monotonic() - started < 300, f"{drill.unfinished()} unfinished\n{drill.stack.logs()}"
            drill.thaw()
            with suppress(DBAPIError):  # a pooled connection that the last restart cut
                if actions and actions[-1]():
                    actions.pop()
            time.sleep(drill.random.uniform(0.1, 0.7))
        seconds = time.monotonic() - started
        with drill.database.transaction() as session:
            states = dict(session.execute(select(JobRow.state, func.count()).group_by(JobRow.state)).all())  # type: ignore[arg-type]
            results = count(session, select(func.count()).select_from(ResultRow))
            terminal = count(session, select(func.count()).where(EventRow.terminal))
            jobs_told = count(session, select(func.count(EventRow.job_id.distinct())).where(EventRow.terminal))
            event_ids = count(session, select(func.count(EventRow.id.distinct())))
            events = count(session, select(func.count()).select_from(EventRow))
            attempts = count(session, select(func.count()).select_from(AttemptRow))
            most = count(session, select(func.max(JobRow.attempt)))
            lost_attempts = count(session, select(func.count()).where(AttemptRow.ended == "lost"))
        print(
            f"\n{seconds:.0f} s; {attempts} attempts, {lost_attempts} lost with their worker, most for one job {most}"
        )
    finally:
        drill.stop()

    assert lost_attempts >= KILLS
    assert states == {"succeeded": JOBS}
    assert (results, terminal, jobs_told) == (JOBS, JOBS, JOBS)
    assert event_ids == events
