from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from styleflow.cli.remote.pace import WINDOW_SECONDS, Pace, known_of, settled_of


def test_items_are_settled_or_waiting_and_duplicates_are_none() -> None:
    counts = {"listed": 5, "queued": 2, "running": 1, "succeeded": 7, "failed": 1, "invalid": 3, "deduplicated": 9}
    assert (settled_of(counts), known_of(counts)) == (11, 19)


def test_nothing_is_said_before_two_looks() -> None:
    pace = Pace()
    assert (pace.rate, pace.seconds_left(10)) == (None, None)
    pace.add(1.0, 5)
    assert (pace.rate, pace.seconds_left(10)) == (None, None)


@given(rate=st.integers(1, 100), looks=st.integers(2, 300))
def test_a_steady_pace_is_found(rate: int, looks: int) -> None:
    pace = Pace()
    for second in range(looks):
        pace.add(float(second), rate * second)
    assert pace.rate == pytest.approx(rate)
    assert pace.seconds_left(rate * 10) == pytest.approx(10)


def test_what_was_long_ago_does_not_count() -> None:
    pace = Pace()
    pace.add(0.0, 1000)
    pace.add(1.0, 2000)
    for second in range(2, 2 + 2 * int(WINDOW_SECONDS)):
        pace.add(float(second), 2000)
    assert pace.rate == 0
    assert pace.seconds_left(10) is None


def test_items_that_are_tried_again_begin_anew() -> None:
    pace = Pace()
    pace.add(0.0, 100)
    pace.add(1.0, 90)
    pace.add(2.0, 95)
    assert pace.rate == pytest.approx(5)
