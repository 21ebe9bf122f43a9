"""Waiting for jobs without holding anything: no thread, no database connection, one future per waiting request.

One thread per process keeps one connection of its own on which PostgreSQL announces every job that reached a terminal
state. What was announced while that connection was down, or before a request began to wait, is found by a batched
look at all awaited jobs every two seconds, on the same connection.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from time import monotonic

import psycopg
import structlog
from starlette.types import Receive

from styleflow.database import JOB_CHANNEL, Database
from styleflow.jobs.state import TERMINAL

RECHECK_SECONDS = 2.0
TICK_SECONDS = 0.25
RECONNECT_SECONDS = (0.25, 0.5, 1.0, 2.0, 5.0)
MAX_WAITING = 5_000

_SETTLED = "select id from jobs where id = any(%s) and (state = any(%s) or erased_at is not null)"

_log = structlog.get_logger(__name__)


class WaitingRoom:
    """The jobs that requests of this process wait for. All methods but the thread's run on the event loop."""

    def __init__(self, database: Database, *, most: int = MAX_WAITING) -> None:
        self._database = database
        self._most = most
        self._awaited: dict[str, set[asyncio.Event]] = {}
        self._count = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._listen, name="job-listener", daemon=True)

    @property
    def waiting(self) -> int:
        return self._count

    def open(self) -> None:
        """Start to listen; called on the running event loop."""
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    def close(self) -> None:
        """Stop to listen and let every waiting request go on."""
        self._stopping.set()
        self._wake(list(self._awaited))
        self._thread.join(timeout=10)

    @contextmanager
    def attend(self, job_id: str) -> Iterator[asyncio.Event | None]:
        """An event that is set when the job settles; None when too many wait already, or the service is stopping.

        Enter before looking at the job, so that what happens between the look and the wait is not missed.
        """
        if self._count >= self._most or self._stopping.is_set():
            yield None
            return
        event = asyncio.Event()
        self._awaited.setdefault(job_id, set()).add(event)
        self._count += 1
        try:
            yield event
        finally:
            self._count -= 1
            waiters = self._awaited.get(job_id, set())
            waiters.discard(event)
            if not waiters:
                self._awaited.pop(job_id, None)

    def _wake(self, job_ids: Iterable[str]) -> None:
        for job_id in job_ids:
            for event in self._awaited.get(job_id, ()):
                event.set()

    def _listen(self) -> None:
        """The thread: connect, listen, and connect again after a growing pause when the connection is lost."""
        failures = 0
        while not self._stopping.is_set():
            try:
                with self._database.listener() as connection:
                    connection.execute(f"listen {JOB_CHANNEL}")
                    failures = 0
                    self._serve(connection)
            except psycopg.Error as error:
                pause = RECONNECT_SECONDS[min(failures, len(RECONNECT_SECONDS) - 1)]
                failures += 1
                _log.warning("listener_lost", error=type(error).__name__, retry_in=pause)
                self._stopping.wait(pause)

    def _serve(self, connection: psycopg.Connection[tuple[object, ...]]) -> None:
        due = monotonic()
        while not self._stopping.is_set():
            for notice in connection.notifies(timeout=TICK_SECONDS):
                self._on_loop([notice.payload])
            if monotonic() >= due:
                self._recheck(connection)
                due = monotonic() + RECHECK_SECONDS

    def _recheck(self, connection: psycopg.Connection[tuple[object, ...]]) -> None:
        awaited = list(self._awaited.copy())
        if not awaited:
            return
        rows = connection.execute(_SETTLED, (awaited, [str(state) for state in TERMINAL])).fetchall()
        settled = [str(row[0]) for row in rows]
        if settled:
            self._on_loop(settled)

    def _on_loop(self, job_ids: list[str]) -> None:
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop may be closing while the last notice arrives
                self._loop.call_soon_threadsafe(self._wake, job_ids)


async def settled_within(event: asyncio.Event, seconds: float, receive: Receive) -> bool:
    """Wait for the event. False when the time is over, or the caller has hung up."""
    waiting = asyncio.ensure_future(event.wait())
    hangup = asyncio.ensure_future(_hung_up(receive))
    try:
        await asyncio.wait({waiting, hangup}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        return event.is_set()
    finally:
        for future in (waiting, hangup):
            future.cancel()


async def _hung_up(receive: Receive) -> None:
    """Returns when the connection is gone. The request's body was read before."""
    while (await receive())["type"] != "http.disconnect":
        pass
