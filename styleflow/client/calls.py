"""One call: a request that is built, sent until it is answered, and its answer read."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar
from urllib.parse import quote, urlencode, urljoin, urlsplit
from uuid import uuid4

from pydantic import BaseModel, ValidationError

from styleflow.client.failures import (
    BadArgument,
    CallTimeout,
    ServiceUnreachable,
    UnreadableAnswer,
    excerpt,
    problem_of,
)
from styleflow.client.retries import RETRIED, next_pause, retry_after
from styleflow.client.steps import Answer, Broken, Context, FileSlice, Flow, Request, open_stream, pause, send

T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)

SAFE_TO_REPEAT = frozenset({"GET", "HEAD", "PUT", "DELETE"})


@dataclass(frozen=True, kw_only=True)
class Call(Generic[T]):
    """A call of the service's API, not yet sent. `path` begins with `/v1/`; what a caller named in it is quoted."""

    method: str
    path: str
    read: Callable[[Answer], T]
    query: Mapping[str, Any] = field(default_factory=dict)
    """Members that are None are left out."""
    body: Any = None
    """Values of JSON; datetimes and models are written as the service wants them."""
    headers: Mapping[str, str] = field(default_factory=dict)
    repeatable: bool | None = None
    """Whether it may be sent twice: it has a key, or a repetition does nothing. None goes by the method."""
    held: float = 0.0
    """Seconds for which the service was asked to hold its answer."""

    def __call__(self, context: Context) -> Flow[T]:
        """Sends it. Raises ApiProblem, ServiceUnreachable, UnreadableAnswer."""
        answer = yield from exchange(context, request_of(context, self), is_repeatable(self))
        return self.read(answer)


def is_repeatable(call: Call[Any]) -> bool:
    return call.method in SAFE_TO_REPEAT if call.repeatable is None else call.repeatable


def keyed(key: str | None) -> dict[str, str]:
    """The header that makes a POST safe to repeat: the caller's key, or one that is made here, once a call."""
    if key is None:
        return {"Idempotency-Key": str(uuid4())}
    if not key or not key.isascii() or not key.isprintable() or len(key) > 255:
        raise BadArgument("an idempotency key has 1 to 255 printable ASCII characters")
    return {"Idempotency-Key": key}


def part(value: str) -> str:
    """One part of a path. Raises BadArgument for what would name another path than is meant."""
    if not isinstance(value, str) or not value or value in (".", ".."):
        raise BadArgument(f"{value!r} is no id")
    return quote(value, safe="")


def request_of(context: Context, call: Call[Any]) -> Request:
    """The request with its key. Raises BadArgument for a body that is no JSON."""
    headers = {"Accept": "application/json", **call.headers, **own_headers(context)}
    content = None
    if call.body is not None:
        try:
            content = json.dumps(plain(call.body), allow_nan=False, separators=(",", ":")).encode()
        except (TypeError, ValueError, RecursionError) as error:
            raise BadArgument(f"the body is no JSON: {error}") from error
        headers["Content-Type"] = "application/json"
    url = context.base_url + call.path + query_text(call.query)
    seconds = context.request_seconds + call.held
    return Request(method=call.method, url=url, headers=headers, content=content, seconds=seconds)


def own_headers(context: Context) -> dict[str, str]:
    return {"Authorization": f"Bearer {context.key}", "User-Agent": context.agent}


def query_text(query: Mapping[str, Any]) -> str:
    """`?…`, or nothing. Moments are written in UTC, booleans in lower case."""
    given = [(name, plain(value)) for name, value in query.items() if value is not None]
    written = [(name, str(value).lower() if isinstance(value, bool) else str(value)) for name, value in given]
    return "?" + urlencode(written) if written else ""


def plain(value: Any) -> Any:
    """What JSON can hold. A datetime without a zone is taken as UTC."""
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", exclude_unset=True)
    if isinstance(value, datetime):
        return value.replace(tzinfo=value.tzinfo or UTC).astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, Mapping):
        return {name: plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


def given(**members: Any) -> dict[str, Any]:
    """Members of a body without those that the caller left out."""
    return {name: value for name, value in members.items() if value is not None}


def exchange(
    context: Context, request: Request, repeatable: bool, *, streamed: bool = False, until: float | None = None
) -> Flow[Answer]:
    """Send until there is an answer that is no failure, as often and as long as the context allows.

    `until` is a moment of the context's clock; without it the call's own time counts. 3xx are answers like others.
    """
    if until is None and context.call_seconds is not None:
        until = context.clock() + context.call_seconds
    failures = 0
    while True:
        remaining = None if until is None else until - context.clock()
        if remaining is not None and remaining <= 0 and failures:
            raise CallTimeout("the service gave no answer in time")
        timed = request if remaining is None else replace(request, seconds=max(0.05, min(request.seconds, remaining)))
        reply = yield from (open_stream(timed) if streamed else send(timed, until))
        failures += 1
        error, asked, again = _failure(context, reply, repeatable)
        if error is None:
            assert isinstance(reply, Answer)
            return reply
        remaining = None if until is None else until - context.clock()
        seconds = next_pause(context.retries, failures, asked=asked, remaining=remaining, random=context.random())
        if not again or seconds is None:
            raise error
        yield from pause(seconds)


def _failure(context: Context, reply: Answer | Broken, repeatable: bool) -> tuple[Exception | None, float | None, bool]:
    """The error of a reply if it is one, after how many seconds to come again, and whether to."""
    if isinstance(reply, Broken):
        return ServiceUnreachable(reply.message), None, repeatable or not reply.sent
    if reply.status < 400:
        return None, None, False
    asked = retry_after(reply.headers, context.wall_clock())
    problem = problem_of(reply.status, reply.body, asked)
    # A job that is not done is no failure of this call: waiting for it is `wait`.
    may_pass = reply.status in RETRIED or (problem.retryable and problem.code != "result_not_ready")
    return problem, asked, repeatable and may_pass


def reads(kind: type[M]) -> Callable[[Answer], M]:
    """Reads a body into a model. Raises UnreadableAnswer for whatever does not fit."""

    def read(answer: Answer) -> M:
        body = json_of(answer)
        if "etag" in kind.model_fields and isinstance(body, dict) and "etag" in answer.headers:
            body = {**body, "etag": answer.headers["etag"]}
        return fitted(kind, body, answer.status)

    return read


def reads_list(kind: type[M], member: str = "data") -> Callable[[Answer], list[M]]:
    """Reads a list that comes whole."""

    def read(answer: Answer) -> list[M]:
        return [fitted(kind, row, answer.status) for row in rows_of(json_of(answer), member, answer.status)]

    return read


def nothing(answer: Answer) -> None:
    """For calls that are answered with success and no more."""
    if not answer.is_success:
        raise UnreadableAnswer(f"expected success, not HTTP {answer.status}", status=answer.status)


def json_of(answer: Answer) -> Any:
    if not answer.is_success:
        raise UnreadableAnswer(f"expected an answer, not HTTP {answer.status}", status=answer.status)
    try:
        return json.loads(answer.body)
    except (ValueError, RecursionError) as error:
        raise UnreadableAnswer(f"the answer is no JSON: {excerpt(answer.body)}", status=answer.status) from error


def rows_of(body: Any, member: str, status: int) -> list[Any]:
    rows = body.get(member) if isinstance(body, dict) else None
    if not isinstance(rows, list):
        raise UnreadableAnswer(f"the answer has no list `{member}`", status=status)
    return rows


def fitted(kind: type[M], value: Any, status: int) -> M:
    try:
        return kind.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = "/".join(str(step) for step in first["loc"]) or "the body"
        message = f"the answer is no {kind.__name__}: {where}: {first['msg']}"
        raise UnreadableAnswer(message, status=status) from error


def foreign(context: Context, method: str, url: str, headers: Mapping[str, str], content: FileSlice | None) -> Request:
    """A request to an address that carries its own permission: the API key does not go there.

    Raises UnreadableAnswer where a service that is reached by https gives an address that is not.
    """
    whole = urljoin(context.base_url + "/", url)
    scheme = urlsplit(whole).scheme
    if scheme not in ("http", "https") or (scheme == "http" and context.base_url.startswith("https:")):
        raise UnreadableAnswer(f"the service gave an address of the scheme {scheme!r}")
    sent = {"User-Agent": context.agent, **headers}
    return Request(method=method, url=whole, headers=sent, content=content, seconds=context.request_seconds)
