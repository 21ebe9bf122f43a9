"""Short ways to bring a job of one project into a state, and to look at what became of it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from sqlalchemy import select, text

from styleflow.database import Database
from styleflow.jobs import progress
from styleflow.jobs.erasures import order_job
from styleflow.jobs.intake import NewJob, submit
from styleflow.jobs.keeping import Retention
from styleflow.jobs.queries import Claim, claim
from styleflow.jobs.retention import KINDS, Keep
from styleflow.jobs.state import Lane
from styleflow.jobs.workers import seen
from styleflow.report import VideoReport
from styleflow.retention_tables import ObjectErasureRow
from styleflow.storage import keys
from styleflow.tables import AttemptRow, JobRow, OutboxRow, ProjectRow
from styleflow.webhook_tables import EventRow
from tests.jobs.reports import scored_report

PROJECT = "prj_test"
KEY = "key_test"
AGREED = Retention(source_hours=24, crops_days=30, frames_days=90, results_days=400)
KEEP = Keep(default=AGREED, events_days=30, audit_days=730)


class Desk:
    """Jobs of one project on one real database; each call is a transaction of its own, as behind a door."""

    def __init__(self, database: Database) -> None:
        self.database = database
        with database.transaction() as session:
            session.add(ProjectRow(id=PROJECT, name="test"))

    def submit(self, **changes: Any) -> str:
        with self.database.transaction() as session:
            return submit(session, new_job(**changes)).id

    def claim(self, job_id: str | None = None, *, lanes: tuple[str, ...] = tuple(Lane), worker: str = "w") -> Claim:
        held = self.try_claim(job_id, lanes=lanes, worker=worker)
        assert held is not None
        return held

    def try_claim(
        self, job_id: str | None = None, *, lanes: tuple[str, ...] = tuple(Lane), worker: str = "w"
    ) -> Claim | None:
        with self.database.transaction() as session:
            return claim(session, worker=worker, lease_seconds=60, job_id=job_id, lanes=lanes)

    def staff(self, workers: int, lanes: tuple[str, ...] = tuple(Lane), *, seconds_ago: float = 0) -> None:
        """So many workers that said lately that they are alive."""
        for number in range(workers):
            self.do(seen, f"w{number}-{','.join(lanes)}", lanes=lanes, models=["m"], device="cpu")
        self.sql("update workers set seen_at = seen_at - make_interval(secs => :ago)", ago=seconds_ago)

    def running(self, **changes: Any) -> Claim:
        return self.claim(self.submit(**changes))

    def do(self, action: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        with self.database.transaction() as session:
            return action(session, *arguments, **options)

    def sql(self, statement: str, **values: Any) -> None:
        with self.database.transaction() as session:
            session.execute(text(statement), values)

    def erase(self, job_id: str) -> str:
        """As its owner would; the id of the erasure."""
        with self.database.transaction() as session:
            return order_job(session, PROJECT, job_id, KEY).id

    def succeeded(self, report_key: str | None = None, **changes: Any) -> str:
        """A job that has a result; its report's key, unless given, is one of the job's own."""
        held = self.running(**changes)
        key = None if held.zero_retention else report_key or keys.report_key(held.job_id, held.token)
        self.do(progress.succeed, held.job_id, held.token, scored_report(), key)
        return held.job_id

    def succeeded_with(self, report: VideoReport, **changes: Any) -> str:
        """A job that has that result."""
        held = self.running(**changes)
        self.do(progress.succeed, held.job_id, held.token, report, keys.report_key(held.job_id, held.token))
        return held.job_id

    def sweep(self, *kinds: str, limit: int = 500) -> dict[str, int]:
        """Sweep these kinds, or all, each in its own transaction; how many of which went."""
        counts = {kind: self.do(KINDS[kind], KEEP, limit) for kind in kinds or KINDS}
        return {kind: count for kind, count in counts.items() if count}

    def condemned(self) -> list[str]:
        """Names of the objects that are to be erased, each once."""
        with self.database.transaction() as session:
            return sorted(set(session.scalars(select(ObjectErasureRow.name))))

    def expire_lease(self, job_id: str) -> None:
        self.sql("update jobs set lease_expires_at = now() - interval '1 second' where id = :id", id=job_id)

    def pass_deadline(self, job_id: str, seconds: float = 1) -> None:
        self.sql(
            "update jobs set deadline = now() - make_interval(secs => :seconds) where id = :id",
            id=job_id,
            seconds=seconds,
        )

    def job(self, job_id: str) -> JobRow:
        with self.database.transaction() as session:
            return session.get_one(JobRow, job_id)

    def nudge(self, job_id: str) -> OutboxRow | None:
        with self.database.transaction() as session:
            return session.scalars(select(OutboxRow).filter_by(job_id=job_id)).one_or_none()

    def events(self, job_id: str) -> list[EventRow]:
        with self.database.transaction() as session:
            return list(session.scalars(select(EventRow).filter_by(job_id=job_id).order_by(EventRow.sequence)))

    def attempts(self, job_id: str) -> list[AttemptRow]:
        with self.database.transaction() as session:
            return list(session.scalars(select(AttemptRow).filter_by(job_id=job_id).order_by(AttemptRow.token)))

    def now(self) -> datetime:
        with self.database.transaction() as session:
            moment: datetime = session.execute(text("select now()")).scalar_one()
            return moment


def new_job(**changes: Any) -> NewJob:
    values: dict[str, Any] = {
        "project_id": PROJECT,
        "source": {"type": "s3", "bucket": "videos", "key": "a.mp4"},
        "model": "styleflow@default",
        "max_attempts": 5,
        "expires_in_days": 400,
    }
    return NewJob(**{**values, **changes})
