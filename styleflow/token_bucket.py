"""The token bucket as arithmetic on whole numbers: who may go through now, and how long the others wait.

A bucket holds units: each millisecond adds `quota` of them, a request takes `window_ms`, and it holds at most
`quota * window_ms`. So no division rounds, and the Lua script of rate_limits.py comes to exactly the same numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

MAX_QUOTA = 1_000_000
"""Requests per window. Times the longest window it stays far below 2**53, where Lua's numbers stop being exact."""
MAX_WINDOW_SECONDS = 86_400


@dataclass(frozen=True)
class Policy:
    """At most `quota` requests at once, and in the long run so many per `window_seconds`."""

    name: str
    quota: int
    window_seconds: int = 60

    def __post_init__(self) -> None:
        """Raises ValueError outside 1..MAX_QUOTA requests and 1..MAX_WINDOW_SECONDS."""
        if not (1 <= self.quota <= MAX_QUOTA and 1 <= self.window_seconds <= MAX_WINDOW_SECONDS):
            raise ValueError(f"policy {self.name}: {self.quota} requests in {self.window_seconds} s")

    @property
    def window_ms(self) -> int:
        return self.window_seconds * 1000

    @property
    def capacity(self) -> int:
        """Units of a full bucket."""
        return self.quota * self.window_ms


@dataclass(frozen=True)
class Level:
    """What a bucket held at a moment of the store's clock, in milliseconds."""

    units: int
    at_ms: int


def refilled(policy: Policy, level: Level | None, now_ms: int) -> Level:
    """The bucket now. One that nobody has taken from is full; a clock that went back adds nothing and takes nothing."""
    if level is None:
        return Level(policy.capacity, now_ms)
    elapsed = min(max(now_ms - level.at_ms, 0), policy.window_ms)
    return Level(min(policy.capacity, level.units + elapsed * policy.quota), max(now_ms, level.at_ms))


def take(policies: Sequence[Policy], levels: Sequence[Level | None], now_ms: int) -> tuple[bool, list[Level]]:
    """One request out of every bucket, or out of none when one of them has too little.

    The levels as they are then; those of a refusal need not be kept.
    """
    now = [refilled(policy, level, now_ms) for policy, level in zip(policies, levels, strict=True)]
    allowed = all(level.units >= policy.window_ms for policy, level in zip(policies, now, strict=True))
    if not allowed:
        return False, now
    return True, [
        Level(level.units - policy.window_ms, level.at_ms) for policy, level in zip(policies, now, strict=True)
    ]


def remaining(policy: Policy, level: Level) -> int:
    """Requests that could go through at once."""
    return level.units // policy.window_ms


def seconds_to_next(policy: Policy, level: Level) -> int:
    """Whole seconds, rounded up, until one request more could go through than can now; 0 for a full bucket."""
    if level.units >= policy.capacity:
        return 0
    missing = (remaining(policy, level) + 1) * policy.window_ms - level.units
    return -(-missing // (policy.quota * 1000))
