"""Bulk work gets its share of a standard lane that is never empty, and no more."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from kombu.utils.json import loads

from styleflow.broker import QUEUES, Broker
from styleflow.jobs.ageing import age
from styleflow.jobs.dispatch import Turns, dispatch_once
from styleflow.jobs.rescue import sweep
from styleflow.jobs.state import Lane
from styleflow.tables import ProjectRow
from tests.jobs.desk import Desk

WINDOW = 8


@pytest.fixture
def broker(redis_url: str) -> Iterator[Broker]:
    broker = Broker(redis_url)
    yield broker
    broker.close()


def queued(desk: Desk, lane: Lane, seconds_ago: float, project_id: str | None = None) -> str:
    job = desk.submit(lane=lane, **({} if project_id is None else {"project_id": project_id}))
    moved = "update outbox set run_at = now() - make_interval(secs => :ago) where job_id = :id"
    desk.sql(moved, ago=seconds_ago, id=job)
    return job


def lane_of(desk: Desk, job: str) -> str:
    nudge = desk.nudge(job)
    assert nudge is not None
    return nudge.lane


def test_only_what_waited_for_long_enough_is_let_in_and_the_job_keeps_its_lane(desk: Desk) -> None:
    old, young = queued(desk, Lane.BULK, 700), queued(desk, Lane.BULK, 100)

    assert desk.do(age, WINDOW, 600) == 1

    assert (lane_of(desk, old), lane_of(desk, young)) == ("standard", "bulk")
    assert desk.job(old).lane == "bulk"


def test_no_more_than_a_quarter_of_the_window_is_aged_at_a_time(desk: Desk) -> None:
    jobs = [queued(desk, Lane.BULK, 1000 - number) for number in range(5)]

    assert [desk.do(age, WINDOW, 600), desk.do(age, WINDOW, 600)] == [2, 0]
    assert [lane_of(desk, job) for job in jobs] == ["standard", "standard", "bulk", "bulk", "bulk"]

    desk.claim(jobs[0])
    assert desk.do(age, WINDOW, 600) == 1
    assert lane_of(desk, jobs[2]) == "standard"


def test_what_stands_in_a_queue_that_nobody_reaches_is_rung_for_anew(desk: Desk, broker: Broker) -> None:
    job = queued(desk, Lane.BULK, 700)
    dispatch_once(desk.database, broker, WINDOW, 30)
    assert (broker.waiting("bulk"), broker.waiting("standard")) == (1, 0)

    desk.do(age, WINDOW, 600)
    dispatch_once(desk.database, broker, WINDOW, 30)

    assert broker.waiting("standard") == 1
    assert desk.claim(job).lane is Lane.BULK


def test_the_oldest_of_all_projects_comes_first(desk: Desk) -> None:
    desk.do(lambda session: session.add(ProjectRow(id="prj_other", name="other")))
    for _ in range(3):
        queued(desk, Lane.BULK, 700)
    oldest = queued(desk, Lane.BULK, 900, "prj_other")

    desk.do(age, 4, 600)

    assert lane_of(desk, oldest) == "standard"


def test_a_job_that_is_tried_again_waits_in_its_own_lane(desk: Desk) -> None:
    job = queued(desk, Lane.BULK, 700)
    desk.do(age, WINDOW, 600)
    held = desk.claim(job)
    desk.expire_lease(held.job_id)
    desk.sql("update jobs set attempt = 1 where id = :id", id=job)
    desk.do(sweep)

    assert lane_of(desk, job) == "bulk"


def test_standard_and_realtime_work_is_not_moved(desk: Desk) -> None:
    jobs = [queued(desk, lane, 9000) for lane in (Lane.STANDARD, Lane.REALTIME)]

    assert desk.do(age, WINDOW, 600) == 0
    assert [lane_of(desk, job) for job in jobs] == ["standard", "realtime"]


@pytest.mark.parametrize("workers", [1, 2, 8])
def test_of_a_standard_lane_that_is_never_empty_bulk_gets_every_fourth_job(
    desk: Desk, broker: Broker, workers: int
) -> None:
    desk.staff(workers)
    bulk = {queued(desk, Lane.BULK, 5000) for _ in range(20)}
    for _ in range(30):
        queued(desk, Lane.STANDARD, 100)
    turns = Turns()
    served: list[str] = []
    while len(served) < 24:
        desk.do(age, WINDOW, 600)
        dispatch_once(desk.database, broker, WINDOW, 30, turns)
        served.append(take(desk, broker))

    assert len(bulk.intersection(served)) == 6


def test_who_has_fewest_among_the_aged_comes_first_however_old_the_others_are(desk: Desk) -> None:
    desk.do(lambda session: session.add(ProjectRow(id="prj_other", name="other")))
    old = [queued(desk, Lane.BULK, 9000 - number) for number in range(4)]
    desk.do(age, WINDOW, 600)
    single = queued(desk, Lane.BULK, 700, "prj_other")
    desk.claim(old[0])

    desk.do(age, WINDOW, 600)

    assert [lane_of(desk, job) for job in (*old[1:], single)] == ["standard", "bulk", "bulk", "standard"]


def take(desk: Desk, broker: Broker) -> str:
    """What a worker does with the oldest message of the standard lane."""
    raw = broker._redis.rpop(QUEUES[Lane.STANDARD])
    job_id: str = loads(raw)["headers"]["argsrepr"][2:-2]
    desk.claim(job_id)
    return job_id
