"""Where a job stands, which moves exist, and every decision about them that has cases. Pure: no clock, no session.

A job that reached a terminal state never moves again; trying once more is a new job.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from types import MappingProxyType

BACKOFF_FIRST_SECONDS = 10.0
BACKOFF_FACTOR = 4.0
BACKOFF_LIMIT_SECONDS = 900.0


class Lane(StrEnum):
    """Which queue a job waits in; in the order in which a worker that serves several looks at them."""

    REALTIME = "realtime"
    STANDARD = "standard"
    BULK = "bulk"


class JobState(StrEnum):
    """Where the job stands. Not whether the video could be judged: that is the outcome."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"
    EXPIRED = "expired"


TERMINAL = frozenset({JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELED, JobState.EXPIRED})


class JobEvent(StrEnum):
    """What can happen to a job."""

    CLAIM = "claim"
    SUCCEED = "succeed"
    FAIL = "fail"
    RETRY = "retry"
    RELEASE = "release"
    LOSE = "lose"
    CANCEL = "cancel"
    EXPIRE = "expire"


TRANSITIONS: Mapping[tuple[JobState, JobEvent], JobState] = MappingProxyType(
    {
        (JobState.QUEUED, JobEvent.CLAIM): JobState.RUNNING,
        (JobState.QUEUED, JobEvent.CANCEL): JobState.CANCELED,
        (JobState.QUEUED, JobEvent.EXPIRE): JobState.EXPIRED,
        (JobState.QUEUED, JobEvent.FAIL): JobState.FAILED,
        (JobState.RUNNING, JobEvent.SUCCEED): JobState.SUCCEEDED,
        (JobState.RUNNING, JobEvent.FAIL): JobState.FAILED,
        (JobState.RUNNING, JobEvent.RETRY): JobState.QUEUED,
        (JobState.RUNNING, JobEvent.RELEASE): JobState.QUEUED,
        (JobState.RUNNING, JobEvent.LOSE): JobState.QUEUED,
        (JobState.RUNNING, JobEvent.CANCEL): JobState.CANCELED,
    }
)

MEANING: Mapping[tuple[JobState, JobEvent], str] = MappingProxyType(
    {
        (JobState.QUEUED, JobEvent.CLAIM): "a worker claims it",
        (JobState.QUEUED, JobEvent.CANCEL): "cancel",
        (JobState.QUEUED, JobEvent.EXPIRE): "deadline before the first claim",
        (JobState.QUEUED, JobEvent.FAIL): "deadline while waiting to be tried again",
        (JobState.RUNNING, JobEvent.SUCCEED): "report stored",
        (JobState.RUNNING, JobEvent.FAIL): "permanent error, attempts used up, or deadline",
        (JobState.RUNNING, JobEvent.RETRY): "transient error, attempts left",
        (JobState.RUNNING, JobEvent.RELEASE): "the worker shuts down and gives it back",
        (JobState.RUNNING, JobEvent.LOSE): "the lease ran out, attempts left",
        (JobState.RUNNING, JobEvent.CANCEL): "cancel seen by the worker",
    }
)


def advance(state: JobState, event: JobEvent) -> JobState:
    """The state after `event`. Raises ValueError for a move that does not exist: rows are guarded, so it is a bug."""
    try:
        return TRANSITIONS[state, event]
    except KeyError:
        raise ValueError(f"a {state} job cannot {event}") from None


def backoff(attempt: int, jitter: float) -> float:
    """Seconds to wait after failed attempt number `attempt` (from 1): exponential, capped, with full jitter in 0..1."""
    # The exponent is capped too, since a float overflows long before an attempt counter does.
    longest = BACKOFF_FIRST_SECONDS * BACKOFF_FACTOR ** min(attempt - 1, 16)
    return jitter * min(BACKOFF_LIMIT_SECONDS, longest)


@dataclass(frozen=True, kw_only=True)
class Standing:
    """What the decisions below look at, read from one locked row."""

    attempt: int
    max_attempts: int
    crash_count: int
    started: bool
    cancel_requested: bool
    deadline_passed: bool

    @property
    def attempts_left(self) -> bool:
        return self.attempt < self.max_attempts


def at_claim(standing: Standing) -> JobEvent:
    """What becomes of a queued job that a worker reaches for, or that the rescue finds late."""
    if standing.cancel_requested:
        return JobEvent.CANCEL
    if standing.deadline_passed:
        return JobEvent.FAIL if standing.started else JobEvent.EXPIRE
    return JobEvent.CLAIM


def after_failure(standing: Standing, *, retryable: bool) -> JobEvent:
    """What becomes of a running job whose attempt ended with an error."""
    if not retryable or not standing.attempts_left or standing.deadline_passed:
        return JobEvent.FAIL
    return JobEvent.CANCEL if standing.cancel_requested else JobEvent.RETRY


def after_release(standing: Standing) -> JobEvent:
    """What becomes of a running job that its worker gives back."""
    return JobEvent.CANCEL if standing.cancel_requested else JobEvent.RELEASE


def after_loss(standing: Standing) -> JobEvent:
    """What becomes of a running job whose lease ran out; `crash_count` already counts this loss."""
    if standing.cancel_requested:
        return JobEvent.CANCEL
    if standing.deadline_passed or not standing.attempts_left:
        return JobEvent.FAIL
    return JobEvent.LOSE


def is_poison(standing: Standing) -> bool:
    """True when the attempts are used up and every one of them took its worker down."""
    return not standing.attempts_left and standing.crash_count >= standing.attempt


def diagram() -> str:
    """The transition table as a Mermaid state diagram; docs/concepts/jobs.md shows it."""
    moves = [f"    {state} --> {TRANSITIONS[state, event]}: {MEANING[state, event]}" for state, event in TRANSITIONS]
    ends = [f"    {state} --> [*]" for state in JobState if state in TERMINAL]
    return "\n".join(["stateDiagram-v2", "    [*] --> queued: submit", *moves, *ends]) + "\n"


def look_again_in(age: timedelta) -> timedelta:
    """When an order of that age that waits for jobs under way looks again: a tenth of its age later, so that it is late
    by no more than that, and a queue of days costs few looks."""
    return min(max(age / 10, timedelta(seconds=5)), timedelta(minutes=10))
