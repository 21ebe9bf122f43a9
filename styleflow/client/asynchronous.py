"""The client for asyncio: a driver that carries flows out, and the nouns with their methods."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import suppress
from dataclasses import replace
from functools import update_wrapper
from typing import Any, Generic, ParamSpec, Self, TypeVar, cast

import httpx
from pydantic import BaseModel

from styleflow.client import (
    account_calls,
    batch_calls,
    downloading,
    export_calls,
    job_calls,
    keeping_calls,
    other_calls,
    policy_calls,
    upload_calls,
    uploading,
    waiting,
    webhook_calls,
)
from styleflow.client.lists import Listing
from styleflow.client.places import context_of, patient
from styleflow.client.retries import Retries
from styleflow.client.steps import (
    Answer,
    Broken,
    Context,
    Do,
    Emit,
    FileSlice,
    Next,
    Open,
    Pause,
    Plan,
    Request,
    Send,
    Step,
)
from styleflow.client.wire import FAILURES, Gathered, blocks, broken, head_of, timeout_of

P = ParamSpec("P")
T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)


class AsyncNoun:
    """A group of calls."""

    def __init__(self, client: AsyncStyleFlow) -> None:
        self.client = client


class One(Generic[P, T]):
    """A method that carries out what it plans, and gives what comes of it."""

    def __init__(self, plan: Callable[P, Plan[T]]) -> None:
        self._plan = plan
        self.__doc__ = plan.__doc__

    def __get__(
        self, noun: AsyncNoun | AsyncStyleFlow | None, owner: type[object]
    ) -> Callable[P, Coroutine[Any, Any, T]]:
        if noun is None:
            return cast("Callable[P, Coroutine[Any, Any, T]]", self)

        async def carry_out(*args: P.args, **kwargs: P.kwargs) -> T:
            plan = self._plan(*args, **kwargs)
            return await (noun.client if isinstance(noun, AsyncNoun) else noun).run(plan)

        return update_wrapper(carry_out, self._plan)


class Many(Generic[P, M]):
    """A method that gives what its listing has, one after the other, as it is asked for."""

    def __init__(self, plan: Callable[P, Listing[M]]) -> None:
        self._plan = plan
        self.__doc__ = plan.__doc__

    def __get__(self, noun: AsyncNoun | AsyncStyleFlow | None, owner: type[object]) -> Callable[P, AsyncIterator[M]]:
        if noun is None:
            return cast("Callable[P, AsyncIterator[M]]", self)

        def carry_out(*args: P.args, **kwargs: P.kwargs) -> AsyncIterator[M]:
            plan = self._plan(*args, **kwargs)
            return (noun.client if isinstance(noun, AsyncNoun) else noun).iterate(plan)

        return update_wrapper(carry_out, self._plan)


class AsyncJobs(AsyncNoun):
    """Videos and what was found."""

    create, get, list = One(job_calls.create), One(job_calls.get), Many(job_calls.list_)
    cancel, retry, rerun = One(job_calls.cancel), One(job_calls.retry), One(job_calls.rerun)
    delete, attempts, result = One(job_calls.delete), One(job_calls.attempts), One(job_calls.result)
    tracks, track, segments = One(job_calls.tracks), One(job_calls.track), One(job_calls.segments)
    report = One(job_calls.report)
    frames, clips = Many(job_calls.frames), Many(job_calls.clips)
    artifacts, download = One(job_calls.artifacts), One(downloading.download_artifact)
    hold, release, holds = One(keeping_calls.hold), One(keeping_calls.release), Many(keeping_calls.holds)


class AsyncBatches(AsyncNoun):
    """Many videos under one order."""

    create, get, list = One(batch_calls.create), One(batch_calls.get), Many(batch_calls.list_)
    items, errors = Many(batch_calls.items), Many(batch_calls.errors)
    pause, resume, cancel = One(batch_calls.pause), One(batch_calls.resume), One(batch_calls.cancel)
    retry_failed = One(batch_calls.retry_failed)


class AsyncUploads(AsyncNoun):
    """Files on their way in. `AsyncStyleFlow.upload_file` does all of it."""

    create, get, delete = One(upload_calls.create), One(upload_calls.get), One(upload_calls.delete)
    sign_parts, complete = One(upload_calls.sign_parts), One(upload_calls.complete)
    stored_parts = One(upload_calls.stored_parts)


class AsyncWebhooks(AsyncNoun):
    """Addresses that are told of events, and what was sent to them."""

    create, get, list = One(webhook_calls.create), One(webhook_calls.get), Many(webhook_calls.list_)
    update, delete, ping = One(webhook_calls.update), One(webhook_calls.delete), One(webhook_calls.ping)
    rotate_secret, enable = One(webhook_calls.rotate_secret), One(webhook_calls.enable)
    deliveries, delivery = Many(webhook_calls.deliveries), One(webhook_calls.delivery)
    redeliver, replay = One(webhook_calls.redeliver), One(webhook_calls.replay)
    get_replay = One(webhook_calls.get_replay)


class AsyncExports(AsyncNoun):
    """Copies of many rows in files."""

    create, get, list = One(export_calls.create), One(export_calls.get), Many(export_calls.list_)
    cancel, delete = One(export_calls.cancel), One(export_calls.delete)
    files, download = Many(export_calls.files), One(downloading.download_export)


class AsyncKeys(AsyncNoun):
    """API keys of the project."""

    create, get, list = One(other_calls.create_key), One(other_calls.get_key), Many(other_calls.list_keys)
    revoke, rotate = One(other_calls.revoke_key), One(other_calls.rotate_key)


class AsyncPolicies(AsyncNoun):
    """By what verdicts are given."""

    get, put, list = One(policy_calls.get), One(policy_calls.put), Many(policy_calls.list_)
    revision, revisions = One(policy_calls.revision), Many(policy_calls.revisions)
    preview, relabel = One(policy_calls.preview), One(policy_calls.relabel)
    relabeling, relabelings = One(policy_calls.relabeling), Many(policy_calls.relabelings)


class AsyncErasures(AsyncNoun):
    """Orders to erase, and their proofs."""

    create, get, list = One(keeping_calls.erase), One(keeping_calls.get_erasure), Many(keeping_calls.erasures)


class AsyncStyleFlow:
    """A service and its caller, on one event loop. Close it, or use it in an `async with` block."""

    def __init__(
        self,
        base_url: str | None = None,
        api_key: str | None = None,
        *,
        call_seconds: float | None = 60.0,
        request_seconds: float = 30.0,
        retries: Retries | None = None,
    ) -> None:
        """As `StyleFlow`."""
        context = context_of(
            base_url, api_key, call_seconds=call_seconds, request_seconds=request_seconds, retries=retries
        )
        self._use(context, httpx.AsyncClient(follow_redirects=False))

    def _use(self, context: Context, http: httpx.AsyncClient) -> None:
        self._context, self._http = context, http
        self.jobs, self.batches, self.uploads = AsyncJobs(self), AsyncBatches(self), AsyncUploads(self)
        self.webhooks, self.exports = AsyncWebhooks(self), AsyncExports(self)
        self.keys, self.policies, self.erasures = AsyncKeys(self), AsyncPolicies(self), AsyncErasures(self)

    wait, wait_batch = One(waiting.wait), One(waiting.wait_batch)
    upload_file, submit_file = One(uploading.upload_file), One(uploading.submit_file)
    events, models, model = Many(webhook_calls.events), One(other_calls.models), One(other_calls.model)
    limits, project, usage = One(other_calls.limits), One(account_calls.project), One(account_calls.usage)
    audit_events = Many(account_calls.audit_events)
    get_retention, put_retention = One(keeping_calls.get_retention), One(keeping_calls.put_retention)

    def with_patience(self, call_seconds: float | None, retries: Retries | None = None) -> AsyncStyleFlow:
        """The same client, its connections too, with another bound on the time of a call."""
        other = object.__new__(AsyncStyleFlow)
        other._use(patient(self._context, call_seconds, retries), self._http)
        return other

    async def run(self, plan: Plan[T]) -> T:
        """Carry out a plan that emits nothing."""
        flow, hands, reply = plan(self._context), AsyncHands(self._http, self._context), None
        try:
            while True:
                reply = await hands.carry_out(flow.send(reply))
        except StopIteration as end:
            return cast("T", end.value)
        finally:
            await hands.close()

    async def iterate(self, plan: Listing[M]) -> AsyncIterator[M]:
        """What a listing emits, as it is asked for."""
        flow, hands, reply = plan(self._context), AsyncHands(self._http, self._context), None
        try:
            while True:
                try:
                    step = flow.send(reply)
                except StopIteration:
                    return
                reply = None
                if isinstance(step, Emit):
                    yield step.value
                else:
                    reply = await hands.carry_out(step)
        finally:
            await hands.close()

    async def close(self) -> None:
        """Give the connections back."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


class AsyncHands:
    """What one flow holds open."""

    def __init__(self, http: httpx.AsyncClient, context: Context) -> None:
        self._http = http
        self._context = context
        self._response: httpx.Response | None = None
        self._chunks: AsyncIterator[bytes] = _no_bytes()

    async def carry_out(self, step: Step) -> Any:
        match step:
            case Send(request, until):
                return await self._answer(request, until)
            case Open(request):
                return await self._head(request)
            case Next():
                return await self._next()
            case Pause(seconds):
                return await asyncio.sleep(seconds)
            case Do(work):
                return await asyncio.to_thread(work)
        raise AssertionError(f"no such step: {step}")

    async def close(self) -> None:
        response, self._response = self._response, None
        if response is not None:
            with suppress(*FAILURES):
                await response.aclose()

    async def _answer(self, request: Request, until: float | None) -> Answer | Broken:
        opened = await self._open(request)
        if isinstance(opened, Answer):
            opened = await self._rest(opened, until)
        await self.close()
        return opened

    async def _head(self, request: Request) -> Answer | Broken:
        opened = await self._open(request)
        if isinstance(opened, Broken) or opened.is_success:
            return opened
        return await self._rest(opened, None)

    async def _open(self, request: Request) -> Answer | Broken:
        await self.close()
        content = async_blocks(request.content) if isinstance(request.content, FileSlice) else request.content
        try:
            built = self._http.build_request(
                request.method,
                request.url,
                headers=dict(request.headers),
                content=content,
                timeout=timeout_of(request),
            )
            self._response = await self._http.send(built, stream=True)
        except FAILURES as error:
            return broken(error)
        self._chunks = self._response.aiter_bytes()
        return head_of(self._response)

    async def _rest(self, head: Answer, until: float | None) -> Answer | Broken:
        body = Gathered()
        while True:
            chunk = await self._next()
            if isinstance(chunk, Broken):
                return chunk
            if chunk is None:
                return replace(head, body=body.whole)
            late = until is not None and self._context.clock() > until
            if late or not body.add(chunk):
                return Broken("the answer did not end " + ("in time" if late else "where an answer may"))

    async def _next(self) -> bytes | Broken | None:
        try:
            return await anext(self._chunks, None)
        except FAILURES as error:
            return broken(error)


async def async_blocks(content: FileSlice) -> AsyncIterator[bytes]:
    """The bytes of the slice, read beside the loop."""
    reading = blocks(content)
    try:
        while (block := await asyncio.to_thread(next, reading, None)) is not None:
            yield block
    finally:
        reading.close()


async def _no_bytes() -> AsyncIterator[bytes]:
    return
    yield b""
