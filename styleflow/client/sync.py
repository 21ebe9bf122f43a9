"""The client for threads: a driver that carries flows out, and the nouns with their methods."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
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


class Noun:
    """A group of calls."""

    def __init__(self, client: StyleFlow) -> None:
        self.client = client


class One(Generic[P, T]):
    """A method that carries out what it plans, and gives what comes of it."""

    def __init__(self, plan: Callable[P, Plan[T]]) -> None:
        self._plan = plan
        self.__doc__ = plan.__doc__

    def __get__(self, noun: Noun | StyleFlow | None, owner: type[object]) -> Callable[P, T]:
        if noun is None:
            return cast("Callable[P, T]", self)

        def carry_out(*args: P.args, **kwargs: P.kwargs) -> T:
            plan = self._plan(*args, **kwargs)
            return (noun.client if isinstance(noun, Noun) else noun).run(plan)

        return update_wrapper(carry_out, self._plan)


class Many(Generic[P, M]):
    """A method that gives what its listing has, one after the other, as it is asked for."""

    def __init__(self, plan: Callable[P, Listing[M]]) -> None:
        self._plan = plan
        self.__doc__ = plan.__doc__

    def __get__(self, noun: Noun | StyleFlow | None, owner: type[object]) -> Callable[P, Iterator[M]]:
        if noun is None:
            return cast("Callable[P, Iterator[M]]", self)

        def carry_out(*args: P.args, **kwargs: P.kwargs) -> Iterator[M]:
            plan = self._plan(*args, **kwargs)
            return (noun.client if isinstance(noun, Noun) else noun).iterate(plan)

        return update_wrapper(carry_out, self._plan)


class Jobs(Noun):
    """Videos and what was found."""

    create, get, list = One(job_calls.create), One(job_calls.get), Many(job_calls.list_)
    cancel, retry, rerun = One(job_calls.cancel), One(job_calls.retry), One(job_calls.rerun)
    delete, attempts, result = One(job_calls.delete), One(job_calls.attempts), One(job_calls.result)
    tracks, track, segments = One(job_calls.tracks), One(job_calls.track), One(job_calls.segments)
    report = One(job_calls.report)
    frames, clips = Many(job_calls.frames), Many(job_calls.clips)
    artifacts, download = One(job_calls.artifacts), One(downloading.download_artifact)
    hold, release, holds = One(keeping_calls.hold), One(keeping_calls.release), Many(keeping_calls.holds)


class Batches(Noun):
    """Many videos under one order."""

    create, get, list = One(batch_calls.create), One(batch_calls.get), Many(batch_calls.list_)
    items, errors = Many(batch_calls.items), Many(batch_calls.errors)
    pause, resume, cancel = One(batch_calls.pause), One(batch_calls.resume), One(batch_calls.cancel)
    retry_failed = One(batch_calls.retry_failed)


class Uploads(Noun):
    """Files on their way in. `StyleFlow.upload_file` does all of it."""

    create, get, delete = One(upload_calls.create), One(upload_calls.get), One(upload_calls.delete)
    sign_parts, complete = One(upload_calls.sign_parts), One(upload_calls.complete)
    stored_parts = One(upload_calls.stored_parts)


class Webhooks(Noun):
    """Addresses that are told of events, and what was sent to them."""

    create, get, list = One(webhook_calls.create), One(webhook_calls.get), Many(webhook_calls.list_)
    update, delete, ping = One(webhook_calls.update), One(webhook_calls.delete), One(webhook_calls.ping)
    rotate_secret, enable = One(webhook_calls.rotate_secret), One(webhook_calls.enable)
    deliveries, delivery = Many(webhook_calls.deliveries), One(webhook_calls.delivery)
    redeliver, replay = One(webhook_calls.redeliver), One(webhook_calls.replay)
    get_replay = One(webhook_calls.get_replay)


class Exports(Noun):
    """Copies of many rows in files."""

    create, get, list = One(export_calls.create), One(export_calls.get), Many(export_calls.list_)
    cancel, delete = One(export_calls.cancel), One(export_calls.delete)
    files, download = Many(export_calls.files), One(downloading.download_export)


class Keys(Noun):
    """API keys of the project."""

    create, get, list = One(other_calls.create_key), One(other_calls.get_key), Many(other_calls.list_keys)
    revoke, rotate = One(other_calls.revoke_key), One(other_calls.rotate_key)


class Policies(Noun):
    """By what verdicts are given."""

    get, put, list = One(policy_calls.get), One(policy_calls.put), Many(policy_calls.list_)
    revision, revisions = One(policy_calls.revision), Many(policy_calls.revisions)
    preview, relabel = One(policy_calls.preview), One(policy_calls.relabel)
    relabeling, relabelings = One(policy_calls.relabeling), Many(policy_calls.relabelings)


class Erasures(Noun):
    """Orders to erase, and their proofs."""

    create, get, list = One(keeping_calls.erase), One(keeping_calls.get_erasure), Many(keeping_calls.erasures)


class StyleFlow:
    """A service and its caller. Safe to use from several threads; close it, or use it in a `with` block."""

    def __init__(
        self,
        base_url: str | None = None,
        api_key: str | None = None,
        *,
        call_seconds: float | None = 60.0,
        request_seconds: float = 30.0,
        retries: Retries | None = None,
    ) -> None:
        """What is None comes from STYLEFLOW_URL and STYLEFLOW_API_KEY.

        `call_seconds` bounds a call with all its tries and pauses, `request_seconds` each wait of one request for the
        network. Raises BadArgument without a key.
        """
        context = context_of(
            base_url, api_key, call_seconds=call_seconds, request_seconds=request_seconds, retries=retries
        )
        self._use(context, httpx.Client(follow_redirects=False))

    def _use(self, context: Context, http: httpx.Client) -> None:
        self._context, self._http = context, http
        self.jobs, self.batches, self.uploads = Jobs(self), Batches(self), Uploads(self)
        self.webhooks, self.exports = Webhooks(self), Exports(self)
        self.keys, self.policies, self.erasures = Keys(self), Policies(self), Erasures(self)

    wait, wait_batch = One(waiting.wait), One(waiting.wait_batch)
    upload_file, submit_file = One(uploading.upload_file), One(uploading.submit_file)
    events, models, model = Many(webhook_calls.events), One(other_calls.models), One(other_calls.model)
    limits, project, usage = One(other_calls.limits), One(account_calls.project), One(account_calls.usage)
    audit_events = Many(account_calls.audit_events)
    get_retention, put_retention = One(keeping_calls.get_retention), One(keeping_calls.put_retention)

    def with_patience(self, call_seconds: float | None, retries: Retries | None = None) -> StyleFlow:
        """The same client, its connections too, with another bound on the time of a call."""
        other = object.__new__(StyleFlow)
        other._use(patient(self._context, call_seconds, retries), self._http)
        return other

    def run(self, plan: Plan[T]) -> T:
        """Carry out a plan that emits nothing."""
        driving = self._drive(plan)
        try:
            next(driving)
        except StopIteration as end:
            return cast("T", end.value)
        raise AssertionError("a plan that emits is iterated over")

    def iterate(self, plan: Listing[M]) -> Iterator[M]:
        """What a listing emits, as it is asked for."""
        return self._drive(plan)

    def _drive(self, plan: Plan[T]) -> Generator[Any, None, T]:
        flow, hands, reply = plan(self._context), Hands(self._http, self._context), None
        try:
            while True:
                step = flow.send(reply)
                reply = None
                if isinstance(step, Emit):
                    yield step.value
                else:
                    reply = hands.carry_out(step)
        except StopIteration as end:
            return cast("T", end.value)
        finally:
            hands.close()

    def close(self) -> None:
        """Give the connections back."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Hands:
    """What one flow holds open."""

    def __init__(self, http: httpx.Client, context: Context) -> None:
        self._http = http
        self._context = context
        self._response: httpx.Response | None = None
        self._chunks: Iterator[bytes] = iter(())

    def carry_out(self, step: Step) -> Any:
        match step:
            case Send(request, until):
                return self._answer(request, until)
            case Open(request):
                return self._head(request)
            case Next():
                return self._next()
            case Pause(seconds):
                return time.sleep(seconds)
            case Do(work):
                return work()
        raise AssertionError(f"no such step: {step}")

    def close(self) -> None:
        response, self._response = self._response, None
        if response is not None:
            with suppress(*FAILURES):
                response.close()

    def _answer(self, request: Request, until: float | None) -> Answer | Broken:
        opened = self._open(request)
        if isinstance(opened, Answer):
            opened = self._rest(opened, until)
        self.close()
        return opened

    def _head(self, request: Request) -> Answer | Broken:
        opened = self._open(request)
        if isinstance(opened, Broken) or opened.is_success:
            return opened
        return self._rest(opened, None)

    def _open(self, request: Request) -> Answer | Broken:
        self.close()
        content = blocks(request.content) if isinstance(request.content, FileSlice) else request.content
        try:
            built = self._http.build_request(
                request.method,
                request.url,
                headers=dict(request.headers),
                content=content,
                timeout=timeout_of(request),
            )
            self._response = self._http.send(built, stream=True)
        except FAILURES as error:
            return broken(error)
        self._chunks = self._response.iter_bytes()
        return head_of(self._response)

    def _rest(self, head: Answer, until: float | None) -> Answer | Broken:
        body = Gathered()
        while True:
            chunk = self._next()
            if isinstance(chunk, Broken):
                return chunk
            if chunk is None:
                return replace(head, body=body.whole)
            late = until is not None and self._context.clock() > until
            if late or not body.add(chunk):
                return Broken("the answer did not end " + ("in time" if late else "where an answer may"))

    def _next(self) -> bytes | Broken | None:
        try:
            return next(self._chunks, None)
        except FAILURES as error:
            return broken(error)
