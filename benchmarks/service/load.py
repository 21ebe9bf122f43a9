"""Requests from this process: at a fixed rate whatever the server does, or by clients that wait for their answers."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import httpcore

REQUEST_SECONDS = 30.0
_TIMEOUT = {"timeout": dict.fromkeys(("connect", "read", "write", "pool"), REQUEST_SECONDS)}


class Refused(Exception):
    """An answer that the benchmark did not ask for: figures of failures are no figures."""


@dataclass
class Server:
    """Where the API answers, and with whose key."""

    url: str
    key: str

    def pool(self, connections: int) -> httpcore.AsyncConnectionPool:
        return httpcore.AsyncConnectionPool(max_connections=connections, max_keepalive_connections=connections)

    async def call(
        self, pool: httpcore.AsyncConnectionPool, method: str, path: str, body: Any = None, **headers: str
    ) -> Any:
        """The JSON answer. Raises Refused for anything but success."""
        sent = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json", **headers}
        content = None if body is None else json.dumps(body).encode()
        answer = await pool.request(
            method, self.url + path, headers=list(sent.items()), content=content, extensions=_TIMEOUT
        )
        if not 200 <= answer.status < 300:
            raise Refused(f"{method} {path}: {answer.status} {answer.content[:300]!r}")
        return json.loads(answer.content)


@dataclass
class Taken:
    """What one load found: latencies in milliseconds, and how long all of it took in seconds."""

    milliseconds: list[float] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def rate(self) -> float:
        return len(self.milliseconds) / self.seconds


Request = Callable[[httpcore.AsyncConnectionPool], Awaitable[Any]]


async def open_loop(server: Server, request: Request, *, rate: float, seconds: float) -> Taken:
    """`rate` requests a second for so long. A latency counts from the moment when the request was due, so that a
    server that stalls is not excused from the requests that would have come meanwhile."""
    taken = Taken()

    async def one(pool: httpcore.AsyncConnectionPool, due: float) -> None:
        await request(pool)
        taken.milliseconds.append((time.perf_counter() - due) * 1000)

    async with server.pool(256) as pool, asyncio.TaskGroup() as group:
        begin = time.perf_counter()
        for number in range(int(rate * seconds)):
            due = begin + number / rate
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            group.create_task(one(pool, due))
    taken.seconds = time.perf_counter() - begin
    return taken


async def closed_loop(server: Server, request: Request, *, clients: int, seconds: float) -> Taken:
    """`clients` that each send the next request when they have their answer, each on a connection of its own: what one
    pool of many connections takes to choose among them would be measured instead of the server."""
    taken = Taken()
    begin = time.perf_counter()

    async def one() -> None:
        async with server.pool(1) as pool:
            while (sent := time.perf_counter()) - begin < seconds:
                await request(pool)
                taken.milliseconds.append((time.perf_counter() - sent) * 1000)

    async with asyncio.TaskGroup() as group:
        for _ in range(clients):
            group.create_task(one())
    taken.seconds = time.perf_counter() - begin
    return taken
