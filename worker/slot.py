"""The one job that a worker process carries out at a time, however it was told of it: by a nudge or by looking."""

from __future__ import annotations

import threading
import time

import structlog
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from styleflow.jobs import dispatch
from worker.execution import Execution

log = structlog.get_logger(__name__)

HAND_BACK_SECONDS = 2.0


class Slot:
    """Runs one job at a time. Looks for work by itself after a while without nudges.

    Celery workers are known to stay deaf after their broker came back (celery/celery#10302); looking cures that, and
    keeps a backlog draining while there is no broker at all.
    """

    def __init__(self, execution: Execution, lanes: tuple[str, ...], *, poll_seconds: float) -> None:
        self._execution = execution
        self._lanes = lanes
        self._poll_seconds = poll_seconds
        self._busy = threading.Lock()
        self._active_at = time.monotonic()
        """When a nudge last led to work, or came while there was other work, or a look found nothing."""

    def run(self, job_id: str) -> None:
        """Carry out the nudged job, if it is still there to be claimed. Errors end here: the row keeps the promise.

        While a job that was found by looking still runs, the nudge goes back, for another worker to hear.
        """
        if not self._busy.acquire(blocking=False):
            self._active_at = time.monotonic()  # nudges come again: after the running job it is their turn
            self._hand_back(job_id)
            return
        try:
            # One that comes too late is no sign of life: with many of them before it, the next job would wait.
            if self._guarded(job_id=job_id):
                self._active_at = time.monotonic()
        finally:
            self._busy.release()

    def _hand_back(self, job_id: str) -> None:
        try:
            with self._execution.database.transaction() as session:
                dispatch.ring_again(session, job_id)
        except (DBAPIError, PoolTimeout) as error:
            log.warning("hand_back_failed", error=type(error).__name__)  # dispatch's repair finds it later
        # Not taking messages for a moment leaves the one that comes back to somebody who is free.
        self._execution.stopping.wait(HAND_BACK_SECONDS)

    def look(self) -> bool:
        """Claim any due job when idle for long enough. True when one was carried out."""
        if time.monotonic() - self._active_at < self._poll_seconds or not self._busy.acquire(blocking=False):
            return False
        try:
            found = self._guarded(lanes=self._lanes)
            # a look that found work is followed by the next at once: there may be a backlog and no broker
            if not found:
                self._active_at = time.monotonic()
            return found
        finally:
            self._busy.release()

    def _guarded(self, *, job_id: str | None = None, lanes: tuple[str, ...] = ()) -> bool:
        if self._execution.stopping.is_set():
            return False
        try:
            return self._execution.run(job_id=job_id, lanes=lanes)
        except (DBAPIError, PoolTimeout) as error:
            log.warning("claim_failed", error=type(error).__name__)
            return False
