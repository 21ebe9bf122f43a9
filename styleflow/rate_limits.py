"""Token buckets that all API processes share: in Redis, one call a request, refill and decision in one script.

When Redis does not answer, requests go through uncounted: a limit protects the service, and a service that refuses work
because its limiter is away protects nothing. The script keeps the rules of token_bucket.py; a test holds them together.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import monotonic

import structlog
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from styleflow.broker import redis_py_url
from styleflow.telemetry import RATE_LIMIT_SKIPPED
from styleflow.token_bucket import Level, Policy

TIMEOUT_SECONDS = 0.25
"""The limiter is in front of every request, so it gives up long before a caller would."""
AWAY_SECONDS = 1.0
"""After a failure no request asks Redis for so long: each would lose the timeout."""
PREFIX = "styleflow:rate:"

# Whole milliseconds of Redis' own clock, so that API processes need not agree on theirs. ARGV[1] overrides it in tests.
_SCRIPT = """
local now = tonumber(ARGV[1])
if now < 0 then
  local time = redis.call('TIME')
  now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end
local allowed, units, moments = 1, {}, {}
for i, key in ipairs(KEYS) do
  local quota, window = tonumber(ARGV[2 * i]), tonumber(ARGV[2 * i + 1])
  local stored = redis.call('HMGET', key, 'units', 'at')
  local at = tonumber(stored[2] or now)
  local elapsed = math.min(math.max(now - at, 0), window)
  units[i] = math.min(quota * window, tonumber(stored[1] or quota * window) + elapsed * quota)
  moments[i] = math.max(now, at)
  if units[i] < window then allowed = 0 end
end
local answer = {allowed}
for i, key in ipairs(KEYS) do
  local window = tonumber(ARGV[2 * i + 1])
  if allowed == 1 then
    units[i] = units[i] - window
    redis.call('HSET', key, 'units', string.format('%.0f', units[i]), 'at', string.format('%.0f', moments[i]))
    redis.call('PEXPIRE', key, window)
  end
  answer[#answer + 1] = units[i]
  answer[#answer + 1] = moments[i]
end
return answer
"""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Bucket:
    """One bucket: whose it is, and by which policy."""

    owner: str
    policy: Policy

    @property
    def key(self) -> str:
        return f"{PREFIX}{self.policy.name}:{self.owner}"


class RateLimiter:
    """Takes requests out of buckets. A call ends within about a quarter of a second, whatever state Redis is in."""

    def __init__(self, redis_url: str, *, clock: Callable[[], float] = monotonic) -> None:
        self._redis = Redis.from_url(
            redis_py_url(redis_url),
            socket_timeout=TIMEOUT_SECONDS,
            socket_connect_timeout=TIMEOUT_SECONDS,
            retry=Retry(NoBackoff(), 0),
        )
        self._script = self._redis.register_script(_SCRIPT)
        self._clock = clock
        self._away_until = 0.0

    def take(self, buckets: Sequence[Bucket], now_ms: int = -1) -> tuple[bool, list[Level]] | None:
        """Whether one request may go, and what the buckets hold then; None when Redis does not answer.

        `now_ms` below 0 is Redis' own clock.
        """
        if self._clock() < self._away_until:
            RATE_LIMIT_SKIPPED.inc()
            return None
        arguments = [number for bucket in buckets for number in (bucket.policy.quota, bucket.policy.window_ms)]
        try:
            allowed, *numbers = self._script([bucket.key for bucket in buckets], [now_ms, *arguments])
        except (RedisError, OSError) as error:
            self._away(error)
            return None
        return bool(allowed), [Level(*pair) for pair in zip(numbers[::2], numbers[1::2], strict=True)]

    def close(self) -> None:
        self._redis.close()

    def _away(self, error: Exception) -> None:
        self._away_until = self._clock() + AWAY_SECONDS
        RATE_LIMIT_SKIPPED.inc()
        _log.warning("rate_limiter_away", error=type(error).__name__, retry_in=AWAY_SECONDS)
