"""Something that the light worker does again and again, and what happens when it goes wrong."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import psycopg
import structlog
from cryptography.fernet import InvalidToken
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from styleflow.errors import StyleFlowError
from styleflow.telemetry import DUTIES_BROKEN

log = structlog.get_logger(__name__)

TROUBLE = (DBAPIError, PoolTimeout, psycopg.Error, StyleFlowError, InvalidToken, OSError)
"""What a duty may meet when a neighbour is away: it is logged and the duty runs again."""
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 2.0, 300.0
"""After an error that nobody thought of: doubled each time that it comes again."""


@dataclass
class Duty:
    """Something to do again and again. `run` returns how much it did; a busy duty is repeated at once.

    An error that nobody thought of is a bug, most likely met over one row: it is logged with its traceback and counted,
    and the duty tries again, later and later. All others go on meanwhile, which they would not if one row could end
    the process again and again.
    """

    name: str
    every_seconds: float
    run: Callable[[], int]
    due_at: float = field(default=0.0)
    bugs: int = field(default=0)
    """Errors in a row that nobody thought of."""
    paused_until: float = field(default=0.0)
    """After such an error nothing wakes the duty before."""

    def tick(self) -> bool:
        """Run when due. True when it did something and may have more to do."""
        if time.monotonic() < max(self.due_at, self.paused_until):
            return False
        try:
            done = self.run()
        except TROUBLE as error:
            log.warning("duty_failed", duty=self.name, error=type(error).__name__, detail=str(error)[:200])
            done = 0
        except Exception:
            self._pause()
            log.exception("duty_broke", duty=self.name, in_a_row=self.bugs)
            return False
        self.bugs = 0
        self.due_at = time.monotonic() + (0.0 if done else self.every_seconds)
        return done > 0

    def _pause(self) -> None:
        DUTIES_BROKEN.labels(duty=self.name).inc()
        pause = min(FIRST_PAUSE_SECONDS * 2**self.bugs, LONGEST_PAUSE_SECONDS)
        self.bugs += 1
        self.paused_until = time.monotonic() + pause
