"""What becomes of a batch, without a database."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from styleflow.batches import state
from styleflow.batches.state import BatchState, Standing, Step, ended, next_step
from styleflow.jobs.batch_counts import COUNTED

NONE = dict.fromkeys(map(str, COUNTED), 0)
COUNTS = st.fixed_dictionaries({name: st.integers(0, 5) for name in NONE})


def standing(counts: dict[str, int] | None = None, **changes: Any) -> Standing:
    values: dict[str, Any] = {
        "state": BatchState.RUNNING,
        "expanded": True,
        "retry_requested": False,
        "refused": False,
        "max_item_errors": None,
        "budget_seconds": None,
        "spent_seconds": 0.0,
    }
    return Standing(**{**values, **changes}, counts={**NONE, **(counts or {})})


STANDINGS = st.builds(
    Standing,
    state=st.sampled_from(BatchState),
    expanded=st.booleans(),
    retry_requested=st.booleans(),
    refused=st.booleans(),
    max_item_errors=st.none() | st.integers(1, 5),
    budget_seconds=st.none() | st.floats(1, 100),
    spent_seconds=st.floats(0, 200),
    counts=COUNTS,
)


@given(STANDINGS)
def test_a_batch_is_closed_only_when_nothing_of_it_is_left(found: Standing) -> None:
    if next_step(found) is Step.CLOSE:
        assert not found.counts["listed"] + found.counts["queued"] + found.counts["running"]
        assert found.expanded or found.state is BatchState.CANCELING


@given(STANDINGS)
def test_a_batch_that_is_over_needs_nothing_and_a_canceling_one_always_something(found: Standing) -> None:
    if found.state in state.TERMINAL:
        assert next_step(found) is Step.NOTHING
    if found.state is BatchState.CANCELING:
        assert next_step(found) in (Step.CANCEL, Step.CLOSE)


@given(STANDINGS)
def test_an_end_is_an_end(found: Standing) -> None:
    assert ended(found) in state.TERMINAL


@pytest.mark.parametrize(
    ("counts", "changes", "end"),
    [
        ({"succeeded": 3}, {}, BatchState.COMPLETED),
        ({"succeeded": 3, "deduplicated": 2}, {}, BatchState.COMPLETED),
        ({"succeeded": 3, "failed": 1}, {}, BatchState.COMPLETED_WITH_ERRORS),
        ({"succeeded": 3, "expired": 1}, {}, BatchState.COMPLETED_WITH_ERRORS),
        ({"succeeded": 3, "canceled": 1}, {}, BatchState.COMPLETED_WITH_ERRORS),
        ({"invalid": 1}, {}, BatchState.COMPLETED_WITH_ERRORS),
        ({}, {"refused": True}, BatchState.COMPLETED_WITH_ERRORS),
        ({"succeeded": 3}, {"state": BatchState.CANCELING}, BatchState.CANCELED),
    ],
)
def test_how_a_batch_ended_says_whether_all_went_well(
    counts: dict[str, int], changes: dict[str, Any], end: BatchState
) -> None:
    assert ended(standing(counts, **changes)) is end


@pytest.mark.parametrize(
    ("counts", "changes", "step"),
    [
        ({"listed": 1}, {}, Step.NOTHING),
        ({"succeeded": 1}, {"expanded": False}, Step.NOTHING),
        ({"succeeded": 1}, {}, Step.CLOSE),
        ({"succeeded": 1}, {"state": BatchState.PAUSED}, Step.CLOSE),
        ({"failed": 1}, {"retry_requested": True}, Step.RETRY),
        ({"listed": 9, "failed": 1, "invalid": 1}, {"max_item_errors": 2}, Step.STOP),
        ({"listed": 9, "failed": 1}, {"max_item_errors": 2}, Step.NOTHING),
        ({"listed": 9}, {"budget_seconds": 5.0, "spent_seconds": 5.0}, Step.STOP),
        ({"listed": 9}, {"budget_seconds": 5.0, "spent_seconds": 4.9}, Step.NOTHING),
        ({"succeeded": 9}, {"budget_seconds": 5.0, "spent_seconds": 9.0}, Step.CLOSE),
        ({"listed": 9}, {"state": BatchState.CANCELING}, Step.CANCEL),
        ({"canceled": 9}, {"state": BatchState.CANCELING, "expanded": False}, Step.CLOSE),
    ],
)
def test_what_a_batch_needs_next(counts: dict[str, int], changes: dict[str, Any], step: Step) -> None:
    assert next_step(standing(counts, **changes)) is step


@given(COUNTS, st.booleans())
def test_progress_is_a_share_and_whole_only_when_all_is_settled(counts: dict[str, int], expanded: bool) -> None:
    share = state.progress(counts, expanded=expanded)

    assert 0 <= share <= 1
    if share == 1:
        assert expanded
        assert not counts["listed"] + counts["queued"] + counts["running"]


def test_the_time_left_follows_the_rate_at_which_it_drains() -> None:
    rate = state.drain_rate(0.0, 50, 10.0)

    assert rate == 5.0
    assert state.seconds_left({**NONE, "listed": 90, "running": 10}, rate) == 20.0
    assert state.seconds_left({**NONE, "listed": 90}, 0.0) is None
    assert state.drain_rate(5.0, -100, 10.0) == pytest.approx(3.5)
