from __future__ import annotations

import shutil
import tempfile
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from kombu.utils.json import loads
from redis import Redis
from sqlalchemy import func, select, text

from styleflow.broker import QUEUES, Broker
from styleflow.embedded import socket_folder, start_redis
from styleflow.errors import DependencyUnavailable
from styleflow.jobs.dispatch import (
    DISPATCH_LOCK,
    PLACES_WITHOUT_WORKERS,
    Due,
    LaneTurns,
    Turns,
    dispatch_once,
    take_places,
)
from styleflow.jobs.state import Lane
from styleflow.jobs.workload import Kind
from styleflow.tables import OutboxRow, ProjectRow
from tests.jobs.desk import PROJECT, Desk

WINDOW = 32
STANDARD = QUEUES[Lane.STANDARD]


@pytest.fixture
def broker(redis_url: str) -> Iterator[Broker]:
    broker = Broker(redis_url)
    yield broker
    broker.close()


@pytest.fixture
def redis(redis_url: str) -> Iterator[Redis]:
    with Redis(unix_socket_path=redis_url.removeprefix("redis+socket://"), decode_responses=True) as client:
        yield client


@pytest.fixture(autouse=True)
def workers(desk: Desk) -> None:
    """As many as a window has places."""
    desk.staff(WINDOW)


def messages(redis: Redis, queue: str = STANDARD) -> list[str]:
    """The ids of the jobs whose nudges wait, oldest first."""
    bodies = [loads(raw) for raw in reversed(redis.lrange(queue, 0, -1))]
    return [body["headers"]["argsrepr"][2:-2] for body in bodies]


def dispatch(desk: Desk, broker: Broker, *, window: int = WINDOW, repair_seconds: float = 30) -> int:
    return dispatch_once(desk.database, broker, window, repair_seconds)


def queue_many(desk: Desk, count: int) -> None:
    """Jobs and nudges as `submit` leaves them, by two statements."""
    desk.sql(
        "insert into jobs (id, project_id, state, lane, source, model, options, tags, metadata, max_attempts, run_at)"
        " select 'job_' || lpad(n::text, 6, '0'), :project, 'queued', 'standard', '{}', 'm', '{}', '{}', '{}', 5,"
        " now() - make_interval(secs => :count - n) from generate_series(1, :count) n",
        project=PROJECT,
        count=count,
    )
    desk.sql(
        "insert into outbox (job_id, lane, project_id, run_at)"
        " select id, lane, project_id, run_at from jobs order by run_at"
    )


def test_nudges_are_published_in_order_and_kept_until_the_claim(desk: Desk, broker: Broker, redis: Redis) -> None:
    jobs = [desk.submit() for _ in range(3)]

    assert dispatch(desk, broker) == 3
    assert dispatch(desk, broker) == 0
    assert messages(redis) == jobs
    nudge = desk.nudge(jobs[0])
    assert nudge is not None
    assert nudge.published_at is not None


def test_five_thousand_queued_jobs_never_put_more_than_a_window_into_redis(
    desk: Desk, broker: Broker, redis: Redis
) -> None:
    count = 5000
    queue_many(desk, count)
    taken: list[str] = []
    while len(taken) < count:
        dispatch(desk, broker)
        batch = messages(redis)
        assert 0 < len(batch) <= WINDOW
        redis.delete(STANDARD)
        desk.sql("update jobs set state = 'running' where id = any(:ids)", ids=batch)
        desk.sql("delete from outbox where job_id = any(:ids)", ids=batch)
        taken += batch

    assert taken == [f"job_{number:06}" for number in range(1, count + 1)]
    assert dispatch(desk, broker) == 0
    with desk.database.transaction() as session:
        assert session.scalar(select(func.count()).select_from(OutboxRow)) == 0


def test_a_single_job_is_published_next_whatever_another_project_has_queued(
    desk: Desk, broker: Broker, redis: Redis
) -> None:
    queue_many(desk, 2000)
    turns = Turns()
    dispatch_once(desk.database, broker, WINDOW, 30, turns)
    desk.do(lambda session: session.add(ProjectRow(id="prj_small", name="small")))
    single = desk.submit(project_id="prj_small")
    answer_first(desk, redis)
    answer_first(desk, redis)

    dispatch_once(desk.database, broker, WINDOW, 30, turns)

    assert single in messages(redis)


def test_projects_are_published_in_turn_also_when_there_is_room_for_one_at_a_time(
    desk: Desk, broker: Broker, redis: Redis
) -> None:
    for name in "abc":
        desk.do(lambda session, name=name: session.add(ProjectRow(id=f"prj_{name}", name=name)))
    owner = {desk.submit(project_id=f"prj_{name}"): name for name in "aaaaabbbbbccccc"}
    turns, served = Turns(), ""
    while len(served) < len(owner):
        assert dispatch_once(desk.database, broker, 1, 30, turns) == 1
        served += owner[answer_first(desk, redis)]

    assert served == "abc" * 5


def test_one_nudge_waits_ahead_of_each_live_worker_of_the_lane(desk: Desk, broker: Broker, redis: Redis) -> None:
    desk.sql("delete from workers")
    desk.staff(2, ("bulk",), seconds_ago=120)
    desk.staff(3, ("realtime", "standard"))
    for lane in Lane:
        for _ in range(10):
            desk.submit(lane=lane)

    dispatch(desk, broker)

    assert [redis.llen(QUEUES[lane]) for lane in Lane] == [3, 3, PLACES_WITHOUT_WORKERS]


@pytest.mark.parametrize("workers", [1, 4])
def test_a_single_job_is_overtaken_by_no_more_than_one_job_for_each_worker(
    desk: Desk, broker: Broker, redis: Redis, workers: int
) -> None:
    desk.sql("delete from workers")
    desk.staff(workers)
    queue_many(desk, 500)
    turns, served = Turns(), list[str]()
    desk.do(lambda session: session.add(ProjectRow(id="prj_small", name="small")))

    def serve(jobs: int) -> None:
        for _ in range(jobs):
            dispatch_once(desk.database, broker, WINDOW, 30, turns)
            served.append(answer_first(desk, redis))

    serve(3 * workers)
    for _ in range(5):
        dispatch_once(desk.database, broker, WINDOW, 30, turns)
        single, before = desk.submit(project_id="prj_small"), len(served)
        serve(3 * workers)
        assert served.index(single) - before <= workers


def test_work_is_shared_not_the_number_of_jobs(desk: Desk, broker: Broker, redis: Redis) -> None:
    desk.sql("delete from workers")
    desk.staff(1)
    turns = Turns()
    for name, seconds in (("films", 90.0), ("clips", 30.0)):
        desk.do(lambda session, name=name: session.add(ProjectRow(id=f"prj_{name}", name=name)))
        turns.workload.observe(Kind(f"prj_{name}", "standard", "styleflow@default"), seconds)
    owner = {desk.submit(project_id=f"prj_{name}"): name for name in ["films"] * 20 + ["clips"] * 20}
    served = []
    for _ in range(20):
        dispatch_once(desk.database, broker, WINDOW, 30, turns)
        served.append(owner[answer_first(desk, redis)])

    assert served.count("films") == 5


def test_an_upload_counts_by_its_size(desk: Desk, broker: Broker, redis: Redis) -> None:
    desk.sql("delete from workers")
    desk.staff(1)
    turns = Turns()
    for name in ("films", "clips"):
        desk.do(lambda session, name=name: session.add(ProjectRow(id=f"prj_{name}", name=name)))
        turns.workload.observe(Kind(f"prj_{name}", "standard", "styleflow@default"), 10.0, 1_000_000)
    size = {"films": 4_000_000, "clips": 1_000_000}
    owner = {
        desk.submit(project_id=f"prj_{name}", source={"type": "upload", "key": "k", "size_bytes": size[name]}): name
        for name in ["films"] * 20 + ["clips"] * 20
    }
    served = []
    for _ in range(20):
        dispatch_once(desk.database, broker, WINDOW, 30, turns)
        served.append(owner[answer_first(desk, redis)])

    assert served.count("films") == 4


def test_old_bulk_work_of_a_project_does_not_pay_what_it_owes_for_its_standard_work() -> None:
    turns, served = LaneTurns(), []
    for _ in range(80):
        own = {"films": deque([Due(1, 600.0)]), "clips": deque([Due(2, 6.0)])}
        aged = {"films": deque([Due(3, 600.0)])}
        served += take_places(own, aged, 1, turns)

    assert (served.count(3), served.count(1)) == (20, 1)


def answer_first(desk: Desk, redis: Redis) -> str:
    """What a worker does with the oldest message."""
    job_id = messages(redis)[0]
    redis.rpop(STANDARD)
    desk.claim(job_id)
    return job_id


def test_the_window_is_each_lanes_own(desk: Desk, broker: Broker, redis: Redis) -> None:
    for lane in Lane:
        for _ in range(4):
            desk.submit(lane=lane)

    assert dispatch(desk, broker, window=3) == 9
    assert [redis.llen(QUEUES[lane]) for lane in Lane] == [3, 3, 3]


def test_a_job_that_is_not_due_is_not_published(desk: Desk, broker: Broker) -> None:
    desk.submit()
    desk.sql("update outbox set run_at = now() + interval '1 minute'")

    assert dispatch(desk, broker) == 0


def test_while_another_publisher_is_at_work_nothing_is_published(desk: Desk, broker: Broker) -> None:
    desk.submit()
    with desk.database.transaction() as other:
        other.execute(text("select pg_advisory_xact_lock(:lock)"), {"lock": DISPATCH_LOCK})
        assert dispatch(desk, broker) == 0

    assert dispatch(desk, broker) == 1


def test_messages_that_redis_lost_are_published_again(desk: Desk, broker: Broker, redis: Redis) -> None:
    jobs = [desk.submit() for _ in range(3)]
    dispatch(desk, broker)
    redis.flushall()

    assert dispatch(desk, broker) == 0, "not before the repair delay is over"
    desk.sql("update outbox set published_at = published_at - interval '31 seconds'")
    assert dispatch(desk, broker) == 3
    assert sorted(messages(redis)) == sorted(jobs)


def test_a_message_lost_among_others_is_published_again_after_ten_times_the_delay(
    desk: Desk, broker: Broker, redis: Redis
) -> None:
    lost, waiting = desk.submit(), desk.submit()
    dispatch(desk, broker)
    redis.rpop(STANDARD)
    desk.sql("update outbox set published_at = published_at - interval '31 seconds' where job_id = :id", id=lost)
    assert dispatch(desk, broker) == 0

    desk.sql("update outbox set published_at = published_at - interval '300 seconds' where job_id = :id", id=lost)
    assert dispatch(desk, broker) == 1
    assert messages(redis) == [waiting, lost]


def test_messages_that_lie_for_long_but_are_all_there_are_not_sent_again(
    desk: Desk, broker: Broker, redis: Redis
) -> None:
    desk.submit()
    desk.submit()
    dispatch(desk, broker)
    desk.sql("update outbox set published_at = published_at - interval '3000 seconds'")

    assert dispatch(desk, broker) == 0
    assert redis.llen(STANDARD) == 2


def test_the_repair_stays_within_the_window(desk: Desk, broker: Broker, redis: Redis) -> None:
    for _ in range(6):
        desk.submit()
    dispatch(desk, broker, window=6)
    redis.flushall()
    desk.submit()

    assert dispatch(desk, broker, window=4, repair_seconds=0) == 4
    assert redis.llen(STANDARD) == 4


def test_a_nudge_that_comes_twice_starts_one_attempt(desk: Desk, broker: Broker, redis: Redis) -> None:
    identity = desk.submit()
    dispatch(desk, broker)
    redis.flushall()
    dispatch(desk, broker, repair_seconds=0)

    assert desk.try_claim(identity) is not None
    assert desk.try_claim(identity) is None


def test_while_redis_is_down_jobs_are_accepted_and_afterwards_the_backlog_drains(desk: Desk) -> None:
    home = Path(tempfile.mkdtemp(prefix="styleflow-redis-"))
    with ExitStack() as cleanup:
        cleanup.callback(shutil.rmtree, socket_folder(home), ignore_errors=True)
        cleanup.callback(shutil.rmtree, home, ignore_errors=True)
        server = start_redis(home)
        cleanup.callback(server.stop)
        broker = Broker(server.url)
        cleanup.callback(broker.close)
        desk.submit()
        assert dispatch(desk, broker) == 1
        server.stop()

        jobs = [desk.submit() for _ in range(3)]
        for _ in range(2):
            with pytest.raises(DependencyUnavailable):
                dispatch(desk, broker)
        assert desk.claim(jobs[0]).job_id == jobs[0], "workers that look for themselves go on"

        server = start_redis(home)
        cleanup.callback(server.stop)
        assert dispatch(desk, broker) == 2
        assert broker.waiting(Lane.STANDARD) == 3


class FailsAfter(Broker):
    """A broker whose connection breaks after some messages."""

    def __init__(self, redis_url: str, messages: int) -> None:
        super().__init__(redis_url)
        self.left = messages

    def publish(self, lane: str, job_id: str) -> None:
        if self.left == 0:
            raise DependencyUnavailable
        self.left -= 1
        super().publish(lane, job_id)


def test_what_was_published_before_the_broker_broke_is_not_published_twice(
    desk: Desk, broker: Broker, redis: Redis, redis_url: str
) -> None:
    jobs = [desk.submit() for _ in range(5)]
    breaking = FailsAfter(redis_url, messages=2)

    with pytest.raises(DependencyUnavailable):
        dispatch(desk, breaking)
    breaking.close()

    assert dispatch(desk, broker) == 3
    assert messages(redis) == jobs
