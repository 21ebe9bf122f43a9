"""What happens around every request: an id, the headers all answers share, limits on the body, one line of log.

Plain ASGI, because these must hold for answers that the framework gives by itself, and before a body is parsed.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from time import perf_counter
from typing import Any
from urllib.parse import parse_qsl

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from ulid import ULID

from api.problems import response_to
from styleflow.errors import BodyStalled, KeyInQuery, NotFound, PayloadTooLarge, StyleFlowError
from styleflow.telemetry import HTTP_SECONDS

API_VERSION = "2026-12-01"
STREAMED = re.compile(r"^/v1/uploads/[^/]+/(content|parts/[^/]+)$")
"""Bodies that are not read here: the route counts their bytes itself."""

STALL_SECONDS = 30.0
"""Longest silence within a body. Without it a caller could hold a connection for ever."""
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

_SAFE_ID = re.compile(r"^[A-Za-z0-9._:/+=-]{1,64}$")
_KEY_NAMES = frozenset({"api_key", "apikey", "api-key", "x-api-key", "access_token", "authorization"})
_DRAIN_BYTES = 4 << 20
_DRAIN_SECONDS = 1.0

_log = structlog.get_logger(__name__)


class RequestScope:
    """Gives the request its id, the answer its shared headers, and any stray exception its problem."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request_id = _request_id(Headers(scope=scope))
        scope.setdefault("state", {})["request_id"] = request_id
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=request_id)
        answer = _Answer(send, request_id, scope["state"])
        started = perf_counter()
        try:
            _refuse_key_in_query(scope)
            _refuse_nul(scope)
            await self.app(scope, receive, answer.send)
        except StyleFlowError as error:
            await response_to(error, Request(scope))(scope, receive, answer.send)
        except Exception as error:  # noqa: BLE001 (whatever it was, the caller gets a problem and the log the trace)
            _log.exception("request_failed", error=type(error).__name__)
            if not answer.status:
                await response_to(StyleFlowError(), Request(scope))(scope, receive, answer.send)
        finally:
            _record(scope, answer.status, perf_counter() - started)


class _Answer:
    """Adds the headers that every answer has, and remembers the status."""

    def __init__(self, send: Send, request_id: str, state: Mapping[str, Any]) -> None:
        self._send = send
        self._request_id = request_id
        self._state = state
        self.status = 0

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            headers["X-Request-Id"] = self._request_id
            headers["API-Version"] = API_VERSION
            headers.update(self._state.get("answer_headers", {}))
            headers.setdefault("Cache-Control", "no-store")
            headers.setdefault("X-Content-Type-Options", "nosniff")
        await self._send(message)


class BodyLimit:
    """Reads a body up to `max_bytes` before anything parses it; one that is longer is 413 and is not kept, one that
    is silent for `stall_seconds` is 408."""

    def __init__(self, app: ASGIApp, max_bytes: int, stall_seconds: float = STALL_SECONDS) -> None:
        self.app = app
        self.max_bytes = max_bytes
        self.stall_seconds = stall_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or STREAMED.match(scope["path"]):
            await self.app(scope, receive, send)
            return
        try:
            body = await self._read(scope, receive)
        except (PayloadTooLarge, BodyStalled) as error:
            await response_to(error, Request(scope))(scope, receive, closing(receive, send))
            return
        if body is not None:
            await self.app(scope, _replay(body, receive), send)

    async def _read(self, scope: Scope, receive: Receive) -> bytes | None:
        """The whole body; None when the caller hung up. Raises PayloadTooLarge and BodyStalled."""
        too_large = PayloadTooLarge(f"The body may have at most {self.max_bytes} bytes.")
        if _announced(scope) > self.max_bytes:
            raise too_large
        body = bytearray()
        while True:
            with stalling(self.stall_seconds):
                async with asyncio.timeout(self.stall_seconds):
                    message = await receive()
            if message["type"] == "http.disconnect":
                return None
            body += message.get("body", b"")
            if len(body) > self.max_bytes:
                raise too_large
            if not message.get("more_body", False):
                return bytes(body)


async def unstalled(stream: AsyncIterator[bytes], seconds: float) -> AsyncIterator[bytes]:
    """The same chunks. Raises BodyStalled when the next one does not come for so many seconds."""
    while True:
        try:
            with stalling(seconds):
                async with asyncio.timeout(seconds):
                    chunk = await anext(stream)
        except StopAsyncIteration:
            return
        yield chunk


@contextmanager
def stalling(seconds: float) -> Iterator[None]:
    """A timeout in the caller's words."""
    try:
        yield
    except TimeoutError as error:
        raise BodyStalled(f"Nothing of the body arrived for {seconds:g} seconds.") from error


def closing(receive: Receive, send: Send) -> Send:
    """A `send` for an answer that comes before the body was read: it ends the connection afterwards.

    A little of what is still arriving is read and dropped first. Closing a socket with unread bytes makes the kernel
    send a reset, which can overtake the answer, and the caller would never learn why.
    """

    async def send_and_close(message: Message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message)["Connection"] = "close"
            await send(message)
            return
        await send({**message, "more_body": True})
        await drain(receive)
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    return send_and_close


async def drain(receive: Receive) -> None:
    """Read and drop a bounded part of a body, for a bounded time."""
    dropped = 0
    try:
        async with asyncio.timeout(_DRAIN_SECONDS):
            while dropped < _DRAIN_BYTES:
                message = await receive()
                dropped += len(message.get("body", b""))
                if not message.get("more_body", False):
                    return
    except TimeoutError:
        return


def _replay(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives the whole body once and then what the connection says."""
    pending: list[MutableMapping[str, Any]] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replayed() -> Message:
        return pending.pop() if pending else await receive()

    return replayed


def _announced(scope: Scope) -> int:
    """Content-Length, or 0 where there is none or it is no number."""
    value = Headers(scope=scope).get("content-length", "")
    return int(value) if value.isascii() and value.isdigit() and len(value) < 20 else 0


def _request_id(headers: Mapping[str, str]) -> str:
    """The caller's, where it is short and plain; otherwise a new one."""
    given = headers.get("x-request-id", "")
    return given if _SAFE_ID.match(given) else str(ULID())


def _refuse_key_in_query(scope: Scope) -> None:
    """Addresses end up in logs and histories; a key in one is already half published."""
    query = scope.get("query_string", b"").decode("latin-1")
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name.lower() in _KEY_NAMES or value.startswith("sfk_"):
            raise KeyInQuery("Send the API key in the Authorization header, never in the address. Revoke this one.")


def _refuse_nul(scope: Scope) -> None:
    """No id holds a NUL, and PostgreSQL cannot even be asked for one."""
    if "\x00" in scope["path"]:
        raise NotFound("There is nothing at this address.")


def _record(scope: Scope, status: int, seconds: float) -> None:
    """One line of log and one observation, by route template: addresses with ids would be endless labels, and so
    would methods that a caller makes up."""
    route = getattr(scope.get("route"), "path", None) or "unmatched"
    method = scope["method"] if scope["method"] in METHODS else "OTHER"
    HTTP_SECONDS.labels(method, route, str(status or 499)).observe(seconds)
    _log.info("request", method=scope["method"], path=scope["path"], status=status or 499, ms=round(seconds * 1000, 1))
