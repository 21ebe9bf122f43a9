"""Whether to try again, and after how long. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime

RETRIED = frozenset({429, 502, 503, 504})
"""Statuses after which the same request may succeed, whoever wrote the answer."""
LONGEST_SECONDS = 10 * 365 * 86400.0


@dataclass(frozen=True, kw_only=True)
class Retries:
    """How persistent a call is."""

    attempts: int = 5
    """Requests of one call, the first included."""
    base_seconds: float = 0.5
    most_seconds: float = 20.0
    """Longest pause of our own choosing."""
    patience_seconds: float = 300.0
    """Longest pause that the service may ask for; beyond it the call fails at once, so that the caller can decide."""


def backoff(retries: Retries, failures: int, random: float) -> float:
    """Full jitter: anything from 0 to `base * 2^(failures - 1)`, at most `most_seconds`. `random` lies in [0, 1)."""
    doubled = retries.base_seconds * 2.0 ** min(failures - 1, 60)
    return random * min(retries.most_seconds, doubled)


def next_pause(
    retries: Retries, failures: int, *, asked: float | None, remaining: float | None, random: float
) -> float | None:
    """Seconds before the next try, never less than the service asked for; None when there is to be none.

    `failures` counts the tries so far, from 1; `asked` is the answer's Retry-After, `remaining` what is left of the
    caller's time. A pause that would use all of that is not begun.
    """
    if failures >= retries.attempts or (asked is not None and asked > retries.patience_seconds):
        return None
    pause = backoff(retries, failures, random)
    if asked is not None:
        pause = asked + min(pause, retries.base_seconds)
    return None if remaining is not None and pause >= remaining else pause


def retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """Seconds from now that the answer asks to wait: RFC 9110 10.2.3, a count or a date. None without, or with neither.

    Names of headers are in lower case; `now` is Unix seconds.
    """
    text = headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:12]), LONGEST_SECONDS)
    try:
        moment = parsedate_to_datetime(text)
        return max(0.0, moment.replace(tzinfo=moment.tzinfo or UTC).timestamp() - now)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
