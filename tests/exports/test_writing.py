"""Cells, lines and columns: what is written is what was there."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import BufferReader, parquet

from styleflow.exports.columns import Column, Kind
from styleflow.exports.parquet import ParquetSheet
from styleflow.exports.state import MAX_TRIES, Format, pause
from styleflow.exports.writing import Hashed, defused, open_sheet

COLUMNS = [Column("ref", Kind.TEXT), Column("n", Kind.INTEGER), Column("x", Kind.NUMBER), Column("at", Kind.MOMENT),
           Column("more", Kind.JSON)]  # fmt: skip
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), min_size=1)
moments = st.datetimes(datetime(1971, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))
rows = st.lists(
    st.tuples(
        st.none() | texts,
        st.none() | st.integers(-(2**63), 2**63 - 1),
        st.none() | st.floats(allow_nan=False, allow_infinity=False),
        st.none() | moments.map(lambda moment: moment.replace(microsecond=moment.microsecond // 1000 * 1000)),
        st.none() | st.dictionaries(texts, st.none() | st.booleans() | texts, max_size=3).map(json.dumps),
    ),
    max_size=5,
)


def written(format: Format, cells: Sequence[Any], *, csv_safe: bool = False) -> bytes:
    file = io.BytesIO()
    hashed = Hashed(file)
    sheet = open_sheet(format, hashed, COLUMNS, csv_safe=csv_safe)
    sheet.write(cells)
    sheet.close()
    assert (hashed.size, hashed.sha256) == (len(file.getvalue()), hashlib.sha256(file.getvalue()).hexdigest())
    return file.getvalue()


def stamp(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


@given(rows)
def test_csv_reads_back(cells: list[tuple[Any, ...]]) -> None:
    header, *found = csv.reader(io.StringIO(written(Format.CSV, cells).decode(), newline=""))
    assert header == [column.name for column in COLUMNS]
    wanted = [(ref, n, x, stamp(at), more) for ref, n, x, at, more in cells]
    assert found == [["" if cell is None else str(cell) for cell in row] for row in wanted]


@given(rows)
def test_lines_read_back(cells: list[tuple[Any, ...]]) -> None:
    found = [json.loads(line) for line in written(Format.JSONL, cells).decode().split("\n")[:-1]]
    assert found == [
        {"ref": ref, "n": n, "x": x, "at": stamp(at), "more": None if more is None else json.loads(more)}
        for ref, n, x, at, more in cells
    ]


@given(rows)
def test_parquet_reads_back(cells: list[tuple[Any, ...]]) -> None:
    found = parquet.read_table(BufferReader(written(Format.PARQUET, cells))).to_pylist()
    assert found == [dict(zip([column.name for column in COLUMNS], row, strict=True)) for row in cells]


@given(st.lists(texts, min_size=1))
def test_no_cell_of_a_safe_table_begins_as_a_formula_does_and_the_text_is_kept(refs: list[str]) -> None:
    cells = [(ref, -1, -0.5, None, '{"=1": "+1"}') for ref in refs]
    _, *found = csv.reader(io.StringIO(written(Format.CSV, cells, csv_safe=True).decode(), newline=""))
    for ref, row in zip(refs, found, strict=True):
        assert row[0][0] not in "=+-@\t\r"
        assert row[0] in (ref, f"'{ref}")
        assert row[1:3] == ["-1", "-0.5"], "numbers stay numbers"


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@sum", "\tx", "\rx"])
def test_what_a_spreadsheet_would_compute_has_an_apostrophe(text: str) -> None:
    assert defused(text) == f"'{text}"
    assert defused(f"a{text}") == f"a{text}"


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_null(number: float) -> None:
    row = [(None, None, number, None, None)]
    assert json.loads(written(Format.JSONL, row))["x"] is None
    assert written(Format.CSV, row).endswith(b",,,,\r\n")


def test_moments_are_in_utc() -> None:
    noon = datetime(2026, 1, 1, 12, tzinfo=timezone(timedelta(hours=2)))
    assert b"2026-01-01T10:00:00.000Z" in written(Format.CSV, [(None, None, None, noon, None)])


def test_parquet_holds_one_row_group_at_a_time() -> None:
    file = io.BytesIO()
    sheet = ParquetSheet(Hashed(file), COLUMNS[:2], group_rows=10)
    sizes = []
    for number in range(10):
        sheet.write([("a", number)] * 5)
        sizes.append(file.tell())
    sheet.close()
    assert len(set(sizes)) == 6, "every second piece filled a group"
    found = parquet.ParquetFile(BufferReader(file.getvalue()))
    assert [found.metadata.row_group(n).num_rows for n in range(found.num_row_groups)] == [10] * 5


def test_pauses_grow_to_a_limit_and_last_two_hours_in_all() -> None:
    pauses = [pause(tries) for tries in range(1, MAX_TRIES)]
    assert pauses == sorted(pauses)
    assert 1.5 * 3600 < sum(pauses) < 2.5 * 3600
