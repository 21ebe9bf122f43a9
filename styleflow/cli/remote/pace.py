"""How fast a batch drains, and when it will be done. Pure: the caller has the clock."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

WINDOW_SECONDS = 60.0
SETTLED = ("succeeded", "failed", "canceled", "expired", "invalid")
WAITING = ("listed", "queued", "running")


def settled_of(counts: Mapping[str, int]) -> int:
    """Items that are done, one way or another. States that this version does not know are not counted."""
    return sum(counts.get(name, 0) for name in SETTLED)


def known_of(counts: Mapping[str, int]) -> int:
    """Items that were listed so far."""
    return settled_of(counts) + sum(counts.get(name, 0) for name in WAITING)


@dataclass
class Pace:
    """Items a second over the last minute."""

    _seen: deque[tuple[float, int]] = field(default_factory=deque)

    def add(self, now: float, settled: int) -> None:
        """`now` in seconds, rising. Fewer than before (items were tried again) begin anew."""
        if self._seen and settled < self._seen[-1][1]:
            self._seen.clear()
        self._seen.append((now, settled))
        while now - self._seen[0][0] > WINDOW_SECONDS and len(self._seen) > 2:
            self._seen.popleft()

    @property
    def rate(self) -> float | None:
        """None until two looks lie apart."""
        if not self._seen or (seconds := self._seen[-1][0] - self._seen[0][0]) <= 0:
            return None
        return (self._seen[-1][1] - self._seen[0][1]) / seconds

    def seconds_left(self, items: int) -> float | None:
        """Until so many more are settled at this rate; None where nothing can be said."""
        rate = self.rate
        return items / rate if rate else None
