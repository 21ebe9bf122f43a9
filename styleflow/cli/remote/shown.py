"""How answers are written: a JSON object a line for programs, aligned columns on a terminal, tabs into a pipe."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

Value = Mapping[str, Any]
Columns = Mapping[str, Callable[[Value], object]]
"""Heading → what of the value stands beneath it. None is written as a dash."""


STANDARD_ERROR = Console(stderr=True, highlight=False)
"""One for bars and sentences alike, so that a sentence stands above the bars and not within them."""
ID = re.compile(r"[a-z]{3}_[0-9A-HJKMNP-TV-Z]{26}")
"""Folded, it could not be copied."""
_LONE = re.compile("[\ud800-\udfff]")
UNITS = ((86_400, "d"), (3600, "h"), (60, "min"))


@dataclass(frozen=True)
class Output:
    """Where a command's answers go. Everything else (progress, warnings, errors) goes to standard error."""

    as_json: bool
    console: Console = field(default_factory=lambda: Console(highlight=False))

    def rows(self, values: Iterable[Value], columns: Columns) -> int:
        """One line each, written as they come unless they are to be aligned. Returns how many."""
        if not self.as_json and self.console.is_terminal:
            return self._table(list(values), columns)
        count = 0
        for count, value in enumerate(values, start=1):  # noqa: B007 (counted, also where there is none)
            self.row(value, columns)
        return count

    @contextmanager
    def arriving(self, columns: Columns) -> Iterator[Callable[[Value], None]]:
        """For rows that come while bars are drawn: on a terminal they are kept and shown together at the end, whatever
        ended it; elsewhere each is written at once."""
        kept: list[Value] = []
        keep = self.console.is_terminal and not self.as_json
        try:
            yield kept.append if keep else lambda value: self.row(value, columns)
        finally:
            self._table(kept, columns)

    def row(self, value: Value, columns: Columns) -> None:
        """One line, by itself."""
        if self.as_json:
            self.json(value)
        else:
            typer.echo("\t".join(text_of(read(value)) for read in columns.values()))

    def card(self, value: Value, fields: Columns) -> None:
        """One value, a line a field; what there is none of is left out."""
        if self.as_json:
            self.json(value)
            return
        grid = Table.grid(padding=(0, 2, 0, 0))
        grid.add_column(no_wrap=True, style="dim")
        grid.add_column(overflow="fold")
        for heading, read in fields.items():
            if (found := read(value)) not in (None, "", [], {}):
                grid.add_row(heading, escape(text_of(found)))
        self.console.print(grid)

    def json(self, value: Value) -> None:
        typer.echo(_dumped(value))

    def document(self, value: Value) -> None:
        """A value with much inside: in one line for programs, indented for people."""
        typer.echo(_dumped(value, indent=None if self.as_json else 2))

    def _table(self, values: list[Value], columns: Columns) -> int:
        table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
        lines = [[text_of(read(value)) for read in columns.values()] for value in values]
        for number, heading in enumerate(columns):
            table.add_column(heading, no_wrap=any(ID.fullmatch(line[number]) for line in lines), overflow="fold")
        for line in lines:
            table.add_row(*map(escape, line))
        if values:
            self.console.print(table)
        return len(values)


def _dumped(value: Value, indent: int | None = None) -> str:
    """Letters as they are, but for names of files that are no text."""
    text = json.dumps(value, ensure_ascii=False, indent=indent)
    return text if text.isascii() or not _LONE.search(text) else json.dumps(value, indent=indent)


def text_of(value: object) -> str:
    """For people: one line, nothing that moves the cursor."""
    if value is None or value == "":
        return "–"
    if isinstance(value, list | tuple):
        return ", ".join(text_of(part) for part in value)
    if isinstance(value, Mapping):
        return ", ".join(f"{name}={text_of(part)}" for name, part in value.items())
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in str(value))


def moment_of(text: object) -> str | None:
    """`2026-11-20 12:31:00` in UTC of an RFC 3339 moment."""
    return str(text)[:19].replace("T", " ") if text else None


def field_of(*path: str) -> Callable[[Value], object]:
    """Reads a member, or a member of a member; None where there is none."""

    def read(value: Value) -> object:
        found: Any = value
        for name in path:
            found = found.get(name) if isinstance(found, Mapping) else None
        return found

    return read


def time_of(name: str) -> Callable[[Value], object]:
    return lambda value: moment_of(value.get(name))


def span_of(seconds: float) -> str:
    """In the largest unit of which there are two: 90 s, 12 min, 5 h, 3 d."""
    for size, unit in UNITS:
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(0.0, seconds):.0f} s"


def age_of(name: str) -> Callable[[Value], object]:
    """How long ago a moment was."""

    def read(value: Value) -> object:
        text = value.get(name)
        return span_of((datetime.now(UTC) - datetime.fromisoformat(str(text))).total_seconds()) if text else None

    return read


def complain(sentence: str) -> None:
    """One sentence on standard error."""
    STANDARD_ERROR.print(text_of(sentence), style="red", soft_wrap=True, markup=False)


def remark(sentence: str) -> None:
    """Something to know, on standard error."""
    STANDARD_ERROR.print(text_of(sentence), style="yellow", soft_wrap=True, markup=False)
