"""Holding one job while it runs: a thread renews the lease, the work asks `check` whether to go on."""

from __future__ import annotations

import os
import threading
import time
from types import TracebackType
from typing import Any, Self

import structlog
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from styleflow.database import Database
from styleflow.errors import Cancelled, DeadlineExceeded, LeaseLost, Released
from styleflow.jobs import progress
from styleflow.jobs.queries import Claim

log = structlog.get_logger(__name__)

JOIN_SECONDS = 5.0
OVERRUN_GRACE_SECONDS = 60.0
GIVE_UP_SHARE = 0.75
"""A lease that could not be renewed for this share of its length counts as lost: stop before somebody else starts."""


class Lease:
    """Renews a claim in its own thread until the block ends. Not the inference thread: that one is busy for seconds."""

    def __init__(
        self,
        database: Database,
        claim: Claim,
        *,
        lease_seconds: float,
        heartbeat_seconds: float,
        max_seconds: float,
        stopping: threading.Event,
    ) -> None:
        self._database = database
        self._claim = claim
        self._lease_seconds = lease_seconds
        self._heartbeat_seconds = heartbeat_seconds
        self._max_seconds = max_seconds
        self._started_at = time.monotonic()
        self._stopping = stopping
        self._done = threading.Event()
        self._renewed_at = time.monotonic()
        self._progress: dict[str, Any] | None = None
        self._lost = False
        self._cancel_requested = claim.cancel_requested
        self._deadline_passed = False
        self._thread = threading.Thread(target=self._renew, name=f"lease-{claim.job_id}", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        # A connection that fell silent must not hold the slot: the thread ends with it, some time.
        self._thread.join(timeout=self._heartbeat_seconds + JOIN_SECONDS)

    def report(self, values: dict[str, Any]) -> None:
        """Progress for the next heartbeat to carry along; several in between overwrite each other."""
        self._progress = values

    def check(self) -> None:
        """Return while the work may go on; raise LeaseLost, Cancelled, DeadlineExceeded or Released when not."""
        if self._lost or self.age() > self._lease_seconds * GIVE_UP_SHARE:
            raise LeaseLost(f"the lease on {self._claim.job_id} could not be renewed")
        if self._cancel_requested:
            raise Cancelled()
        if self._deadline_passed:
            raise DeadlineExceeded()
        if self._stopping.is_set():
            raise Released()

    def age(self) -> float:
        """Seconds since the lease was last known to be ours. Grows while the process is stopped."""
        return time.monotonic() - self._renewed_at

    def _renew(self) -> None:
        while not self._done.wait(self._heartbeat_seconds):
            if time.monotonic() - self._started_at > self._max_seconds:
                self._overrun()
            elif not self._lost:
                self._beat()

    def _overrun(self) -> None:
        """The attempt took longer than any may: its next check ends it. One that asks no more is hung, and a hung
        thread cannot be ended: then the process goes, its lease runs out, and its supervisor starts another."""
        self._lost = True
        if time.monotonic() - self._started_at > self._max_seconds + OVERRUN_GRACE_SECONDS:
            log.critical("attempt_hung", job_id=self._claim.job_id)
            os._exit(70)

    def _beat(self) -> None:
        asked_at = time.monotonic()
        try:
            with self._database.transaction() as session:
                beat = progress.heartbeat(
                    session, self._claim.job_id, self._claim.token, self._lease_seconds, self._progress
                )
        except LeaseLost:
            self._lost = True
        except (DBAPIError, PoolTimeout) as error:
            log.warning("heartbeat_failed", job_id=self._claim.job_id, error=type(error).__name__)
        else:
            self._renewed_at = asked_at
            self._cancel_requested = beat.cancel_requested
            self._deadline_passed = beat.deadline_passed
