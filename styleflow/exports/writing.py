"""Rows into one file: CSV or JSON Lines; Parquet has a file of its own. What is written is hashed on its way."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import IO, Any, Protocol

from styleflow.exports.columns import Column, Kind
from styleflow.exports.state import Format

MEDIA_TYPES = {
    Format.CSV: "text/csv",
    Format.JSONL: "application/x-ndjson",
    Format.PARQUET: "application/vnd.apache.parquet",
}
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What a spreadsheet may take for the beginning of a formula."""

Cells = Sequence[Any]


class Sheet(Protocol):
    """A file being written. `close` writes what a form needs at its end; the file below stays open."""

    def write(self, rows: Sequence[Cells]) -> None:
        """Cells in the order of the columns."""
        ...

    def close(self) -> None: ...


class Hashed:
    """A file that counts and hashes what goes into it."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._digest = hashlib.sha256()
        self.size = 0
        self.closed = False

    def write(self, data: Any) -> int:
        with memoryview(data) as view:
            self._digest.update(view)
            self._file.write(view)
            self.size += view.nbytes
            return view.nbytes

    def flush(self) -> None:
        self._file.flush()

    def close(self) -> None:
        """The file below is another's to close."""

    def writable(self) -> bool:
        return True

    def readable(self) -> bool:
        return False

    def seekable(self) -> bool:
        return False

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()


def open_sheet(format: Format, file: Hashed, columns: Sequence[Column], *, csv_safe: bool) -> Sheet:
    """A new file of that form. `csv_safe` matters to CSV only."""
    match format:
        case Format.CSV:
            return CsvSheet(file, columns, safe=csv_safe)
        case Format.JSONL:
            return LineSheet(file, columns)
        case Format.PARQUET:
            # Loads pyarrow and numpy, some 65 MB: a process pays for it with its first such file.
            from styleflow.exports.parquet import ParquetSheet

            return ParquetSheet(file, columns)


class CsvSheet:
    """RFC 4180 with a header line; an empty cell is null (or an empty text, which CSV cannot tell from it)."""

    def __init__(self, file: Hashed, columns: Sequence[Column], *, safe: bool) -> None:
        self._file = file
        self._cells = [_csv_cell(column.kind, safe=safe) for column in columns]
        self._put([[column.name for column in columns]])

    def write(self, rows: Sequence[Cells]) -> None:
        self._put(_converted(rows, self._cells))

    def _put(self, rows: Iterable[Cells]) -> None:
        written = io.StringIO(newline="")
        csv.writer(written, lineterminator="\r\n").writerows(rows)
        self._file.write(written.getvalue().encode())

    def close(self) -> None:
        """There is nothing at the end."""


class LineSheet:
    """A JSON object in each line, every column a member; JSON columns are nested."""

    def __init__(self, file: Hashed, columns: Sequence[Column]) -> None:
        self._file = file
        self._names = [column.name for column in columns]
        self._cells = [_line_cell(column.kind) for column in columns]

    def write(self, rows: Sequence[Cells]) -> None:
        encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode
        lines = [encode(dict(zip(self._names, cells, strict=True))) for cells in _converted(rows, self._cells)]
        self._file.write("".join(f"{line}\n" for line in lines).encode())

    def close(self) -> None:
        """There is nothing at the end."""


Convert = Callable[[Any], Any] | None


def _converted(rows: Iterable[Cells], converts: Sequence[Convert]) -> Iterable[Cells]:
    """Only the columns that need it are looked at one by one."""
    busy = [(place, convert) for place, convert in enumerate(converts) if convert is not None]
    for row in rows:
        cells = list(row)
        for place, convert in busy:
            if cells[place] is not None:
                cells[place] = convert(cells[place])
        yield cells


def _csv_cell(kind: Kind, *, safe: bool) -> Convert:
    match kind:
        case Kind.MOMENT:
            return rfc3339
        case Kind.NUMBER:
            return finite
        case Kind.TEXT if safe:
            return defused
        case _:
            return None


def _line_cell(kind: Kind) -> Convert:
    match kind:
        case Kind.MOMENT:
            return rfc3339
        case Kind.NUMBER:
            return finite
        case Kind.JSON:
            return json.loads
        case _:
            return None


def defused(text: str) -> str:
    """With an apostrophe in front where a spreadsheet would compute the text instead of showing it."""
    return f"'{text}" if text.startswith(_FORMULA) else text


def rfc3339(moment: datetime) -> str:
    """UTC with milliseconds, as everywhere in the API."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def finite(number: float) -> float | None:
    """JSON and spreadsheets know no NaN and no infinity; neither is a measurement."""
    return number if math.isfinite(number) else None
