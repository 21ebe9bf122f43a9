"""Items become jobs: no more of a batch at a time than its cap allows, and the projects in turn.

A million items are a million rows here and a few hundred queued jobs, so that whoever submits a single one does not
wait behind them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Row, select, text
from sqlalchemy.orm import Session, defer

from styleflow.batch_tables import BatchItemRow, BatchRow
from styleflow.batches.state import FEEDING, in_flight
from styleflow.database import Database
from styleflow.errors import BacklogFull
from styleflow.jobs.batch_counts import LISTED, add_counts, counts_of
from styleflow.jobs.fairness import Ring, share
from styleflow.jobs.intake import NewJob, admit, submit_all
from styleflow.jobs.keeping import read
from styleflow.jobs.state import JobState, Lane
from styleflow.jobs.upload_sources import hold_uploads, pinned
from styleflow.quotas import UNLIMITED, Quotas, room_for_jobs

FED_AT_ONCE = 500
"""Jobs in one round, over all batches: some hundred milliseconds of transactions."""
QUANTUM = 50
"""Jobs to one project's turn."""


@dataclass(frozen=True)
class Want:
    """A batch that has items waiting, and room for them."""

    batch_id: str
    project_id: str
    room: int


@dataclass(kw_only=True)
class Feeder:
    """Feeds one round at a time. One process at a time does it; two would respect the caps, but not the turns."""

    database: Database
    max_queued: int
    max_attempts: int
    keep_days: float
    """How long the jobs and their results are kept."""
    quotas: Quotas = UNLIMITED
    """Those of a project that has no own ones. What they leave no room for stays in its list."""
    at_once: int = FED_AT_ONCE
    ring: Ring = field(default_factory=Ring)

    def feed_once(self) -> int:
        """One round; returns how many jobs were submitted: none when nothing waits or the backlog is full."""
        with self.database.transaction() as session:
            wants = wanted(session)
            try:
                admit(session, self.max_queued)
            except BacklogFull:
                return 0
        by_project: dict[str, int] = {}
        for want in wants:
            by_project[want.project_id] = by_project.get(want.project_id, 0) + want.room
        granted, self.ring = share(by_project, self.ring, quantum=QUANTUM, budget=self.at_once)
        return sum(self._feed(batch_id, units) for batch_id, units in divided(wants, granted))

    def _feed(self, batch_id: str, units: int) -> int:
        with self.database.transaction() as session:
            batch = session.scalars(
                select(BatchRow)
                .where(BatchRow.id == batch_id, BatchRow.state.in_(FEEDING))
                .options(defer(BatchRow.source))
                .with_for_update(key_share=True)
            ).one_or_none()
            if batch is None:
                return 0
            # Counted again under the lock: only whoever holds it adds jobs, so the cap holds.
            room = _room(batch.max_in_flight, counts_of(session, [batch_id])[batch_id])
            items = _waiting(session, batch_id, min(units, room, self._allowance(session, batch.project_id)))
            held = hold_uploads(session, batch.project_id, _uploads_of(items))
            jobs = submit_all(session, [self._job(batch, item, held) for item in items], self.quotas)
            _mark(session, batch_id, {job.batch_position: job.id for job in jobs})
            add_counts(session, batch_id, {LISTED: -len(jobs), JobState.QUEUED: len(jobs)})
            return len(jobs)

    def _allowance(self, session: Session, project_id: str) -> int:
        """Jobs that the project's quotas leave room for. A turn's worth at a time: its callers wait for the commit."""
        room = room_for_jobs(session, project_id, self.quotas)
        return self.at_once if room is None else min(room, QUANTUM)

    def _job(self, batch: BatchRow, item: Row[Any], held: Mapping[str, Mapping[str, Any]]) -> NewJob:
        template, own = batch.template, item.item
        agreed = read(template["retention"]) if template.get("retention") else None
        return NewJob(
            project_id=batch.project_id,
            source=pinned(own["source"], held),
            model=template["model"],
            lane=Lane(template["lane"]),
            options=template["options"],
            client_ref=own["client_ref"],
            tags={**template["tags"], **own["tags"]},
            metadata={**template["metadata"], **own["metadata"]},
            callback_endpoint_id=template["callback_endpoint_id"],
            dedupe=template.get("dedupe", "off"),
            **template.get("policy", {}),
            request_id=batch.request_id,
            parent_job_id=item.job_id,
            batch_id=batch.id,
            batch_position=item.position,
            max_attempts=self.max_attempts,
            expires_in_days=self.keep_days if agreed is None else agreed.results_days,
            retention=agreed,
        )


def wanted(session: Session) -> list[Want]:
    """Batches that could be fed, oldest first."""
    rows = session.execute(
        select(BatchRow.id, BatchRow.project_id, BatchRow.max_in_flight)
        .where(BatchRow.finished_at.is_(None), BatchRow.state.in_(FEEDING))
        .order_by(BatchRow.created_at, BatchRow.id)
    ).all()
    counts = counts_of(session, [row.id for row in rows])
    wants = [Want(row.id, row.project_id, _room(row.max_in_flight, counts[row.id])) for row in rows]
    return [want for want in wants if want.room > 0]


def divided(wants: Sequence[Want], granted: Mapping[str, int]) -> list[tuple[str, int]]:
    """What each batch may submit of what its project was granted: the oldest first, up to its room."""
    left, shares = dict(granted), []
    for want in wants:
        units = min(want.room, left.get(want.project_id, 0))
        if units:
            left[want.project_id] -= units
            shares.append((want.batch_id, units))
    return shares


def _room(max_in_flight: int, counts: Mapping[str, int]) -> int:
    return max(0, min(counts[LISTED], max_in_flight - in_flight(counts)))


def _waiting(session: Session, batch_id: str, limit: int) -> Sequence[Row[Any]]:
    """The first items that wait. `job_id` is that of an earlier job, where one failed and is to be tried again."""
    return session.execute(
        select(BatchItemRow.position, BatchItemRow.item, BatchItemRow.job_id)
        .where(BatchItemRow.batch_id == batch_id, BatchItemRow.state == LISTED)
        .order_by(BatchItemRow.position)
        .limit(limit)
        .with_for_update()
    ).all()


def _uploads_of(items: Sequence[Row[Any]]) -> list[str]:
    sources = [row.item["source"] for row in items]
    return [source["upload_id"] for source in sources if source["type"] == "upload"]


def _mark(session: Session, batch_id: str, jobs: Mapping[int | None, str]) -> None:
    session.execute(
        text(
            "update batch_items set state = 'submitted', job_id = made.job_id"
            " from unnest(cast(:positions as bigint[]), cast(:jobs as text[])) as made (position, job_id)"
            " where batch_id = :batch and batch_items.position = made.position"
        ),
        {"batch": batch_id, "positions": list(jobs), "jobs": list(jobs.values())},
    )
