"""Long answers a piece at a time: lists in pages, and JSON Lines as they arrive."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Generic, TypeVar

from pydantic import BaseModel

from styleflow.client.calls import Call, exchange, fitted, json_of, request_of, rows_of
from styleflow.client.failures import ServiceUnreachable, UnreadableAnswer, excerpt
from styleflow.client.steps import Broken, Context, Emit, Flow, next_chunk

M = TypeVar("M", bound=BaseModel)
LONGEST_LINE = 16 << 20
"""Bytes. A line that does not end is no line of this service."""


class Listing(ABC, Generic[M]):
    """A plan that emits values of one kind."""

    @abstractmethod
    def __call__(self, context: Context) -> Flow[None]: ...


@dataclass(frozen=True)
class Pages(Listing[M]):
    """A list, page after page. Every page is asked for with its own tries and its own time."""

    path: str
    kind: type[M]
    query: Mapping[str, Any] = field(default_factory=dict)
    after: bool = False
    """Whether the next page is asked for by the last id (`after`), as in the feed of events, not by a cursor."""

    def __call__(self, context: Context) -> Flow[None]:
        query = dict(self.query)
        while True:
            body, status = yield from Call(
                method="GET", path=self.path, query=query, read=lambda answer: (json_of(answer), answer.status)
            )(context)
            rows = [fitted(self.kind, row, status) for row in rows_of(body, "data", status)]
            for row in rows:
                yield Emit(row)
            further = _further(body, self.after)
            if further is None:
                return
            name = "after" if self.after else "cursor"
            if query.get(name) == further:
                raise UnreadableAnswer("the list names the same page as the next", status=status)
            query[name] = further


def every_row(context: Context, path: str, kind: type[M]) -> Flow[list[M]]:
    """All rows of a list that is short enough to be held: for a plan that needs them before it goes on."""
    rows: list[M] = []
    paging = Pages(path, kind)(context)
    reply: Any = None
    while True:
        try:
            step = paging.send(reply)
        except StopIteration:
            return rows
        if isinstance(step, Emit):
            rows.append(step.value)
            reply = None
        else:
            reply = yield step


def _further(body: Mapping[str, Any], after: bool) -> str | None:
    if not after:
        cursor = body.get("next_cursor")
        return None if cursor is None else str(cursor)
    rows = body["data"]
    return str(rows[-1]["id"]) if rows and body.get("has_more") else None


@dataclass(frozen=True)
class Rows(Listing[M]):
    """JSON Lines, each handed on as it arrives. Raises ServiceUnreachable when they break off before their end."""

    path: str
    kind: type[M]
    query: Mapping[str, Any] = field(default_factory=dict)

    def __call__(self, context: Context) -> Flow[None]:
        headers = {"Accept": "application/x-ndjson"}
        call = Call(method="GET", path=self.path, query=self.query, headers=headers, read=json_of)
        request = replace(request_of(context, call), method="GET")
        answer = yield from exchange(context, request, repeatable=True, streamed=True)
        if not answer.is_success or "ndjson" not in answer.headers.get("content-type", ""):
            raise UnreadableAnswer("the answer is not JSON Lines", status=answer.status)
        pending, told = b"", 0
        while True:
            chunk = yield from next_chunk()
            if isinstance(chunk, Broken):
                raise ServiceUnreachable(f"the rows broke off after {told}: {chunk.message}")
            *lines, pending = (pending + (chunk or b"\n")).split(b"\n")
            if len(pending) > LONGEST_LINE:
                raise UnreadableAnswer("a line of the answer does not end", status=answer.status)
            for line in filter(None, lines):
                yield Emit(fitted(self.kind, _value(line, answer.status), answer.status))
                told += 1
            if chunk is None:
                return


def _value(line: bytes, status: int) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:
        raise UnreadableAnswer(f"a line is no JSON: {excerpt(line)}", status=status) from error
