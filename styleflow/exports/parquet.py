"""Rows into Parquet, a row group at a time, into anything that can be written to: memory holds one group."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import pyarrow as pa
from pyarrow import parquet

from styleflow.exports.columns import Column, Kind

GROUP_ROWS = 65_536
GROUP_BYTES = 16 << 20
"""A row group is written when it has so many rows, or bytes in memory."""

_TYPES = {
    Kind.TEXT: pa.string(),
    Kind.INTEGER: pa.int64(),
    Kind.NUMBER: pa.float64(),
    Kind.MOMENT: pa.timestamp("ms", tz="UTC"),
    Kind.JSON: pa.string(),
}


class Sink(Protocol):
    """What pyarrow needs of a file that is only written to."""

    @property
    def closed(self) -> bool: ...

    def write(self, data: Any) -> int: ...
    def flush(self) -> None: ...
    def close(self) -> None: ...
    def writable(self) -> bool: ...
    def readable(self) -> bool: ...
    def seekable(self) -> bool: ...


class ParquetSheet:
    """Every column may be null. Compressed by Snappy, which every reader knows; JSON columns are text."""

    def __init__(
        self, file: Sink, columns: Sequence[Column], *, group_rows: int = GROUP_ROWS, group_bytes: int = GROUP_BYTES
    ) -> None:
        self._schema = pa.schema([pa.field(column.name, _TYPES[column.kind]) for column in columns])
        self._moments = [place for place, column in enumerate(columns) if column.kind is Kind.MOMENT]
        self._writer = parquet.ParquetWriter(file, self._schema, compression="snappy")
        self._group_rows, self._group_bytes = group_rows, group_bytes
        self._held: list[Any] = []

    def write(self, rows: Sequence[Sequence[Any]]) -> None:
        if not rows:
            return
        columns = zip(*rows, strict=True)
        arrays = [self._array(values, place) for place, values in enumerate(columns)]
        self._held.append(pa.RecordBatch.from_arrays(arrays, schema=self._schema))
        full = sum(batch.num_rows for batch in self._held) >= self._group_rows
        if full or sum(batch.nbytes for batch in self._held) >= self._group_bytes:
            self._write_group()

    def close(self) -> None:
        """Write what is held, and the index at the end of the file."""
        self._write_group()
        self._writer.close()

    def _array(self, values: Sequence[Any], place: int) -> Any:
        made = self._schema.field(place).type
        if place in self._moments:
            # Microseconds first: a conversion that would lose some is refused otherwise.
            exact = pa.array(values, type=pa.timestamp("us", tz="UTC"))
            return exact.cast(made, safe=False)
        return pa.array(values, type=made)

    def _write_group(self) -> None:
        if self._held:
            self._writer.write_table(pa.Table.from_batches(self._held, self._schema), row_group_size=self._group_rows)
            self._held = []
