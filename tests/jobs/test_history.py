"""Random histories of several workers on a real database, checked against what a job was promised."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import select, text

from styleflow.database import Database
from styleflow.errors import CorruptMedia, LeaseLost, SourceUnavailable
from styleflow.jobs import progress, queries, rescue
from styleflow.jobs.intake import submit
from styleflow.jobs.state import TERMINAL, JobState, Lane
from styleflow.tables import AttemptRow, JobRow, OutboxRow, ResultRow
from styleflow.webhook_tables import EventRow
from tests.jobs.desk import PROJECT, Desk, new_job
from tests.jobs.reports import scored_report

MOST_OPEN_JOBS = 2
"""Few, so that the workers get in each other's way."""
VISIBLE = ("state", "attempt", "progress", "cancel_requested_at", "outcome", "error", "started_at", "finished_at")


@dataclass
class Seen:
    """What an earlier look at a job showed."""

    row_version: int
    token: int
    terminal: str | None
    visible: dict[str, Any] = field(default_factory=dict)


class History(RuleBasedStateMachine):
    """Every rule is one door's transaction; workers keep claims they may have lost, and use them."""

    claims = Bundle("claims")
    jobs = Bundle("jobs")

    def __init__(self, database: Database) -> None:
        super().__init__()
        self.database = database
        self.seen: dict[str, Seen] = {}
        self.submitted: set[str] = set()
        self.won: dict[str, int] = {}

    @initialize()
    def empty(self) -> None:
        with self.database.transaction() as session:
            session.execute(text("delete from events"))
            session.execute(text("delete from jobs"))

    @precondition(lambda self: self._open() < MOST_OPEN_JOBS)
    @rule(target=jobs, lane=st.sampled_from(list(Lane)), attempts=st.integers(1, 3))
    def submit(self, lane: Lane, attempts: int) -> str:
        with self.database.transaction() as session:
            identity = submit(session, new_job(lane=lane, max_attempts=attempts)).id
        self.submitted.add(identity)
        return identity

    @rule(target=claims, job=jobs, how=st.sampled_from(["nudge", "poll", "take over", "take over"]))
    def claim(self, job: str, how: str) -> Any:
        if how == "poll":
            return self._claimed(lanes=tuple(Lane))
        if how == "take over":
            self._set(job, "lease_expires_at = now() - interval '1 second'", state="running")
        return self._claimed(job_id=job)

    def _open(self) -> int:
        return sum(seen.terminal is None for seen in self.seen.values())

    def _claimed(self, **where: Any) -> Any:
        with self.database.transaction() as session:
            held = queries.claim(session, worker="w", lease_seconds=3600, **where)
        return multiple() if held is None else held

    @rule(held=claims, how=st.sampled_from(["beat", "succeed", "corrupt", "transient", "release", "cancel"]))
    def worker_writes(self, held: queries.Claim, how: str) -> None:
        match how:
            case "beat":
                self._worker(held, progress.heartbeat, 3600, {"clips_done": len(self.submitted)})
            case "succeed":
                key = f"evidence/{held.job_id}/{held.token}"
                if self._worker(held, progress.succeed, scored_report(frames=1), key):
                    assert held.job_id not in self.won, "settled twice"
                    self.won[held.job_id] = held.token
            case "corrupt":
                self._worker(held, progress.fail, CorruptMedia())
            case "transient":
                self._worker(held, progress.fail, SourceUnavailable())
            case "release":
                self._worker(held, progress.release)
            case "cancel":
                self._worker(held, progress.cancel)

    def _worker(self, held: queries.Claim, write: Any, *arguments: Any) -> bool:
        """Whether the write was let through; a worker may write exactly while the newest claim is its own."""
        with self.database.transaction() as session:
            job = session.get_one(JobRow, held.job_id)
            owns = job.state == JobState.RUNNING and job.lease_token == held.token
        done = False
        with suppress(LeaseLost):
            with self.database.transaction() as session:
                write(session, held.job_id, held.token, *arguments)
            done = True
        assert done == owns
        return done

    @rule(job=jobs, what=st.sampled_from(["lease", "backoff", "backoff", "deadline", "cancel", "rescue", "rescue"]))
    def world_moves(self, job: str, what: str) -> None:
        match what:
            case "lease":
                self._set(job, "lease_expires_at = now() - interval '1 second'", state="running")
            case "backoff":
                self._set(job, "run_at = now()", state="queued")
            case "deadline":
                self._set(job, "deadline = now() - interval '1 hour'", state="queued")
            case "cancel":
                with self.database.transaction() as session:
                    progress.request_cancel(session, PROJECT, job)
            case "rescue":
                with self.database.transaction() as session:
                    rescue.sweep(session)

    def _set(self, job: str, change: str, *, state: str) -> None:
        with self.database.transaction() as session:
            session.execute(
                text(f"update jobs set {change} where id = :id and state = :state"), {"id": job, "state": state}
            )

    @invariant()
    def promises_hold(self) -> None:
        with self.database.transaction() as session:
            rows = {job.id: job for job in session.scalars(select(JobRow))}
            nudges = set(session.scalars(select(OutboxRow.job_id)))
            results = {result.job_id: result.token for result in session.scalars(select(ResultRow))}
            events = list(session.scalars(select(EventRow).order_by(EventRow.job_id, EventRow.sequence)))
            open_attempts = list(session.scalars(select(AttemptRow).where(AttemptRow.ended.is_(None))))

        assert set(rows) == self.submitted, "nothing is lost"
        assert nudges == {job.id for job in rows.values() if job.state == JobState.QUEUED}
        assert results == self.won
        assert {(a.job_id, a.token) for a in open_attempts} == {
            (job.id, job.lease_token) for job in rows.values() if job.state == JobState.RUNNING
        }
        for job in rows.values():
            self._check_job(job, [event for event in events if event.job_id == job.id])

    def _check_job(self, job: JobRow, events: list[EventRow]) -> None:
        assert (job.state == JobState.RUNNING) == (job.lease_expires_at is not None)
        assert 0 <= job.attempt <= job.max_attempts
        assert [event.sequence for event in events] == list(range(1, len(events) + 1))
        assert events[-1].type == f"job.{job.state}"
        assert sum(event.terminal for event in events) == (JobState(job.state) in TERMINAL)
        self._check_against_earlier(job)

    def _check_against_earlier(self, job: JobRow) -> None:
        visible = {name: getattr(job, name) for name in VISIBLE}
        before = self.seen.get(job.id)
        if before is not None:
            assert job.lease_token >= before.token
            assert before.terminal in (None, job.state), "a terminal state changed"
            assert job.row_version >= before.row_version
            assert visible == before.visible or job.row_version > before.row_version, "changed under the same ETag"
        self.seen[job.id] = Seen(
            row_version=job.row_version,
            token=job.lease_token,
            terminal=job.state if JobState(job.state) in TERMINAL else None,
            visible=visible,
        )


def test_no_history_of_several_workers_breaks_a_promise(desk: Desk) -> None:
    run_state_machine_as_test(
        lambda: History(desk.database),  # type: ignore[arg-type]  # any factory will do, says its documentation
        settings=settings(
            max_examples=60,
            stateful_step_count=40,
            deadline=None,
            phases=[Phase.generate],  # shrinking a history takes minutes; one of forty steps can be read
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
        ),
    )
