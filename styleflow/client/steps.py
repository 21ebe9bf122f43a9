"""What the client does with the world, as values. Everything that decides is a generator of these steps ("flow"),
written once; a driver carries the steps out, with threads or on an event loop, and decides nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from random import random
from typing import Any, TypeVar, cast

from styleflow.client.retries import Retries

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class FileSlice:
    """Bytes of a file, opened anew for every try. `report` is called with the count of bytes sent so far."""

    path: Path
    offset: int
    length: int
    report: Callable[[int], None] | None = None


@dataclass(frozen=True, kw_only=True)
class Request:
    """One HTTP request, complete."""

    method: str
    url: str
    headers: Mapping[str, str] = field(repr=False)
    content: bytes | FileSlice | None
    seconds: float
    """Longest that each of connecting, sending, and waiting for the next bytes may take."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What came back. Names of headers are in lower case. `body` is empty when it is read in chunks."""

    status: int
    headers: Mapping[str, str]
    body: bytes = b""

    @property
    def is_success(self) -> bool:
        return 200 <= self.status < 300


@dataclass(frozen=True)
class Broken:
    """No whole answer came."""

    message: str
    sent: bool = True
    """False when surely nothing of the request has reached the service."""


@dataclass(frozen=True)
class Send:
    """Reply: Answer with its body, or Broken. `until` is when reading is given up, by the context's clock."""

    request: Request
    until: float | None = None


@dataclass(frozen=True)
class Open:
    """Reply: Answer without its body if it is a success, else with it; or Broken. Closes what was open before."""

    request: Request


@dataclass(frozen=True)
class Next:
    """Of what is open. Reply: bytes, None at its end, or Broken."""


@dataclass(frozen=True)
class Pause:
    """Reply: None, after so many seconds."""

    seconds: float


@dataclass(frozen=True)
class Do:
    """Blocking work on this machine. Reply: what it returns; what it raises ends the flow."""

    work: Callable[[], Any]


@dataclass(frozen=True)
class Emit:
    """Hands one value to whoever iterates. Reply: None."""

    value: Any


Step = Send | Open | Next | Pause | Do | Emit
Flow = Generator[Step, Any, T]


@dataclass(frozen=True, kw_only=True)
class Context:
    """What every flow knows: where the service is, who calls, and how patient the caller is."""

    base_url: str
    key: str = field(repr=False)
    agent: str
    call_seconds: float | None = 60.0
    """For a call with all its tries and pauses; None takes as long as it takes."""
    request_seconds: float = 30.0
    """For connecting, sending, and each wait for bytes, of one request."""
    retries: Retries = field(default_factory=Retries)
    clock: Callable[[], float] = time.monotonic
    wall_clock: Callable[[], float] = time.time
    random: Callable[[], float] = random


Plan = Callable[[Context], Flow[T]]
"""A thing to do, not begun."""


def send(request: Request, until: float | None) -> Flow[Answer | Broken]:
    return cast("Answer | Broken", (yield Send(request, until)))


def open_stream(request: Request) -> Flow[Answer | Broken]:
    return cast("Answer | Broken", (yield Open(request)))


def next_chunk() -> Flow[bytes | Broken | None]:
    return cast("bytes | Broken | None", (yield Next()))


def pause(seconds: float) -> Flow[None]:
    yield Pause(seconds)


def do(work: Callable[[], T]) -> Flow[T]:
    return cast("T", (yield Do(work)))
