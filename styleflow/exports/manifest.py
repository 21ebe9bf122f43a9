"""`manifest.json`: what was asked for, which files answer it, and by what they are checked. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from styleflow.export_tables import ExportFileRow, ExportRow
from styleflow.exports.columns import chosen
from styleflow.exports.state import Format, Rows
from styleflow.exports.writing import rfc3339

VERSION = "1"
MANIFEST_NAME = "manifest.json"
MANIFEST_NOTE = (
    "A job that was erased after its row was written stays in these files until they are deleted: when the export"
    " expires where they lie in the service's own bucket, else by whoever owns the bucket."
)


def file_name(number: int, format: str) -> str:
    """`part-00001.csv`, from 1; also the last part of the file's key."""
    return f"part-{number:05}.{format}"


def manifest_bytes(export: ExportRow, files: Sequence[ExportFileRow]) -> bytes:
    """The manifest of a finished export as UTF-8 JSON; files in order."""
    columns = chosen(Rows(export.rows), export.fields)
    value = {
        "manifest_version": VERSION,
        "export_id": export.id,
        "rows": export.rows,
        "format": export.format,
        "csv_safe": export.csv_safe if export.format == Format.CSV else None,
        "query": export.query,
        "until": rfc3339(export.created_at),
        "expires_after_days": export.keep_days if export.destination is None else None,
        "schema": [{"name": column.name, "type": column.kind, "nullable": True} for column in columns],
        "counts": {"rows": export.row_count, "files": export.file_count, "bytes": export.byte_count},
        "files": [_file(row, export.format) for row in files],
        "note": MANIFEST_NOTE,
    }
    return json.dumps(value, indent=1, ensure_ascii=False).encode()


def _file(row: ExportFileRow, format: str) -> Mapping[str, Any]:
    return {
        "name": file_name(row.number, format),
        "key": row.key,
        "size_bytes": row.size_bytes,
        "sha256": row.sha256,
        "rows": row.row_count,
    }
