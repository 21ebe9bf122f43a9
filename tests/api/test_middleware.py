"""Bodies that are too long or never come, without a socket in between."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from api.middleware import BodyLimit, unstalled
from styleflow.errors import BodyStalled

SCOPE: dict[str, Any] = {
    "type": "http",
    "method": "POST",
    "path": "/v1/jobs",
    "headers": [],
    "query_string": b"",
    "state": {},
}


async def unreachable(scope: Any, receive: Any, send: Any) -> None:
    raise AssertionError("the body was not complete")


def answered(messages: list[dict[str, Any]], **limits: Any) -> list[dict[str, Any]]:
    """What is sent when these messages arrive and then nothing more."""
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        if messages:
            return messages.pop(0)
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(BodyLimit(unreachable, **limits)(dict(SCOPE), receive, send))
    return sent


@pytest.mark.parametrize("arrived", [[], [{"type": "http.request", "body": b"{", "more_body": True}]])
def test_a_body_that_stops_arriving_is_408_and_the_connection_closed(arrived: list[dict[str, Any]]) -> None:
    start, *rest = answered(arrived, max_bytes=100, stall_seconds=0.02)
    assert start["status"] == 408
    assert (b"connection", b"close") in start["headers"]
    problem = json.loads(b"".join(message["body"] for message in rest))
    assert (problem["code"], problem["retryable"]) == ("request_timeout", True)


def test_a_caller_who_hangs_up_is_not_answered() -> None:
    assert answered([{"type": "http.disconnect"}], max_bytes=100) == []


def test_a_stream_is_passed_on_until_it_stalls() -> None:
    async def stalling() -> AsyncIterator[bytes]:
        yield b"a"
        yield b"b"
        await asyncio.Event().wait()

    seen: list[bytes] = []

    async def read() -> None:
        async for chunk in unstalled(stalling(), 0.02):
            seen.append(chunk)

    with pytest.raises(BodyStalled):
        asyncio.run(read())
    assert seen == [b"a", b"b"]


def test_a_stream_that_ends_ends() -> None:
    async def short() -> AsyncIterator[bytes]:
        yield b"a"

    async def read() -> list[bytes]:
        return [chunk async for chunk in unstalled(short(), 5)]

    assert asyncio.run(read()) == [b"a"]
