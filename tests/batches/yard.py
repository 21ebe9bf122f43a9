"""Short ways to bring a batch forward, on one real database and a local bucket."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import select, text

from styleflow.batch_tables import BatchRow
from styleflow.batches import control, queries
from styleflow.batches.expansion import Expander
from styleflow.batches.feeding import Feeder
from styleflow.batches.listing import Shelves
from styleflow.batches.tending import tend_once
from styleflow.errors import CorruptMedia
from styleflow.jobs import progress
from styleflow.jobs.batch_counts import counts_of
from styleflow.storage.bucket import Bucket
from styleflow.tables import JobRow, ProjectRow
from styleflow.webhook_tables import EventRow
from tests.batches.made_items import RULES
from tests.jobs.desk import PROJECT, Desk
from tests.jobs.reports import scored_report

TEMPLATE: dict[str, Any] = {
    "model": "styleflow@default",
    "lane": "bulk",
    "options": {},
    "tags": {"of": "batch"},
    "metadata": {},
    "callback_endpoint_id": None,
}


@dataclass
class Yard:
    """Batches of one project."""

    desk: Desk
    bucket: Bucket
    feeder: Feeder = field(init=False)

    def __post_init__(self) -> None:
        self.feeder = Feeder(database=self.desk.database, max_queued=10**6, max_attempts=1, keep_days=400)

    def create(self, source: dict[str, Any] | None = None, **changes: Any) -> str:
        values: dict[str, Any] = {
            "project_id": PROJECT,
            "name": "test",
            "source": source or {"type": "inline", "items": [item(number) for number in range(3)]},
            "template": TEMPLATE,
            "max_in_flight": 100,
            "keep_days": 400,
        }
        new = queries.NewBatch(**{**values, **changes})
        identity: str = self.desk.do(lambda session: queries.create(session, new).id)
        return identity

    def manifest(self, data: bytes, format: str = "jsonl", **changes: Any) -> str:
        self.bucket.put("manifests/m", data, "application/x-ndjson")
        source = {"type": "manifest", "bucket": self.bucket.name, "key": "manifests/m", "format": format}
        return self.create(source, **changes)

    def expander(self, **changes: Any) -> Expander:
        shelves = Shelves(bucket_named=lambda name: self.bucket, rules=RULES)
        return Expander(**{"database": self.desk.database, "shelves": shelves, "owner": "test", **changes})

    def expand(self, **changes: Any) -> None:
        expander = self.expander(**changes)
        while expander.expand_once():
            pass

    def feed(self) -> int:
        return self.feeder.feed_once()

    def tend(self) -> None:
        while tend_once(self.desk.database):
            pass

    def settle(self, batch_id: str, *, failed: bool = False, limit: int = 1000) -> int:
        """What workers would do with the jobs that are queued."""
        with self.desk.database.transaction() as session:
            wanted = select(JobRow.id).where(JobRow.batch_id == batch_id, JobRow.state == "queued")
            jobs = session.scalars(wanted.order_by(JobRow.batch_position).limit(limit)).all()
        for job_id in jobs:
            held = self.desk.claim(job_id)
            if failed:
                self.desk.do(progress.fail, job_id, held.token, CorruptMedia())
            else:
                self.succeed(job_id, held.token)
        return len(jobs)

    def succeed(self, job_id: str, token: int) -> None:
        self.desk.do(progress.succeed, job_id, token, scored_report(), f"evidence/{job_id}")

    def batch(self, batch_id: str) -> BatchRow:
        with self.desk.database.transaction() as session:
            return session.get_one(BatchRow, batch_id)

    def counts(self, batch_id: str) -> dict[str, int]:
        """Those that are not zero."""
        with self.desk.database.transaction() as session:
            return {state: items for state, items in counts_of(session, [batch_id])[batch_id].items() if items}

    def counted(self, batch_id: str) -> dict[str, int]:
        """The same, by looking at every item."""
        with self.desk.database.transaction() as session:
            rows = session.execute(
                text(
                    "select case when i.state = 'submitted' then j.state else i.state end as stands, count(*)"
                    " from batch_items i left join jobs j on j.id = i.job_id where i.batch_id = :id group by stands"
                ),
                {"id": batch_id},
            )
            return {state: items for state, items in rows.all() if items}

    def items(self, batch_id: str, state: str | None = None) -> list[queries.Item]:
        found: list[queries.Item] = self.desk.do(queries.list_items, batch_id, state, 10_000)
        return found

    def jobs(self, batch_id: str) -> list[JobRow]:
        with self.desk.database.transaction() as session:
            wanted = (
                select(JobRow).where(JobRow.batch_id == batch_id).order_by(JobRow.batch_position, JobRow.created_at)
            )
            return list(session.scalars(wanted))

    def events(self, type: str) -> list[EventRow]:
        with self.desk.database.transaction() as session:
            return list(session.scalars(select(EventRow).filter_by(type=type).order_by(EventRow.sequence)))

    def pause(self, batch_id: str) -> None:
        self.desk.do(control.pause, PROJECT, batch_id)

    def resume(self, batch_id: str) -> None:
        self.desk.do(control.resume, PROJECT, batch_id)

    def cancel(self, batch_id: str) -> None:
        self.desk.do(control.cancel, PROJECT, batch_id)

    def retry_failed(self, batch_id: str) -> None:
        self.desk.do(control.retry_failed, PROJECT, batch_id)

    def add_project(self, identity: str) -> None:
        self.desk.do(lambda session: session.add(ProjectRow(id=identity, name=identity)))


def item(number: int, **more: Any) -> dict[str, Any]:
    return {"source": {"type": "s3", "bucket": "videos", "key": f"clip-{number}.mp4"}, **more}
