from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text

from styleflow.database import Database
from styleflow.errors import CorruptMedia, Erased, NotFound
from styleflow.jobs import progress
from styleflow.jobs.queries import Backlog, JobFilters, backlog, claim, get_job, list_attempts, list_jobs
from styleflow.jobs.state import Lane
from styleflow.tables import ProjectRow
from tests.jobs.desk import PROJECT, Desk


def test_a_claim_starts_an_attempt_under_a_lease(desk: Desk) -> None:
    identity = desk.submit(options={"clips": 4})

    held = desk.claim(identity, worker="w1")

    job, (attempt,) = desk.job(identity), desk.attempts(identity)
    assert (held.job_id, held.token, held.attempt, held.options) == (identity, 1, 1, {"clips": 4})
    assert (job.state, job.attempt, job.lease_token, job.lease_owner, job.row_version) == ("running", 1, 1, "w1", 2)
    assert job.started_at is not None
    assert job.lease_expires_at == job.started_at + timedelta(seconds=60)
    assert (attempt.token, attempt.number, attempt.worker, attempt.ended) == (1, 1, "w1", None)
    assert desk.nudge(identity) is None
    assert [event.type for event in desk.events(identity)] == ["job.queued", "job.running"]


def test_sixteen_claimers_never_get_the_same_job(desk: Desk, database_url: str) -> None:
    jobs = {desk.submit(lane=lane) for lane in Lane for _ in range(40)}
    database = Database(database_url, pool_size=16)

    def take_all(number: int) -> list[str]:
        taken: list[str] = []
        while True:
            with database.transaction() as session:
                held = claim(session, worker=f"w{number}", lease_seconds=60, lanes=list(Lane))
            if held is None:
                return taken
            taken.append(held.job_id)

    with ThreadPoolExecutor(16) as pool:
        taken = Counter(identity for part in pool.map(take_all, range(16)) for identity in part)
    database.close()

    assert set(taken) == jobs
    assert set(taken.values()) == {1}


def test_sixteen_nudges_for_one_job_give_one_claim(desk: Desk, database_url: str) -> None:
    identity = desk.submit()
    database = Database(database_url, pool_size=16)

    def take(number: int) -> bool:
        with database.transaction() as session:
            return claim(session, worker=f"w{number}", lease_seconds=60, job_id=identity) is not None

    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(take, range(16))).count(True) == 1
    database.close()


def test_lanes_are_served_realtime_first_and_each_in_order_of_arrival(desk: Desk) -> None:
    lanes = [Lane.BULK, Lane.STANDARD, Lane.REALTIME, Lane.STANDARD, Lane.REALTIME]
    jobs = [desk.submit(lane=lane) for lane in lanes]

    assert [desk.claim().job_id for _ in jobs] == [jobs[2], jobs[4], jobs[1], jobs[3], jobs[0]]


def test_a_claimer_gets_jobs_of_its_lanes_only(desk: Desk) -> None:
    desk.submit(lane=Lane.BULK)

    assert desk.try_claim(lanes=(Lane.REALTIME,)) is None
    assert desk.try_claim(lanes=()) is None


def test_a_job_that_is_not_due_is_not_claimed(desk: Desk) -> None:
    identity = desk.submit()
    desk.sql("update jobs set run_at = now() + interval '1 minute' where id = :id", id=identity)

    assert desk.try_claim() is None
    assert desk.try_claim(identity) is None


@pytest.mark.parametrize("identity", ["job_unknown", ""])
def test_a_nudge_for_an_unknown_job_finds_nothing(desk: Desk, identity: str) -> None:
    assert desk.try_claim(identity) is None


def test_a_nudge_for_a_running_or_finished_job_finds_nothing(desk: Desk) -> None:
    held = desk.running()
    assert desk.try_claim(held.job_id) is None

    desk.do(progress.cancel, held.job_id, held.token)
    assert desk.try_claim(held.job_id) is None


def test_a_job_whose_deadline_passed_before_its_first_claim_expires(desk: Desk) -> None:
    late, next_one = desk.submit(), desk.submit()
    desk.pass_deadline(late)

    assert desk.claim().job_id == next_one
    assert desk.job(late).state == "expired"
    assert desk.job(late).error is None
    assert [event.type for event in desk.events(late)] == ["job.queued", "job.expired"]
    assert desk.nudge(late) is None


def test_a_job_whose_deadline_passed_between_attempts_fails_with_that_code(desk: Desk) -> None:
    held = desk.running()
    desk.do(progress.release, held.job_id, held.token)
    desk.pass_deadline(held.job_id)

    assert desk.try_claim(held.job_id) is None

    job = desk.job(held.job_id)
    assert job.state == "failed"
    assert job.error is not None
    assert job.error["code"] == "deadline_exceeded"


def test_a_nudge_takes_over_a_job_whose_lease_ran_out_and_counts_the_crash(desk: Desk) -> None:
    first = desk.running()
    desk.expire_lease(first.job_id)

    second = desk.claim(first.job_id, worker="w2")

    assert (second.token, second.attempt) == (2, 2)
    assert desk.job(first.job_id).crash_count == 1
    assert [attempt.ended for attempt in desk.attempts(first.job_id)] == ["lost", None]
    assert desk.nudge(first.job_id) is None


def test_a_nudge_for_a_job_that_crashed_at_its_last_attempt_settles_it(desk: Desk) -> None:
    held = desk.running(max_attempts=1)
    desk.expire_lease(held.job_id)

    assert desk.try_claim(held.job_id) is None

    job = desk.job(held.job_id)
    assert job.state == "failed"
    assert job.error is not None
    assert job.error["code"] == "poison"


def test_a_job_is_seen_by_its_own_project_only(desk: Desk) -> None:
    identity = desk.submit()

    assert desk.do(get_job, PROJECT, identity).id == identity
    with pytest.raises(NotFound):
        desk.do(get_job, "prj_other", identity)
    with pytest.raises(NotFound):
        desk.do(get_job, PROJECT, "job_unknown")


def test_an_erased_job_is_told_from_an_unknown_one_and_not_listed(desk: Desk) -> None:
    identity = desk.submit()
    desk.do(progress.request_cancel, PROJECT, identity)
    desk.erase(identity)

    with pytest.raises(Erased):
        desk.do(get_job, PROJECT, identity)
    assert desk.do(list_jobs, PROJECT, JobFilters(), 10) == []


def test_pages_are_newest_first_and_neither_skip_nor_repeat_while_jobs_arrive(desk: Desk) -> None:
    old = [desk.submit() for _ in range(7)]
    seen: list[str] = []
    after = None
    while page := desk.do(list_jobs, PROJECT, JobFilters(), 3, after):
        seen += [job.id for job in page]
        after = (page[-1].created_at, page[-1].id)
        desk.submit()

    assert seen == old[::-1]


def test_five_thousand_jobs_are_paged_without_gap_or_repetition_while_five_hundred_arrive(desk: Desk) -> None:
    """Many of them accepted in the same moment, so that the moment alone would not tell where a page ends."""
    many = text(
        "insert into jobs (id, project_id, state, lane, source, model, options, tags, metadata, max_attempts,"
        " created_at) select :prefix || lpad(n::text, 6, '0'), :project, 'queued', 'bulk', '{}', 'm', '{}', '{}', '{}',"
        " 5, now() - interval '1 hour' + (n / 40) * interval '1 second' from generate_series(1, :count) as n"
    )

    def insert(prefix: str, count: int) -> None:
        desk.do(lambda session: session.execute(many, {"prefix": prefix, "project": PROJECT, "count": count}))

    insert("job_old", 5_000)
    for oldest_first in (False, True):
        seen: list[str] = []
        after = None
        while page := desk.do(list_jobs, PROJECT, JobFilters(), 200, after, oldest_first=oldest_first):
            seen += [job.id for job in page]
            after = (page[-1].created_at, page[-1].id)
            if len(seen) <= 5_000:
                # Some into moments that were paged already, some into those to come.
                insert(f"job_new{oldest_first}{len(seen):05}", 20)
        old = [identity for identity in seen if identity.startswith("job_old")]
        assert len(set(seen)) == len(seen)
        assert sorted(old) == [f"job_old{number:06}" for number in range(1, 5_001)]


def test_filters_narrow_the_list(desk: Desk) -> None:
    desk.do(lambda session: session.add(ProjectRow(id="prj_other", name="other")))
    desk.submit(project_id="prj_other")
    plain = desk.submit(lane=Lane.BULK)
    moment = desk.job(plain).created_at
    tagged = desk.submit(tags={"queue": "politics", "n": "1"}, client_ref="post-1")
    failed = desk.running(lane=Lane.REALTIME)
    desk.do(progress.fail, failed.job_id, failed.token, CorruptMedia())

    def listed(**filters: Any) -> list[str]:
        return [job.id for job in desk.do(list_jobs, PROJECT, JobFilters(**filters), 10)]

    assert listed() == [failed.job_id, tagged, plain]
    assert listed(state="failed") == [failed.job_id]
    assert listed(lane="bulk") == [plain]
    assert listed(client_ref="post-1") == [tagged]
    assert listed(tag=("queue", "politics")) == [tagged]
    assert listed(tag=("queue", "sport")) == []
    assert listed(created_before=moment) == []
    assert listed(created_before=desk.job(tagged).created_at) == [plain]
    assert listed(created_after=moment) == [failed.job_id, tagged]
    assert listed(outcome="scored") == []


def test_the_backlog_counts_what_waits_in_each_lane(desk: Desk) -> None:
    desk.submit(lane=Lane.BULK)
    desk.submit(lane=Lane.BULK)
    desk.running(lane=Lane.REALTIME)
    desk.sql("update jobs set run_at = run_at - interval '90 seconds' where lane = 'bulk'")

    found = desk.do(backlog)

    assert found[Lane.REALTIME] == found[Lane.STANDARD] == Backlog(queued=0, oldest_seconds=0.0)
    assert found[Lane.BULK].queued == 2
    assert 90 <= found[Lane.BULK].oldest_seconds < 150


def test_attempts_are_listed_in_order(desk: Desk) -> None:
    held = desk.running()
    desk.do(progress.release, held.job_id, held.token)
    desk.claim(held.job_id)

    found = desk.do(list_attempts, held.job_id)
    assert [(attempt.token, attempt.number, attempt.ended) for attempt in found] == [(1, 1, "released"), (2, 1, None)]
