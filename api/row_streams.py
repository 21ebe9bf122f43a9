"""Long lists as NDJSON or CSV, written while they are read: memory holds one piece of the list at a time."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from fastapi import Header
from fastapi.responses import Response, StreamingResponse

from api.negotiation import CSV, LIST_FORMS, NDJSON
from styleflow.errors import InvalidRequest

Row = Mapping[str, Any]
Flatten = Callable[[Row], Sequence[Any]]
"""The cells of a row, in the order of the columns."""

VARY = {"Vary": "Accept"}
ACCEPT = Header(description=f"One of {', '.join(LIST_FORMS)}. The last two give the whole list, without pages.")
FORMS: dict[str, Any] = {
    NDJSON: {"schema": {"type": "string", "description": "One object of `data` in each line."}},
    CSV: {"schema": {"type": "string", "description": "RFC 4180, with a header line; an empty cell is null."}},
}
"""`content` of an operation's 200 beside JSON."""


def ndjson(pieces: Iterable[Iterable[Row]]) -> Iterator[bytes]:
    """A line of JSON per row; one chunk per piece."""
    for piece in pieces:
        lines = (json.dumps(row, separators=(",", ":"), ensure_ascii=False, allow_nan=False) + "\n" for row in piece)
        yield "".join(lines).encode()


def as_csv(pieces: Iterable[Iterable[Row]], columns: Sequence[str], flatten: Flatten) -> Iterator[bytes]:
    """RFC 4180: a line of column names, then one per row; one chunk per piece."""
    yield _lines([columns])
    for piece in pieces:
        yield _lines(flatten(row) for row in piece)


def _lines(rows: Iterable[Sequence[Any]]) -> bytes:
    written = io.StringIO(newline="")
    csv.writer(written, lineterminator="\r\n").writerows(rows)
    return written.getvalue().encode()


def whole(
    form: str, pieces: Iterable[Iterable[Row]], columns: Sequence[str], flatten: Flatten, headers: Mapping[str, str]
) -> Response:
    """The answer in NDJSON or CSV. Should reading fail on the way, the connection breaks off: no reader takes part of
    a list for all of it."""
    chunks = ndjson(pieces) if form == NDJSON else as_csv(pieces, columns, flatten)
    return StreamingResponse(chunks, media_type=form, headers={**headers, **VARY})


def refuse_pages(given: Iterable[str]) -> None:
    """`limit` and `cursor` belong to pages; ignoring one would give more than was asked for. Raises InvalidRequest."""
    errors = [
        {"in": "query", "pointer": f"/{name}", "code": "value_error", "message": "only for pages of JSON"}
        for name in ("limit", "cursor")
        if name in given
    ]
    if errors:
        raise InvalidRequest(f"{errors[0]['pointer']}: {errors[0]['message']}", errors=errors)
