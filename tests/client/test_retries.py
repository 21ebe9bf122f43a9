"""Laws of trying again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

from hypothesis import given
from hypothesis import strategies as st

from styleflow.client.retries import Retries, backoff, next_pause, retry_after

SECONDS = st.floats(0, 1e6)
SHARE = st.floats(0, 1, exclude_max=True)


@given(st.integers(1, 10_000), SHARE)
def test_own_pauses_never_pass_the_most(failures: int, random: float) -> None:
    assert 0 <= backoff(Retries(), failures, random) <= Retries().most_seconds


@given(st.integers(1, 10), st.none() | SECONDS, st.none() | SECONDS, SHARE)
def test_a_pause_fits_into_the_time_and_is_no_shorter_than_asked(
    failures: int, asked: float | None, remaining: float | None, random: float
) -> None:
    pause = next_pause(Retries(), failures, asked=asked, remaining=remaining, random=random)

    if pause is not None:
        assert failures < Retries().attempts
        assert remaining is None or pause < remaining
        assert asked is None or asked <= pause <= asked + Retries().base_seconds


@given(st.text() | st.integers().map(str))
def test_any_retry_after_is_understood_or_ignored(text: str) -> None:
    found = retry_after({"retry-after": text}, 1_700_000_000.0)

    assert found is None or found >= 0


def test_retry_after_is_a_count_or_a_date() -> None:
    now = datetime(2026, 11, 20, tzinfo=UTC)

    assert retry_after({"retry-after": "7"}, now.timestamp()) == 7
    later = format_datetime(now + timedelta(seconds=9), usegmt=True)
    assert retry_after({"retry-after": later}, now.timestamp()) == 9
    assert retry_after({}, now.timestamp()) is None
