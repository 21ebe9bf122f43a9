"""Long lists as NDJSON, CSV or Parquet, written while they are read: memory holds one piece of the list at a time."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from fastapi import Header
from fastapi.responses import Response, StreamingResponse

from api.negotiation import CSV, LIST_FORMS, NDJSON, PARQUET
from styleflow.errors import InvalidRequest
from styleflow.exports.columns import Column

Row = Mapping[str, Any]
Flatten = Callable[[Row], Sequence[Any]]
"""The cells of a row, in the order of the columns."""

GROUP_ROWS = 16_384
"""Rows of a Parquet row group: what is held in memory of a list that is written in that form."""
VARY = {"Vary": "Accept"}
ACCEPT = Header(description=f"One of {', '.join(LIST_FORMS)}. The last three give the whole list, without pages.")
FORMS: dict[str, Any] = {
    NDJSON: {"schema": {"type": "string", "description": "One object of `data` in each line."}},
    CSV: {"schema": {"type": "string", "description": "RFC 4180, with a header line; an empty cell is null."}},
    PARQUET: {"schema": {"type": "string", "format": "binary", "description": "The columns of the CSV, with types."}},
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


def as_parquet(pieces: Iterable[Iterable[Row]], columns: Sequence[Column], flatten: Flatten) -> Iterator[bytes]:
    """A chunk per row group, and the index at the end."""
    # Loads pyarrow and numpy, some 65 MB: a process pays for it with its first such list.
    from styleflow.exports.parquet import ParquetSheet

    outlet = _Outlet()
    sheet = ParquetSheet(outlet, columns, group_rows=GROUP_ROWS)
    for piece in pieces:
        sheet.write([flatten(row) for row in piece])
        if written := outlet.taken():
            yield written
    sheet.close()
    yield outlet.taken()


class _Outlet(io.RawIOBase):
    """A file of which whatever was written can be taken away."""

    def __init__(self) -> None:
        self._written = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._written += data
        return len(data)

    def taken(self) -> bytes:
        written = bytes(self._written)
        self._written.clear()
        return written


def whole(
    form: str, pieces: Iterable[Iterable[Row]], columns: Sequence[Column], flatten: Flatten, headers: Mapping[str, str]
) -> Response:
    """The answer in NDJSON, CSV or Parquet. Should reading fail on the way, the connection breaks off: no reader takes
    part of a list for all of it."""
    if form == NDJSON:
        chunks = ndjson(pieces)
    elif form == CSV:
        chunks = as_csv(pieces, [column.name for column in columns], flatten)
    else:
        chunks = as_parquet(pieces, columns, flatten)
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
