"""Events of a job or a batch as server-sent events: what was missed, then what happens, until its end.

A stream holds a seat and one future. It has no thread and no database connection of its own: both are borrowed for the
moment in which something happened. Who hangs up gives the seat back at once; whoever does not read loses the stream
after an hour at most, and comes back with the last id it saw.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import structlog
from fastapi.responses import Response
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.concurrency import run_in_threadpool
from starlette.types import Receive, Scope, Send

from api.waiting import WaitingRoom, hung_up
from styleflow.errors import DependencyUnavailable, QuotaExceeded

KEEPALIVE_SECONDS = 15.0
STREAM_SECONDS = 3600.0
"""Longest life of a stream: a key that was revoked, or a reader that stopped reading, does not keep it for ever."""
RETRY_SECONDS = 5
KEEPALIVE = b":keepalive\n\n"

_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Told:
    """An event as it goes over the wire."""

    sequence: int
    type: str
    data: str | None
    """JSON in one line; None for an event that is no longer told."""


@dataclass(frozen=True)
class Look:
    """What a look at the job or batch found."""

    events: Sequence[Told]
    latest: int
    """Sequence of its last event, kept or not."""
    settled: bool
    """Whether nothing will come after `latest`."""


Read = Callable[[int], Look | None]
"""Events behind a sequence, in order; None when the job or batch is gone."""


def frames(look: Look, seen: int) -> tuple[bytes, int]:
    """The bytes that tell what was found, and the last sequence that is then known.

    Of a look without events, whatever lies between `seen` and the latest is no longer kept.
    """
    told: list[bytes] = []
    for event in look.events:
        told += _gap(seen, event.sequence)
        told += [] if event.data is None else [_frame(event.sequence, event.type, event.data)]
        seen = event.sequence
    if not look.events:
        told += _gap(seen, look.latest + 1)
        seen = max(seen, look.latest)
    return b"".join(told), seen


def _gap(seen: int, following: int) -> list[bytes]:
    """One message when sequences are missing between the two. Its id leads behind them."""
    if following <= seen + 1:
        return []
    missed = {"missed_from": seen + 1, "missed_to": following - 1}
    return [_frame(following - 1, "gap", json.dumps(missed, separators=(",", ":")))]


def _frame(sequence: int, type: str, data: str) -> bytes:
    return f"id: {sequence}\nevent: {type}\ndata: {data}\n\n".encode()


class StreamSeats:
    """How many streams this process holds open, and for whom. Used on the event loop only."""

    def __init__(self, most: int, most_of_project: int) -> None:
        self._most = most
        self._most_of_project = most_of_project
        self._taken: Counter[str] = Counter()

    @property
    def taken(self) -> int:
        return self._taken.total()

    @contextmanager
    def seat(self, project_id: str) -> Iterator[None]:
        """Raises QuotaExceeded when the project has its share, DependencyUnavailable when all seats are taken."""
        if self._taken[project_id] >= self._most_of_project:
            raise QuotaExceeded(
                f"This project has {self._most_of_project} streams open here; close one, or come again later.",
                retry_after=RETRY_SECONDS,
                members={"violated-policies": ["event-streams"]},
            )
        if self.taken >= self._most:
            raise DependencyUnavailable("All event streams of this process are taken; come again later.")
        self._taken[project_id] += 1
        try:
            yield
        finally:
            self._taken[project_id] -= 1
            self._taken += Counter()  # forget projects without a stream


class EventStream(Response):
    """The answer that stays open. Raises what `StreamSeats.seat` raises, before anything is sent."""

    media_type = "text/event-stream"

    def __init__(
        self, read: Read, *, room: WaitingRoom, seats: StreamSeats, project_id: str, subject_id: str, seen: int
    ) -> None:
        self.status_code = 200
        self.background = None
        self.init_headers({"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        self._read = read
        self._room = room
        self._seats = seats
        self._project_id = project_id
        self._subject_id = subject_id
        self._seen = seen

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 (its shape is ASGI's)
        with self._seats.seat(self._project_id), self._room.watch(self._subject_id) as changed:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            gone = asyncio.ensure_future(hung_up(receive))
            try:
                async with asyncio.timeout(STREAM_SECONDS):
                    await self._tell(changed, gone, send)
            except TimeoutError:
                _log.info("event_stream_ended", subject_id=self._subject_id, reason="its time is over")
            except (OperationalError, InterfaceError, PoolTimeout) as error:
                # The reader comes back with the last id it saw, and misses nothing.
                _log.warning("event_stream_ended", subject_id=self._subject_id, reason=type(error).__name__)
            finally:
                gone.cancel()
            await _end(send)

    async def _tell(self, changed: asyncio.Event, gone: asyncio.Future[None], send: Send) -> None:
        seen = self._seen
        while not (gone.done() or self._room.stopping):
            changed.clear()
            look = await run_in_threadpool(self._read, seen)
            if look is None:
                return
            told, seen = frames(look, seen)
            if told:
                await _send(send, told)
            if seen < look.latest:
                continue
            if look.settled:
                return
            await _quiet(changed, gone, send)


async def _quiet(changed: asyncio.Event, gone: asyncio.Future[None], send: Send) -> None:
    """Until something happens or the reader hangs up; a comment now and then keeps proxies from giving up."""
    waiting = asyncio.ensure_future(changed.wait())
    either: set[asyncio.Future[Any]] = {waiting, gone}
    try:
        while True:
            done, _ = await asyncio.wait(either, timeout=KEEPALIVE_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            if done:
                return
            await _send(send, KEEPALIVE)
    finally:
        waiting.cancel()


async def _send(send: Send, told: bytes) -> None:
    await send({"type": "http.response.body", "body": told, "more_body": True})


async def _end(send: Send) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(1):
            await send({"type": "http.response.body", "body": b"", "more_body": False})
