from __future__ import annotations

from datetime import timedelta
from itertools import product
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from styleflow.broker import QUEUES
from styleflow.jobs.state import (
    MEANING,
    TERMINAL,
    TRANSITIONS,
    JobEvent,
    JobState,
    Lane,
    Standing,
    advance,
    after_failure,
    after_loss,
    after_release,
    at_claim,
    backoff,
    diagram,
    is_poison,
    look_again_in,
)
from styleflow.webhooks.announce import JOB_TYPES, TERMINAL_TYPES

PAGE = Path(__file__).parents[2] / "docs" / "concepts" / "jobs.md"


@st.composite
def standings(draw: st.DrawFn) -> Standing:
    most = draw(st.integers(1, 6))
    attempt = draw(st.integers(0, most))
    return Standing(
        attempt=attempt,
        max_attempts=most,
        crash_count=draw(st.integers(0, attempt)),
        started=draw(st.booleans()),
        cancel_requested=draw(st.booleans()),
        deadline_passed=draw(st.booleans()),
    )


@given(st.sampled_from(sorted(TERMINAL)), st.sampled_from(list(JobEvent)))
def test_no_event_moves_a_job_out_of_a_terminal_state(state: JobState, event: JobEvent) -> None:
    with pytest.raises(ValueError, match=f"a {state} job cannot {event}"):
        advance(state, event)


@given(st.lists(st.sampled_from(list(JobEvent))))
def test_every_path_of_possible_events_from_queued_stays_in_the_table(events: list[JobEvent]) -> None:
    state = JobState.QUEUED
    for event in events:
        if (state, event) in TRANSITIONS:
            assert state not in TERMINAL
            state = advance(state, event)


def test_every_state_but_queued_is_reached_and_every_open_state_can_be_left() -> None:
    assert set(TRANSITIONS.values()) == set(JobState)
    assert {state for state, _ in TRANSITIONS} == set(JobState) - TERMINAL


def test_every_move_says_what_it_means() -> None:
    assert set(MEANING) == set(TRANSITIONS)


@given(st.integers(1, 10_000), st.floats(0, 1))
def test_a_backoff_is_never_longer_than_fifteen_minutes_nor_than_its_step(attempt: int, jitter: float) -> None:
    assert 0 <= backoff(attempt, jitter) <= 900
    assert backoff(attempt, jitter) <= backoff(attempt, 1.0) <= backoff(attempt + 1, 1.0)


@pytest.mark.parametrize(("attempt", "longest"), [(1, 10), (2, 40), (3, 160), (4, 640), (5, 900), (60, 900)])
def test_the_longest_backoff_grows_fourfold_up_to_the_limit(attempt: int, longest: float) -> None:
    assert backoff(attempt, 1.0) == longest
    assert backoff(attempt, 0.0) == 0


@given(standings())
def test_a_queued_job_is_dropped_exactly_when_nobody_wants_it_any_more(standing: Standing) -> None:
    event = at_claim(standing)

    assert (event is JobEvent.CLAIM) == (not standing.cancel_requested and not standing.deadline_passed)
    assert (JobState.QUEUED, event) in TRANSITIONS
    assert event is not JobEvent.EXPIRE or not standing.started


@given(standings(), st.booleans())
def test_a_failed_attempt_is_retried_only_when_that_could_help_and_is_still_wanted(
    standing: Standing, retryable: bool
) -> None:
    event = after_failure(standing, retryable=retryable)

    assert (JobState.RUNNING, event) in TRANSITIONS
    if event is JobEvent.RETRY:
        assert retryable
        assert standing.attempts_left
        assert not standing.cancel_requested
        assert not standing.deadline_passed
    if not retryable or not standing.attempts_left:
        assert event is JobEvent.FAIL


@given(standings())
def test_a_lost_job_is_queued_again_only_while_it_has_attempts_and_is_wanted(standing: Standing) -> None:
    event = after_loss(standing)
    wanted = not standing.cancel_requested and not standing.deadline_passed

    assert (JobState.RUNNING, event) in TRANSITIONS
    assert (event is JobEvent.LOSE) == (wanted and standing.attempts_left)


@given(standings())
def test_a_released_job_goes_back_unless_its_cancel_was_requested(standing: Standing) -> None:
    assert after_release(standing) is (JobEvent.CANCEL if standing.cancel_requested else JobEvent.RELEASE)


@given(standings())
def test_only_a_job_whose_every_attempt_crashed_is_poison(standing: Standing) -> None:
    assert is_poison(standing) == (standing.attempt == standing.max_attempts == standing.crash_count)


def test_every_lane_has_a_queue_in_the_order_in_which_workers_look() -> None:
    assert list(QUEUES) == list(Lane)
    assert len(set(QUEUES.values())) == len(Lane)


def test_each_state_has_its_event_type_and_the_terminal_ones_are_marked() -> None:
    assert {f"job.{state}" for state in JobState} | {"job.progress"} == JOB_TYPES
    assert {f"job.{state}" for state in TERMINAL} == TERMINAL_TYPES


def test_the_page_on_jobs_shows_the_diagram_of_the_table() -> None:
    assert f"```mermaid\n{diagram()}```\n" in PAGE.read_text(encoding="utf-8")


def test_the_diagram_has_one_arrow_per_move() -> None:
    arrows = [line for line in diagram().splitlines() if "-->" in line]
    expected = [(s, e) for s, e in product(JobState, JobEvent) if (s, e) in TRANSITIONS]

    assert len(arrows) == len(expected) + len(TERMINAL) + 1


@pytest.mark.parametrize(("seconds", "pause"), [(0, 5), (49, 5), (300, 30), (6000, 600), (10**6, 600)])
def test_an_order_that_waits_looks_again_a_tenth_of_its_age_later(seconds: int, pause: int) -> None:
    assert look_again_in(timedelta(seconds=seconds)) == timedelta(seconds=pause)
