from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from celery.app.defaults import DEFAULTS
from redis import Redis

from styleflow.broker import QUEUES, TASK_NAME, Broker, celery_app
from styleflow.embedded import Server, socket_folder, start_redis
from styleflow.errors import DependencyUnavailable

WORKER = """
import sys
from redis import Redis
from styleflow.broker import QUEUES, TASK_NAME, celery_app

app = celery_app(sys.argv[1])
seen = open(sys.argv[2], "a", buffering=1)

@app.task(name=TASK_NAME)
def run_job(job_id):
    print(job_id, file=seen)

app.Worker(pool_cls="threads", concurrency=1, queues=list(QUEUES.values()), loglevel="ERROR",
           without_gossip=True, without_mingle=True, without_heartbeat=True).start()
"""


@pytest.fixture
def home() -> Iterator[Path]:
    home = Path(tempfile.mkdtemp(prefix="styleflow-broker-"))
    yield home
    shutil.rmtree(socket_folder(home), ignore_errors=True)
    shutil.rmtree(home, ignore_errors=True)


@pytest.fixture
def server(home: Path) -> Iterator[Server]:
    server = start_redis(home)
    yield server
    server.stop()


@pytest.fixture
def broker(redis_url: str) -> Iterator[Broker]:
    broker = Broker(redis_url)
    yield broker
    broker.close()


def test_a_message_carries_the_task_and_the_id_and_nothing_else(broker: Broker, redis_url: str) -> None:
    broker.publish("bulk", "job_1")

    with Redis(unix_socket_path=redis_url.removeprefix("redis+socket://")) as redis:
        message = json.loads(redis.lindex("styleflow.bulk", 0))
    assert message["headers"]["task"] == TASK_NAME
    assert message["content-type"] == "application/json"
    assert json.loads(base64.b64decode(message["body"]))[:2] == [["job_1"], {}]


def test_each_lane_has_its_own_list(broker: Broker) -> None:
    for count, lane in enumerate(QUEUES, start=1):
        for _ in range(count):
            broker.publish(lane, "job_1")

    assert [broker.waiting(lane) for lane in QUEUES] == [1, 2, 3]


def test_an_unknown_lane_makes_no_list(broker: Broker) -> None:
    with pytest.raises(KeyError):
        broker.publish("express", "job_1")


def test_a_redis_that_was_stopped_is_reported_at_once_and_used_again_when_it_is_back(
    home: Path, server: Server
) -> None:
    broker = Broker(server.url)
    broker.publish("bulk", "job_1")
    assert broker.is_reachable()
    server.stop()

    started = time.monotonic()
    with pytest.raises(DependencyUnavailable):
        broker.publish("bulk", "job_2")
    with pytest.raises(DependencyUnavailable):
        broker.waiting("bulk")
    assert not broker.is_reachable()
    assert time.monotonic() - started < 3

    again = start_redis(home)
    broker.publish("bulk", "job_3")
    assert broker.waiting("bulk") == 2
    broker.close()
    again.stop()


def test_a_redis_that_hangs_holds_a_publisher_for_about_two_seconds(server: Server) -> None:
    broker = Broker(server.url)
    broker.publish("bulk", "job_1")
    os.kill(server.process.pid, signal.SIGSTOP)
    started = time.monotonic()
    try:
        with pytest.raises(DependencyUnavailable):
            broker.publish("bulk", "job_2")
    finally:
        os.kill(server.process.pid, signal.SIGCONT)

    assert time.monotonic() - started < 4
    broker.publish("bulk", "job_3")
    broker.close()


def test_every_setting_is_one_that_celery_knows() -> None:
    app = celery_app("redis://localhost")

    set_here = set(app.conf.changes or {}) - {"deprecated_settings"}  # Celery's own note
    assert {"task_acks_late", "worker_disable_prefetch", "broker_transport_options"} <= set_here <= set(DEFAULTS)


def test_a_message_is_acknowledged_early_and_taken_only_into_a_free_slot() -> None:
    conf = celery_app("redis://localhost").conf

    assert (conf.task_acks_late, conf.task_ignore_result) == (False, True)
    assert conf.result_backend is None
    assert (conf.worker_prefetch_multiplier, conf.worker_disable_prefetch) == (1, True)
    assert list(conf.accept_content) == ["json"]


def test_a_worker_takes_up_its_work_after_redis_was_restarted_and_flushed(home: Path) -> None:
    server = start_redis(home)
    seen = home / "seen"
    seen.touch()
    broker = Broker(server.url)
    with subprocess.Popen([sys.executable, "-c", WORKER, server.url, str(seen)]) as worker:
        try:
            broker.publish("bulk", "job_1")
            wait_for(seen, ["job_1"])
            server.stop()
            server = start_redis(home)
            broker.publish("standard", "job_2")
            wait_for(seen, ["job_1", "job_2"])
            with Redis(unix_socket_path=server.url.removeprefix("redis+socket://")) as redis:
                redis.flushall()
            broker.publish("realtime", "job_3")
            wait_for(seen, ["job_1", "job_2", "job_3"])
        finally:
            worker.terminate()
            worker.wait(20)
            broker.close()
            server.stop()


def test_a_worker_asks_the_urgent_lane_first_and_the_others_for_every_tenth_message(home: Path, server: Server) -> None:
    seen = home / "seen"
    seen.touch()
    broker = Broker(server.url)
    for lane, count in {"bulk": 2, "standard": 2, "realtime": 20}.items():
        for number in range(count):
            broker.publish(lane, f"{lane}{number}")
    with subprocess.Popen([sys.executable, "-c", WORKER, server.url, str(seen)]) as worker:
        try:
            urgent = [f"realtime{number}" for number in range(20)]
            others = ["standard1", "bulk0", "bulk1"]
            wait_for(seen, [*urgent[:9], "standard0", *urgent[9:18], *others[:1], *urgent[18:], *others[1:]])
        finally:
            worker.terminate()
            worker.wait(20)
            broker.close()


def wait_for(seen: Path, lines: list[str], timeout: float = 40) -> None:
    deadline = time.monotonic() + timeout
    while seen.read_text().split() != lines:
        assert time.monotonic() < deadline, f"{seen.read_text().split()} instead of {lines}"
        time.sleep(0.05)
