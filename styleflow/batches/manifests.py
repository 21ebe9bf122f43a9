"""A manifest, line by line: where each line ends, so that reading can go on there, and what it says. Pure.

A record is a line, in CSV too: a field holds no line break, so that a wrong line costs nobody but itself.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from styleflow.batches.items import read_json
from styleflow.errors import InvalidRequest

MAX_LINE_BYTES = 64 * 1024
TAG_PREFIX = "tag:"
COLUMNS = frozenset({"bucket", "key", "version_id", "url", "upload_id", "client_ref"})
_BYTE_ORDER_MARK = "\ufeff"


@dataclass(frozen=True, slots=True)
class RawLine:
    """One line, counted from 1; `end` is the offset in bytes behind it. `data` is None when it was too long to keep."""

    number: int
    end: int
    data: bytes | None


def lines(chunks: Iterable[bytes], *, offset: int = 0, number: int = 0) -> Iterator[RawLine]:
    """Cut into lines what begins at `offset`, behind line `number`. Holds a chunk and a line at a time."""
    held, dropped = b"", 0
    for chunk in chunks:
        *whole, held = (held + chunk).split(b"\n")
        for data in whole:
            number += 1
            offset += dropped + len(data) + 1
            yield RawLine(number, offset, None if dropped or len(data) > MAX_LINE_BYTES else data)
            dropped = 0
        if len(held) > MAX_LINE_BYTES:
            dropped, held = dropped + len(held), b""
    if held or dropped:
        yield RawLine(number + 1, offset + dropped + len(held), None if dropped else held)


def text_of(line: RawLine) -> str:
    """Without its line end, and without the mark that some programs put before the first. Raises InvalidRequest."""
    if line.data is None:
        raise InvalidRequest(f"this line has more than {MAX_LINE_BYTES} bytes")
    try:
        text = line.data.decode()
    except UnicodeDecodeError as error:
        raise InvalidRequest("this line is not UTF-8") from error
    return text.removeprefix(_BYTE_ORDER_MARK).strip() if line.number == 1 else text.strip()


def read_header(text: str) -> list[str]:
    """The names of the columns. Raises InvalidRequest when the manifest cannot be read with them."""
    columns = [name.strip() for name in _fields(text)]
    unknown = [name for name in columns if name not in COLUMNS and not name.startswith(TAG_PREFIX)]
    if unknown:
        known = ", ".join(sorted(COLUMNS))
        raise InvalidRequest(f"the manifest has a column {unknown[0][:64]!r}; there are {known} and tag:NAME")
    if len(set(columns)) != len(columns):
        raise InvalidRequest("the manifest has a column twice")
    if not {"url", "upload_id"} & set(columns) and not {"bucket", "key"} <= set(columns):
        raise InvalidRequest("the manifest has neither the columns bucket and key nor url nor upload_id")
    return columns


def read_record(text: str, columns: Sequence[str] | None) -> Mapping[str, Any]:
    """What a line says: of JSON Lines without `columns`, of CSV with them. Raises InvalidRequest, MalformedJson."""
    if columns is None:
        return read_json(text)
    fields = _fields(text)
    if len(fields) != len(columns):
        raise InvalidRequest(f"this line has {len(fields)} fields, the header has {len(columns)}")
    given = {name: value for name, value in zip(columns, fields, strict=True) if value}
    tags = {name.removeprefix(TAG_PREFIX): given.pop(name) for name in list(given) if name.startswith(TAG_PREFIX)}
    return {**given, "tags": tags} if tags else given


def _fields(text: str) -> list[str]:
    try:
        return next(csv.reader([text], strict=True))
    except csv.Error as error:
        raise InvalidRequest("this line is not CSV") from error
