"""The laws of a token bucket, whatever comes in and whenever."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from styleflow.token_bucket import MAX_QUOTA, Level, Policy, refilled, remaining, seconds_to_next, take

policies = st.builds(Policy, st.just("reads"), st.integers(1, 50), st.integers(1, 10))
pauses = st.lists(st.integers(0, 3_000), max_size=80)


def moments(gaps: list[int]) -> list[int]:
    now, seen = 1_000_000, []
    for gap in gaps:
        now += gap
        seen.append(now)
    return seen


@given(policies, pauses)
def test_within_any_stretch_no_more_go_through_than_a_full_bucket_and_what_flowed_in(
    policy: Policy, gaps: list[int]
) -> None:
    level: Level | None = None
    passed: list[int] = []
    for now in moments(gaps):
        allowed, (level,) = take([policy], [level], now)
        passed += [now] if allowed else []
    for first, begin in enumerate(passed):
        for last, end in enumerate(passed[first:], first):
            spent = (last - first + 1) * policy.window_ms
            assert spent <= policy.capacity + (end - begin) * policy.quota


@given(policies, pauses)
def test_who_waits_as_long_as_told_goes_through(policy: Policy, gaps: list[int]) -> None:
    level: Level | None = None
    for now in moments(gaps):
        allowed, (level,) = take([policy], [level], now)
        if not allowed:
            assert remaining(policy, level) == 0
            pause = seconds_to_next(policy, level)
            assert pause >= 1
            assert take([policy], [level], now + pause * 1000)[0]
            assert not take([policy], [level], now + (pause - 1) * 1000)[0] or pause == 1


@given(policies, st.integers(0, 500_000), st.integers(0, 100_000))
def test_a_level_never_leaves_the_bucket_and_a_clock_that_goes_back_changes_nothing(
    policy: Policy, units: int, back: int
) -> None:
    level = Level(min(units, policy.capacity), 200_000)
    assert refilled(policy, level, 200_000 - back) == level
    later = refilled(policy, level, 200_000 + back)
    assert level.units <= later.units <= policy.capacity
    assert refilled(policy, level, 200_000 + policy.window_ms).units == policy.capacity


@given(policies, policies, pauses)
def test_a_request_is_taken_out_of_every_bucket_or_of_none(one: Policy, other: Policy, gaps: list[int]) -> None:
    assume(one != other)
    levels: list[Level | None] = [None, None]
    for now in moments(gaps):
        before = [refilled(policy, level, now) for policy, level in zip((one, other), levels, strict=True)]
        allowed, after = take([one, other], levels, now)
        taken = [earlier.units - later.units for earlier, later in zip(before, after, strict=True)]
        assert taken == ([one.window_ms, other.window_ms] if allowed else [0, 0])
        levels = [*after]


@pytest.mark.parametrize(("quota", "window"), [(0, 60), (-1, 60), (MAX_QUOTA + 1, 60), (1, 0), (1, 86_401)])
def test_a_policy_without_sense_is_refused(quota: int, window: int) -> None:
    with pytest.raises(ValueError, match="policy reads"):
        Policy("reads", quota, window)
