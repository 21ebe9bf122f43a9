from __future__ import annotations

import json
from datetime import timedelta

import pytest

from styleflow.database import DISPATCH_CHANNEL
from styleflow.errors import BacklogFull, CorruptMedia, Erased, NotRetryable
from styleflow.jobs import progress
from styleflow.jobs.intake import admit, rerun_of, retry_of, submit
from styleflow.jobs.state import Lane
from styleflow.tables import JobRow
from tests.jobs.desk import PROJECT, Desk, new_job
from tests.jobs.reports import scored_report


def test_a_submitted_job_waits_with_its_nudge_and_its_first_event(desk: Desk) -> None:
    identity = desk.submit(lane=Lane.BULK, client_ref="post-991", tags={"queue": "politics"})

    job, nudge, events = desk.job(identity), desk.nudge(identity), desk.events(identity)
    assert (job.state, job.lane, job.attempt, job.row_version, job.lease_token) == ("queued", "bulk", 0, 1, 0)
    assert job.expires_at == job.created_at + timedelta(days=400)
    assert nudge is not None
    assert (nudge.lane, nudge.published_at, nudge.run_at) == ("bulk", None, job.run_at)
    assert [(event.type, event.sequence, event.terminal) for event in events] == [("job.queued", 1, False)]


def test_a_submission_that_is_rolled_back_leaves_nothing(desk: Desk) -> None:
    with desk.database.transaction() as session:
        identity = submit(session, new_job()).id
        session.rollback()

    assert desk.nudge(identity) is None
    assert desk.events(identity) == []
    assert desk.try_claim() is None


def test_the_commit_of_a_submission_wakes_dispatch(desk: Desk) -> None:
    with desk.database.listener() as connection:
        connection.execute(f"listen {DISPATCH_CHANNEL}")
        desk.submit(lane=Lane.REALTIME)

        assert [note.payload for note in connection.notifies(timeout=5, stop_after=1)] == [""]


def test_a_retry_is_a_new_job_that_names_its_parent(desk: Desk) -> None:
    held = desk.running(client_ref="a", tags={"k": "v"}, metadata={"m": 1}, lane=Lane.REALTIME, options={"o": 1})
    desk.do(progress.fail, held.job_id, held.token, CorruptMedia())
    parent = desk.job(held.job_id)

    child = desk.job(desk.do(retry_of, parent).id)

    assert (child.parent_job_id, child.state, child.attempt) == (parent.id, "queued", 0)
    for name in ("source", "model", "lane", "options", "client_ref", "tags", "job_metadata", "max_attempts"):
        assert getattr(child, name) == getattr(parent, name)
    assert desk.job(parent.id).state == "failed"


def test_a_retry_of_an_expired_job_does_not_inherit_the_passed_deadline(desk: Desk) -> None:
    identity = desk.submit()
    desk.pass_deadline(identity)
    assert desk.try_claim(identity) is None

    child: JobRow = desk.do(retry_of, desk.job(identity))

    assert child.deadline is None
    assert desk.claim(child.id).job_id == child.id


def test_a_retry_keeps_a_deadline_that_is_still_ahead(desk: Desk) -> None:
    deadline = desk.now() + timedelta(hours=1)
    identity = desk.submit(deadline=deadline)
    desk.do(progress.request_cancel, PROJECT, identity)

    assert desk.do(retry_of, desk.job(identity)).deadline == deadline


def test_the_next_pack_brings_thresholds_of_its_own_where_a_policy_was_taken_off(desk: Desk) -> None:
    own = {"policy": "tiny", "weak": 0.2, "suspicious": 0.4, "strong": 0.8}
    job = desk.succeeded(policy="strict", policy_revision=1, policy_thresholds={**own, "policy": "strict@1"})
    desk.sql(
        "update jobs set policy = 'default', policy_revision = null, policy_thresholds = cast(:own as jsonb)",
        own=json.dumps(own),
    )

    again: JobRow = desk.do(rerun_of, desk.job(job), model="other@2")

    assert (again.policy, again.policy_revision, again.policy_thresholds) == ("default", None, None)


def test_neither_an_open_nor_a_succeeded_job_can_be_retried(desk: Desk) -> None:
    queued, held = desk.job(desk.submit(lane=Lane.BULK)), desk.running(lane=Lane.REALTIME)
    with pytest.raises(NotRetryable):
        desk.do(retry_of, queued)
    with pytest.raises(NotRetryable):
        desk.do(retry_of, desk.job(held.job_id))
    desk.do(progress.succeed, held.job_id, held.token, scored_report(), "key")
    with pytest.raises(NotRetryable):
        desk.do(retry_of, desk.job(held.job_id))


def test_an_erased_job_cannot_be_retried(desk: Desk) -> None:
    identity = desk.submit()
    desk.do(progress.request_cancel, PROJECT, identity)
    desk.erase(identity)

    with pytest.raises(Erased):
        desk.do(retry_of, desk.job(identity))


def test_submissions_are_refused_when_the_estimated_backlog_reaches_the_limit(desk: Desk) -> None:
    for _ in range(3):
        desk.submit()
    desk.sql("analyze outbox")

    desk.do(admit, 4)
    with pytest.raises(BacklogFull):
        desk.do(admit, 3)
