"""When a webhook is tried again, and what an answer means. Pure: no clock, no chance, no database."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Literal

MINUTE, HOUR = 60.0, 3600.0
SCHEDULE: tuple[float, ...] = (
    0.0,
    5.0,
    5 * MINUTE,
    30 * MINUTE,
    2 * HOUR,
    5 * HOUR,
    10 * HOUR,
    14 * HOUR,
    20 * HOUR,
    24 * HOUR,
)
"""Seconds to wait before each attempt, from the first on: 75.6 hours in all."""

JITTER = 0.2
RETRY_AFTER_AT_MOST = 24 * HOUR
BREAKER_FAILURES = 5
BREAKER_PAUSES = (30.0, 15 * MINUTE)
"""After so many failures in a row an endpoint is left alone for so long: at first, and at most."""
CONFIG_ERRORS = frozenset({"dns", "tls", "blocked_address"})
CONFIG_FAILURES = 3
"""After so many in a row the owner is told: time alone does not mend these."""
SLOW_SECONDS = 3.0
_BUSY = (429, 503)
_GONE = 410


@dataclass(frozen=True, kw_only=True)
class Settlement:
    """What follows from an attempt: the delivery's new state, and what becomes of its endpoint."""

    state: Literal["delivered", "pending", "failed"]
    delay_seconds: float | None = None
    """Until the next attempt; only when `pending`."""
    disables_endpoint: bool = False
    pause_seconds: float = 0.0
    """For which the endpoint asked to be sent nothing at all."""


def settle(status: int | None, attempt: int, jitter: float, retry_after: float | None) -> Settlement:
    """What an attempt's answer means. `status` None is no answer at all; `attempt` counts from 1, this one included.

    Only 2xx is success: a redirect is none, because it is not followed. 410 asks never to be called again.
    """
    if status is not None and 200 <= status < 300:
        return Settlement(state="delivered")
    if status == _GONE:
        return Settlement(state="failed", disables_endpoint=True)
    asked = retry_after if status in _BUSY else None
    delay = next_delay(attempt, jitter, asked)
    pause = min(asked or 0.0, RETRY_AFTER_AT_MOST)
    if delay is None:
        return Settlement(state="failed", pause_seconds=pause)
    return Settlement(state="pending", delay_seconds=delay, pause_seconds=pause)


def circuit_pause(failures: int) -> float:
    """Seconds for which an endpoint is left alone after so many failures in a row; 0 while its circuit is closed.

    When they are over, one request probes it: a success closes the circuit, a failure opens it for twice as long.
    """
    if failures < BREAKER_FAILURES:
        return 0.0
    first, longest = BREAKER_PAUSES
    return float(min(longest, first * 2 ** min(failures - BREAKER_FAILURES, 10)))


def config_failures(before: int, error: str | None) -> int:
    """Failures in a row of a class that only the owner can mend, after one more attempt that failed with `error`."""
    return before + 1 if error in CONFIG_ERRORS else 0


def next_delay(attempt: int, jitter: float, retry_after: float | None = None) -> float | None:
    """Seconds from the end of attempt number `attempt` (from 1) to the next; None when there is none.

    `jitter` in 0..1 spreads the wait over ±20 %. `retry_after` seconds, as the receiver asked, can only lengthen it,
    to a day at most.
    """
    if attempt >= len(SCHEDULE):
        return None
    planned = SCHEDULE[attempt] * (1 + JITTER * (2 * jitter - 1))
    return max(planned, min(retry_after or 0.0, RETRY_AFTER_AT_MOST))


def read_retry_after(value: str | None, now: datetime) -> float | None:
    """Seconds in a Retry-After header, which holds a number or a date; None when it is absent or malformed."""
    if value is None:
        return None
    if value.strip().isdecimal():
        return float(min(int(value.strip()[:12]), int(RETRY_AFTER_AT_MOST)))
    try:
        moment = parsedate_to_datetime(value)
        aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return min(max(0.0, (aware - now).total_seconds()), RETRY_AFTER_AT_MOST)
    except (ValueError, OverflowError):  # a year or an offset that no calendar has
        return None
