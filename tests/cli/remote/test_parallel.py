from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import closing

import pytest

from styleflow.cli.remote.parallel import in_parallel


def test_every_item_is_worked_on_once_and_at_most_so_many_at_a_time() -> None:
    lock, at_work, most = threading.Lock(), 0, 0

    def work(item: int) -> int:
        nonlocal at_work, most
        with lock:
            at_work += 1
            most = max(most, at_work)
        time.sleep(0.01)
        with lock:
            at_work -= 1
        return item * item

    assert sorted(in_parallel(work, range(20), 4)) == [number**2 for number in range(20)]
    assert 1 < most <= 4


def test_a_long_list_is_read_only_as_far_as_it_is_worked_on() -> None:
    read = 0

    def endless() -> Iterator[int]:
        nonlocal read
        while True:
            read += 1
            yield read

    with closing(in_parallel(lambda item: item, endless(), 3)) as results:
        for _ in range(10):
            next(results)
    assert read < 20


def test_an_error_of_the_work_reaches_the_caller_and_ends_the_threads() -> None:
    def work(item: int) -> int:
        if item == 3:
            raise ValueError("three")
        return item

    with pytest.raises(ValueError, match="three"):
        list(in_parallel(work, range(100), 2))
    deadline = time.monotonic() + 5
    while any(thread.name.startswith("parallel-") for thread in threading.enumerate()):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_closing_waits_for_nobody() -> None:
    release = threading.Event()
    results = in_parallel(lambda item: item or release.wait(30), [1, 0], 2)
    assert next(results) == 1
    begun = time.monotonic()
    results.close()  # type: ignore[attr-defined]  # it is a generator
    assert time.monotonic() - begun < 1
    release.set()
