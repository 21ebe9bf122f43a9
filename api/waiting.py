"""Waiting for jobs without holding anything: no thread, no database connection, one future per waiting request.

One thread per process keeps one connection of its own on which PostgreSQL announces every job that reached a terminal
state. What was announced while that connection was down, or before a request began to wait, is found by a batched
look at all awaited jobs every two seconds, on the same connection. That look also finds what is not announced at all:
events of watched jobs that are not their last, since an announcement at every claim would hold up all claims.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
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

_SEQUENCES = (
    "select id, event_sequence from jobs where id = any(%s)"
    " union all select id, event_sequence from batches where id = any(%s)"
)
_SETTLED = "select id from jobs where id = any(%s) and (state = any(%s) or erased_at is not null)"

_log = structlog.get_logger(__name__)


class _Sleepers:
    """Events of requests, by job. Changed on the event loop only; `jobs` may be read by another thread."""

    def __init__(self) -> None:
        self._events: dict[str, set[asyncio.Event]] = {}
        self.count = 0

    def jobs(self) -> list[str]:
        return list(self._events.copy())

    @contextmanager
    def enter(self, job_id: str) -> Iterator[asyncio.Event]:
        event = asyncio.Event()
        self._events.setdefault(job_id, set()).add(event)
        self.count += 1
        try:
            yield event
        finally:
            self.count -= 1
            others = self._events.get(job_id, set())
            others.discard(event)
            if not others:
                self._events.pop(job_id, None)

    def wake(self, job_ids: Iterable[str]) -> None:
        for job_id in job_ids:
            for event in self._events.get(job_id, ()):
                event.set()


class WaitingRoom:
    """The jobs that requests of this process wait for. All methods but the thread's run on the event loop."""

    def __init__(self, database: Database, *, most: int = MAX_WAITING) -> None:
        self._database = database
        self._most = most
        self._awaited = _Sleepers()
        self._watched = _Sleepers()
        self._sequences: dict[str, int] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._listen, name="job-listener", daemon=True)

    @property
    def waiting(self) -> int:
        return self._awaited.count

    @property
    def stopping(self) -> bool:
        return self._stopping.is_set()

    def open(self) -> None:
        """Start to listen; called on the running event loop."""
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    def close(self) -> None:
        """Stop to listen and let every waiting request go on."""
        self._stopping.set()
        self._settled([*self._awaited.jobs(), *self._watched.jobs()])
        self._thread.join(timeout=10)

    @contextmanager
    def attend(self, job_id: str) -> Iterator[asyncio.Event | None]:
        """An event that is set when the job settles; None when too many wait already, or the service is stopping.

        Enter before looking at the job, so that what happens between the look and the wait is not missed.
        """
        if self._awaited.count >= self._most or self._stopping.is_set():
            yield None
            return
        with self._awaited.enter(job_id) as event:
            yield event

    def watch(self, subject_id: str) -> AbstractContextManager[asyncio.Event]:
        """An event that is set at once when the job settles, and within two seconds when anything else happens to it,
        or anything at all to the batch.

        It may be set for nothing. Enter before looking at the job, and clear it before each look.
        """
        return self._watched.enter(subject_id)

    def _settled(self, job_ids: Sequence[str]) -> None:
        self._awaited.wake(job_ids)
        self._watched.wake(job_ids)

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
                self._on_loop(self._settled, [notice.payload])
            if monotonic() >= due:
                self._recheck(connection)
                self._look_for_events(connection)
                due = monotonic() + RECHECK_SECONDS

    def _recheck(self, connection: psycopg.Connection[tuple[object, ...]]) -> None:
        awaited = self._awaited.jobs()
        if not awaited:
            return
        rows = connection.execute(_SETTLED, (awaited, [str(state) for state in TERMINAL])).fetchall()
        settled = [str(row[0]) for row in rows]
        if settled:
            self._on_loop(self._settled, settled)

    def _look_for_events(self, connection: psycopg.Connection[tuple[object, ...]]) -> None:
        """Wakes whoever watches a job or batch that had an event since the last look, or that is gone."""
        watched = self._watched.jobs()
        rows = connection.execute(_SEQUENCES, (watched, watched)).fetchall() if watched else []
        found = {str(job_id): int(str(sequence)) for job_id, sequence in rows}
        changed = [job_id for job_id in watched if found.get(job_id, -1) != self._sequences.get(job_id)]
        self._sequences = {job_id: found.get(job_id, -1) for job_id in watched}
        if changed:
            self._on_loop(self._watched.wake, changed)

    def _on_loop(self, wake: Callable[[list[str]], None], job_ids: list[str]) -> None:
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop may be closing while the last notice arrives
                self._loop.call_soon_threadsafe(wake, job_ids)


async def settled_within(event: asyncio.Event, seconds: float, receive: Receive) -> bool:
    """Wait for the event. False when the time is over, or the caller has hung up."""
    waiting = asyncio.ensure_future(event.wait())
    hangup = asyncio.ensure_future(hung_up(receive))
    try:
        await asyncio.wait({waiting, hangup}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        return event.is_set()
    finally:
        for future in (waiting, hangup):
            future.cancel()


async def hung_up(receive: Receive) -> None:
    """Returns when the connection is gone. The request's body was read before."""
    while (await receive())["type"] != "http.disconnect":
        pass
