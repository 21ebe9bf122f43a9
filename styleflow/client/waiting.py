"""Until a job or a batch is settled: by asking with its ETag, or by listening to its events."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Generic, Literal, TypeVar

import httpx
from httpx_sse import EventSource, ServerSentEvent

from styleflow.client import batch_calls, job_calls
from styleflow.client.answers import Batch, Job
from styleflow.client.calls import Call, exchange, part, request_of
from styleflow.client.failures import BadArgument, QuotaExceeded, ServiceFault, ServiceUnreachable, WaitTimeout
from styleflow.client.retries import backoff, retry_after
from styleflow.client.steps import Broken, Context, Flow, Plan, next_chunk, pause

S = TypeVar("S", Job, Batch)

POLL_SECONDS = 2.0
"""Between looks, where the service does not say."""
QUIET_SECONDS = 30.0
"""A stream is given up when it says nothing for so long; the service speaks every 15 seconds."""
LEAST_STREAM_SECONDS = 1.0
LONGEST_MESSAGE = 1 << 20
MOST_FRUITLESS = 3
"""Streams in a row that told nothing new; then asking takes over."""
_LAST_EVENTS = frozenset({"job.succeeded", "job.failed", "job.canceled", "job.expired", "gap"})
"""After which a look at the job says more than the stream."""
_BLANK_LINE = re.compile(rb"\r\n\r\n|\n\n|\r\r")


@dataclass(frozen=True)
class Watch(Generic[S]):
    """What is looked at, until which moment of the context's clock, and who is told of every look."""

    name: str
    call: Call[S]
    until: float | None
    report: Callable[[S], None] | None


def wait(
    job_id: str,
    timeout: float | None = None,
    *,
    poll: Literal["etag", "events"] = "etag",
    report: Callable[[Job], None] | None = None,
) -> Plan[Job]:
    """The job once it is settled. Raises WaitTimeout, which has the job as it was last seen.

    `timeout` in seconds; None waits for ever, 0 or less looks once. `poll="events"` listens to the job's events and is
    told at once; when that breaks, it goes on asking. `report` is called with what each look finds.
    """
    if poll not in ("etag", "events"):
        raise BadArgument("poll is `etag` or `events`")
    call = job_calls.get(job_id)

    def steps(context: Context) -> Flow[Job]:
        until = None if timeout is None else context.clock() + max(0.0, timeout)
        if poll == "events":
            yield from listen(context, job_id, until)
        return (yield from ask(context, Watch(job_id, call, until, report)))

    return steps


def wait_batch(
    batch_id: str, timeout: float | None = None, *, report: Callable[[Batch], None] | None = None
) -> Plan[Batch]:
    """The batch once all of it is settled. `timeout`, `report` and WaitTimeout as in `wait`."""
    call = batch_calls.get(batch_id)

    def steps(context: Context) -> Flow[Batch]:
        until = None if timeout is None else context.clock() + max(0.0, timeout)
        return (yield from ask(context, Watch(batch_id, call, until, report)))

    return steps


def ask(context: Context, watch: Watch[S]) -> Flow[S]:
    """Look, pause as the service asks, look again. The first look is made however little time there is."""
    last: S | None = None
    etag: str | None = None
    while True:
        request = request_of(context, watch.call)
        if etag is not None:
            request = replace(request, headers={**request.headers, "If-None-Match": etag})
        is_late = watch.until is not None and watch.until <= context.clock()
        try:
            answer = yield from exchange(context, request, repeatable=True, until=None if is_late else watch.until)
        except ServiceUnreachable as error:
            if last is not None and watch.until is not None and context.clock() >= watch.until:
                raise _too_late(watch, last) from error
            raise
        if last is None or answer.status != 304:
            last, etag = watch.call.read(answer), answer.headers.get("etag")
            if watch.report is not None:
                watch.report(last)
        if last.is_settled:
            return last
        asked = retry_after(answer.headers, context.wall_clock())
        remaining = None if watch.until is None else watch.until - context.clock()
        seconds = time_to_next_look(POLL_SECONDS if asked is None else asked, remaining)
        if seconds is None:
            raise _too_late(watch, last)
        yield from pause(seconds)


def time_to_next_look(asked: float, remaining: float | None) -> float | None:
    """Seconds to pause: as long as was asked, or up to a last look shortly before the time is over. None when there is
    no time for one."""
    asked = max(0.1, asked)
    if remaining is None:
        return asked
    margin = min(0.5, remaining / 2)
    return min(asked, remaining - margin) if remaining > 0.1 else None


def _too_late(watch: Watch[S], last: S) -> WaitTimeout:
    return WaitTimeout(f"{watch.name} is still {last.state}", last=last)


def listen(context: Context, job_id: str, until: float | None) -> Flow[None]:
    """Until the job's last event was told, or listening leads no further: the stream has a gap or does not hold.

    A stream's silence is bounded by what is left of the time, so it is opened anew, behind what it told, whenever less
    is left than its silence may last.
    """
    seen, fruitless = "", 0
    while fruitless < MOST_FRUITLESS:
        remaining = None if until is None else until - context.clock()
        if remaining is not None and remaining < LEAST_STREAM_SECONDS:
            return
        quiet = QUIET_SECONDS if remaining is None else min(QUIET_SECONDS, remaining)
        request = replace(request_of(context, _stream(job_id, seen)), seconds=quiet)
        try:
            answer = yield from exchange(context, request, repeatable=True, streamed=True, until=until)
        except (ServiceUnreachable, ServiceFault, QuotaExceeded):
            return
        if answer.status != 200 or "text/event-stream" not in answer.headers.get("content-type", ""):
            return  # 204: the last event was told
        latest, is_over = yield from _hear(context, seen, quiet, until)
        if is_over:
            return
        fruitless = 0 if latest != seen else fruitless + 1
        seen = latest
        if fruitless:
            yield from pause(backoff(context.retries, fruitless, context.random()))


def _stream(job_id: str, seen: str) -> Call[None]:
    headers = {"Accept": "text/event-stream", **({"Last-Event-ID": seen} if seen else {})}
    return Call(method="GET", path=f"/v1/jobs/{part(job_id)}/events", headers=headers, read=lambda _: None)


def _hear(context: Context, seen: str, quiet: float, until: float | None) -> Flow[tuple[str, bool]]:
    """The id of the last message of an open stream, and whether listening is over."""
    pending = b""
    while True:
        chunk = yield from next_chunk()
        if chunk is None or isinstance(chunk, Broken):
            return seen, False
        messages, pending = messages_in(pending + chunk)
        for message in messages:
            seen = message.id or seen
            if message.event in _LAST_EVENTS:
                return seen, True
        if len(pending) > LONGEST_MESSAGE:
            return seen, True
        if until is not None and until - context.clock() < quiet:
            return seen, False


def messages_in(data: bytes) -> tuple[list[ServerSentEvent], bytes]:
    """The whole messages at the start of what came, and the rest."""
    ends = [found.end() for found in _BLANK_LINE.finditer(data)]
    if not ends:
        return [], data
    whole = httpx.Response(200, headers={"Content-Type": "text/event-stream"}, content=data[: ends[-1]])
    return list(EventSource(whole).iter_sse()), data[ends[-1] :]
