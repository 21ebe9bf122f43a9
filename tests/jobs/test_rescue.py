from __future__ import annotations

import pytest

from styleflow.database import Database
from styleflow.errors import LeaseLost, SourceUnavailable
from styleflow.jobs import progress
from styleflow.jobs.rescue import RescueCount, sweep
from styleflow.tables import JobRow
from tests.jobs.desk import PROJECT, Desk
from tests.jobs.reports import scored_report


def error_code(job: JobRow) -> str | None:
    return None if job.error is None else job.error["code"]


def test_jobs_that_are_well_are_left_alone(desk: Desk) -> None:
    desk.running()
    desk.submit()

    assert desk.do(sweep) == RescueCount()


def test_a_job_whose_lease_ran_out_is_queued_again_and_its_worker_fenced(desk: Desk) -> None:
    held = desk.running()
    desk.expire_lease(held.job_id)

    assert desk.do(sweep) == RescueCount(requeued=1)

    job, (attempt,) = desk.job(held.job_id), desk.attempts(held.job_id)
    assert (job.state, job.attempt, job.crash_count) == ("queued", 1, 1)
    assert (attempt.ended, attempt.error_code) == ("lost", "worker_lost")
    assert desk.nudge(held.job_id) is not None
    with pytest.raises(LeaseLost):
        desk.do(progress.succeed, held.job_id, held.token, scored_report(), "key")


def test_a_job_that_took_down_its_worker_at_every_attempt_is_poison(desk: Desk) -> None:
    identity = desk.submit(max_attempts=3)
    for _ in range(3):
        desk.claim(identity)
        desk.expire_lease(identity)
        desk.do(sweep)

    job = desk.job(identity)
    assert (job.state, error_code(job), job.crash_count) == ("failed", "poison", 3)
    assert [attempt.number for attempt in desk.attempts(identity)] == [1, 2, 3]
    assert desk.events(identity)[-1].type == "job.failed"


def test_a_job_lost_at_its_last_attempt_after_another_error_is_worker_lost(desk: Desk) -> None:
    held = desk.running(max_attempts=2)
    desk.do(progress.fail, held.job_id, held.token, SourceUnavailable())
    desk.sql("update jobs set run_at = now() where id = :id", id=held.job_id)
    desk.claim(held.job_id)
    desk.expire_lease(held.job_id)

    assert desk.do(sweep) == RescueCount(failed=1)
    assert error_code(desk.job(held.job_id)) == "worker_lost"


def test_a_released_attempt_does_not_bring_a_job_nearer_to_its_cap(desk: Desk) -> None:
    identity = desk.submit(max_attempts=2)
    for _ in range(5):
        held = desk.claim(identity)
        desk.do(progress.release, identity, held.token)
    desk.claim(identity)
    desk.expire_lease(identity)

    assert desk.do(sweep) == RescueCount(requeued=1)


def test_a_lost_job_whose_cancel_was_requested_is_canceled(desk: Desk) -> None:
    held = desk.running()
    desk.do(progress.request_cancel, PROJECT, held.job_id)
    desk.expire_lease(held.job_id)

    assert desk.do(sweep) == RescueCount(canceled=1)
    assert desk.job(held.job_id).state == "canceled"


def test_a_lost_job_whose_deadline_passed_is_not_tried_again(desk: Desk) -> None:
    held = desk.running()
    desk.pass_deadline(held.job_id)
    desk.expire_lease(held.job_id)

    assert desk.do(sweep) == RescueCount(failed=1)
    assert error_code(desk.job(held.job_id)) == "deadline_exceeded"


def test_a_queued_job_past_its_deadline_expires_without_a_worker(desk: Desk) -> None:
    identity = desk.submit()
    desk.pass_deadline(identity)

    assert desk.do(sweep) == RescueCount(expired=1)
    assert desk.job(identity).state == "expired"
    assert desk.nudge(identity) is None


def test_a_running_job_is_left_to_its_worker_for_a_while_after_the_deadline(desk: Desk) -> None:
    held = desk.running()
    desk.pass_deadline(held.job_id, seconds=10)
    assert desk.do(sweep) == RescueCount()

    desk.pass_deadline(held.job_id, seconds=40)
    assert desk.do(sweep) == RescueCount(failed=1)
    assert error_code(desk.job(held.job_id)) == "deadline_exceeded"
    assert [attempt.ended for attempt in desk.attempts(held.job_id)] == ["failed"]


def test_a_queued_job_without_a_nudge_gets_one(desk: Desk) -> None:
    identity = desk.submit()
    desk.sql("delete from outbox")

    assert desk.do(sweep) == RescueCount(rung=1)
    assert desk.nudge(identity) is not None
    assert desk.do(sweep) == RescueCount()


def test_one_sweep_moves_no_more_than_its_limit(desk: Desk) -> None:
    for _ in range(5):
        desk.expire_lease(desk.running().job_id)

    assert [desk.do(sweep, limit=2).requeued for _ in range(4)] == [2, 2, 1, 0]


def test_a_sweep_passes_over_a_job_that_is_being_settled(desk: Desk, database_url: str) -> None:
    held = desk.running()
    desk.expire_lease(held.job_id)
    other = Database(database_url)

    with desk.database.transaction() as settling:
        progress.succeed(settling, held.job_id, held.token, scored_report(), "key")
        with other.transaction() as session:
            assert sweep(session) == RescueCount()
    other.close()

    assert desk.job(held.job_id).state == "succeeded"
