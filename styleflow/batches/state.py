"""Where a batch stands, and every decision about it that has cases. Pure: no clock, no session."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from styleflow.jobs.batch_counts import DEDUPLICATED, INVALID, LISTED
from styleflow.jobs.state import TERMINAL as TERMINAL_JOBS
from styleflow.jobs.state import JobState

Counts = Mapping[str, int]
"""Items by state, as `jobs.batch_counts.counts_of` gives them."""
FRESH_SHARE = 0.3
"""How much the newest sample says of the rate at which a batch drains."""


class BatchState(StrEnum):
    """Where the batch stands as a whole."""

    EXPANDING = "expanding"
    RUNNING = "running"
    PAUSED = "paused"
    CANCELING = "canceling"
    COMPLETED = "completed"
    COMPLETED_WITH_ERRORS = "completed_with_errors"
    CANCELED = "canceled"


TERMINAL = frozenset({BatchState.COMPLETED, BatchState.COMPLETED_WITH_ERRORS, BatchState.CANCELED})
FEEDING = frozenset({BatchState.EXPANDING, BatchState.RUNNING})
"""States in which items become jobs: the first ones run while the last ones are still being listed."""
EXPANDABLE = frozenset({BatchState.EXPANDING, BatchState.RUNNING, BatchState.PAUSED})
"""States in which items may still be listed."""


class StopReason(StrEnum):
    """Why a batch stopped of itself: its error's code."""

    TOO_MANY_ITEM_ERRORS = "too_many_item_errors"
    BUDGET_EXCEEDED = "budget_exceeded"


class Step(StrEnum):
    """What a batch needs next."""

    NOTHING = "nothing"
    CANCEL = "cancel"
    RETRY = "retry"
    STOP = "stop"
    CLOSE = "close"


@dataclass(frozen=True, kw_only=True)
class Standing:
    """What the decisions look at."""

    state: BatchState
    expanded: bool
    retry_requested: bool
    refused: bool
    """Its items could not all be listed."""
    max_item_errors: int | None
    budget_seconds: float | None
    spent_seconds: float
    counts: Counts


def going_on(*, expanded: bool) -> BatchState:
    """The state of a batch that is neither paused nor over."""
    return BatchState.RUNNING if expanded else BatchState.EXPANDING


def next_step(standing: Standing) -> Step:
    """What is to be done about it, the most pressing first."""
    open_items = standing.counts[LISTED] + in_flight(standing.counts)
    if standing.state in TERMINAL:
        return Step.NOTHING
    if standing.state is BatchState.CANCELING:
        return Step.CANCEL if open_items else Step.CLOSE
    if stop_reason(standing) is not None:
        return Step.STOP
    if standing.retry_requested:
        return Step.RETRY
    return Step.CLOSE if standing.expanded and not open_items else Step.NOTHING


def stop_reason(standing: Standing) -> StopReason | None:
    """Why a batch with work left must not go on, or None. What is done already needs no budget."""
    if standing.max_item_errors is not None and errors(standing.counts) >= standing.max_item_errors:
        return StopReason.TOO_MANY_ITEM_ERRORS
    work_left = not standing.expanded or standing.counts[LISTED] + in_flight(standing.counts)
    if standing.budget_seconds is not None and standing.spent_seconds >= standing.budget_seconds and work_left:
        return StopReason.BUDGET_EXCEEDED
    return None


def ended(standing: Standing) -> BatchState:
    """The terminal state of a batch of which nothing is left to do."""
    if standing.state is BatchState.CANCELING:
        return BatchState.CANCELED
    clean = not standing.refused and not errors(standing.counts) and not standing.counts[JobState.CANCELED]
    return BatchState.COMPLETED if clean else BatchState.COMPLETED_WITH_ERRORS


def in_flight(counts: Counts) -> int:
    """Items whose job is queued or running."""
    return counts[JobState.QUEUED] + counts[JobState.RUNNING]


def errors(counts: Counts) -> int:
    """Items that did not do what their owner wanted, by no wish of the owner's."""
    return counts[INVALID] + counts[JobState.FAILED] + counts[JobState.EXPIRED]


def settled(counts: Counts) -> int:
    """Items of which nothing more is to be expected."""
    return counts[INVALID] + sum(counts[state] for state in TERMINAL_JOBS)


def total(counts: Counts) -> int:
    """Items that are known so far; repetitions are none."""
    return sum(items for state, items in counts.items() if state != DEDUPLICATED)


def progress(counts: Counts, *, expanded: bool) -> float:
    """Share of the known items that are settled, 0 to 1; below 1 for as long as more may be listed."""
    known = total(counts)
    if not known:
        return 1.0 if expanded else 0.0
    share = settled(counts) / known
    return share if expanded else min(share, 0.99)


def drain_rate(before: float, drained: int, seconds: float) -> float:
    """Items a second that settle, smoothed over some samples. A batch that went backwards (a retry) drains nothing."""
    fresh = max(0, drained) / seconds
    return fresh if before == 0 else (1 - FRESH_SHARE) * before + FRESH_SHARE * fresh


def seconds_left(counts: Counts, rate: float) -> float | None:
    """At the rate at which it drains; None while nothing drains."""
    left = counts[LISTED] + in_flight(counts)
    return None if rate <= 0 or not left else left / rate
