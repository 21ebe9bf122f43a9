"""The script in Redis comes to the numbers of the arithmetic, and its absence holds nobody up."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis import Redis

from styleflow.rate_limits import Bucket, RateLimiter
from styleflow.telemetry import RATE_LIMIT_SKIPPED
from styleflow.token_bucket import MAX_QUOTA, Level, Policy, take

policies = st.builds(
    Policy, st.just("reads"), st.one_of(st.integers(1, 6), st.integers(1, MAX_QUOTA)), st.integers(60, 86_400)
)
steps = st.lists(st.one_of(st.integers(-5_000, 60_000), st.integers(0, 10**8)), min_size=1, max_size=25)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(policies, min_size=1, max_size=3), steps)
def test_the_script_decides_as_the_arithmetic_does(redis_url: str, given_: list[Policy], gaps: list[int]) -> None:
    limiter = RateLimiter(redis_url)
    buckets = [Bucket(f"{uuid4().hex}", policy) for policy in given_]
    levels: list[Level | None] = [None] * len(buckets)
    now = 1_800_000_000_000
    for gap in gaps:
        now += gap
        expected = take(given_, levels, now)
        assert limiter.take(buckets, now) == expected
        levels = [*expected[1]] if expected[0] else levels
    limiter.close()


def test_many_at_once_never_get_more_than_there_is(redis_url: str) -> None:
    limiter = RateLimiter(redis_url)
    bucket = Bucket("all", Policy("writes", 20, 3_600))
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: limiter.take([bucket]), range(100)))
    limiter.close()
    assert sum(answer is not None and answer[0] for answer in answers) == 20


def test_a_bucket_that_is_full_again_leaves_nothing_behind(redis_url: str) -> None:
    limiter = RateLimiter(redis_url)
    bucket = Bucket("short", Policy("reads", 5, 1))
    assert limiter.take([bucket]) is not None
    limiter.close()
    client = Redis(unix_socket_path=redis_url.removeprefix("redis+socket://"))
    assert 0 < client.pttl(bucket.key) <= 1_000
    client.close()


def test_without_redis_requests_go_through_counted_by_a_metric_and_at_once(tmp_path: Path) -> None:
    limiter = RateLimiter(f"redis+socket://{tmp_path}/nobody.sock")
    before = RATE_LIMIT_SKIPPED._value.get()
    started = time.monotonic()
    answers = [limiter.take([Bucket("all", Policy("reads", 1))]) for _ in range(50)]
    limiter.close()
    assert answers == [None] * 50
    assert time.monotonic() - started < 2
    assert RATE_LIMIT_SKIPPED._value.get() == before + 50


def test_when_redis_comes_back_it_counts_again(redis_url: str, tmp_path: Path) -> None:
    now = [0.0]
    limiter = RateLimiter(redis_url, clock=lambda: now[0])
    bucket = Bucket("back", Policy("reads", 5, 60))
    limiter._away(ConnectionError())
    assert limiter.take([bucket]) is None
    now[0] = 1.5
    assert limiter.take([bucket]) is not None
    limiter.close()
