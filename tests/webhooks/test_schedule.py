from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from styleflow.webhooks.schedule import RETRY_AFTER_AT_MOST, SCHEDULE, next_delay, read_retry_after, settle

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
attempts, chances = st.integers(1, 30), st.floats(0, 1)


def test_the_schedule_is_the_documented_list() -> None:
    minute, hour = 60, 3600

    assert (
        0, 5, 5 * minute, 30 * minute, 2 * hour, 5 * hour, 10 * hour, 14 * hour, 20 * hour, 24 * hour,
    ) == SCHEDULE  # fmt: skip
    assert sum(SCHEDULE) / hour == pytest.approx(75.6, abs=0.05)


def test_each_attempt_but_the_last_has_a_next_one() -> None:
    delays = [next_delay(attempt, jitter=0.5) for attempt in range(1, len(SCHEDULE) + 1)]

    assert delays == [*SCHEDULE[1:], None]


@given(attempts, chances)
def test_jitter_moves_the_next_attempt_by_a_fifth_at_most(attempt: int, jitter: float) -> None:
    delay = next_delay(attempt, jitter)

    if delay is None:
        assert attempt >= len(SCHEDULE)
    else:
        assert 0.8 * SCHEDULE[attempt] <= delay <= 1.2 * SCHEDULE[attempt]


@given(attempts, chances, st.floats(0, 1e9))
def test_a_receiver_can_ask_for_a_longer_wait_up_to_a_day(attempt: int, jitter: float, asked: float) -> None:
    plain, delay = next_delay(attempt, jitter), next_delay(attempt, jitter, asked)

    assert (plain is None) == (delay is None)
    if plain is not None and delay is not None:
        assert delay >= plain
        assert delay == max(plain, min(asked, 24 * 3600))


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_any_2xx_is_a_delivery(status: int) -> None:
    assert settle(status, 1, 0.5, None).state == "delivered"


@pytest.mark.parametrize("status", [None, 100, 199, 300, 301, 302, 304, 307, 400, 401, 404, 422, 500, 502, 504])
def test_anything_else_is_tried_again(status: int | None) -> None:
    settlement = settle(status, 1, 0.5, None)

    assert (settlement.state, settlement.delay_seconds, settlement.disables_endpoint) == ("pending", 5.0, False)


def test_gone_disables_the_endpoint_at_once() -> None:
    settlement = settle(410, 1, 0.5, None)

    assert (settlement.state, settlement.disables_endpoint) == ("failed", True)


def test_the_last_failure_ends_the_delivery() -> None:
    assert settle(500, len(SCHEDULE), 0.5, None).state == "failed"


@pytest.mark.parametrize(("status", "delay"), [(429, 3600.0), (503, 3600.0), (500, 5.0), (404, 5.0)])
def test_only_a_busy_receiver_is_given_the_time_that_it_asks_for(status: int, delay: float) -> None:
    assert settle(status, 1, 0.5, 3600.0).delay_seconds == delay


@given(st.none() | st.integers(100, 599), attempts, chances, st.none() | st.floats(0, 1e6))
def test_a_pending_delivery_and_no_other_has_a_next_time(
    status: int | None, attempt: int, jitter: float, asked: float | None
) -> None:
    settlement = settle(status, attempt, jitter, asked)

    assert (settlement.state == "pending") == (settlement.delay_seconds is not None)
    assert settlement.disables_endpoint == (status == 410)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("120", 120.0),
        (" 120 ", 120.0),
        ("0", 0.0),
        ("9" * 400, 86400.0),
        ("Fri, 20 Nov 2026 12:01:00 GMT", 60.0),
        ("Fri, 20 Nov 2026 11:00:00 GMT", 0.0),
        ("Fri, 20 Nov 2026 12:01:00", 60.0),
        ("-5", None),
        ("1.5", None),
        ("soon", None),
        ("", None),
    ],
)
def test_retry_after_is_read_as_seconds_or_as_a_date(value: str | None, seconds: float | None) -> None:
    assert read_retry_after(value, NOW) == seconds


@given(st.text(max_size=40))
def test_no_retry_after_header_is_an_error(value: str) -> None:
    seconds = read_retry_after(value, NOW)

    assert seconds is None or seconds >= 0


@pytest.mark.parametrize(
    "value",
    [
        "Mon, 01 Jan 2024 00:00:00 +9999999999999999",
        "Mon, 99999999999999999999 Jan 2024 00:00:00 GMT",
        "Fri, 31 Dec 9999 23:59:59 -2359",
        "Mon, 01 Jan 0001 00:00:00 +2359",
    ],
)
def test_a_date_that_no_calendar_has_is_no_error(value: str) -> None:
    seconds = read_retry_after(value, NOW)

    assert seconds is None or 0 <= seconds <= RETRY_AFTER_AT_MOST


def test_a_date_in_another_zone_is_the_same_moment() -> None:
    later = (NOW + timedelta(seconds=90)).strftime("%a, %d %b %Y %H:%M:%S +0000")

    assert read_retry_after(later, NOW) == 90.0
