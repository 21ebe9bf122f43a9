"""Calls of exports: copies of many rows in files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from styleflow.client.answers import Export, ExportFile
from styleflow.client.calls import Call, given, keyed, nothing, part, reads
from styleflow.client.lists import Pages


def create(
    format: str,
    *,
    query: Mapping[str, Any] | None = None,
    batch_id: str | None = None,
    fields: Sequence[str] | None = None,
    idempotency_key: str | None = None,
    **more: Any,
) -> Call[Export]:
    """Have many rows written into files. `format` is `csv`, `jsonl` or `parquet`."""
    columns = None if fields is None else list(fields)
    body = given(format=format, query=query, batch_id=batch_id, fields=columns, **more)
    headers = keyed(idempotency_key)
    return Call(method="POST", path="/v1/exports", body=body, headers=headers, repeatable=True, read=reads(Export))


def get(export_id: str) -> Call[Export]:
    """Where an export stands."""
    return Call(method="GET", path=f"/v1/exports/{part(export_id)}", read=reads(Export))


def list_(*, state: str | None = None, page_size: int | None = None) -> Pages[Export]:
    """Exports, newest first."""
    return Pages("/v1/exports", Export, {"state": state, "limit": page_size})


def cancel(export_id: str) -> Call[Export]:
    """Stop writing. A finished one is left as it is."""
    return Call(method="POST", path=f"/v1/exports/{part(export_id)}:cancel", repeatable=True, read=reads(Export))


def delete(export_id: str) -> Call[None]:
    """Delete a finished export and its files; those in a bucket of your own stay."""
    return Call(method="DELETE", path=f"/v1/exports/{part(export_id)}", read=nothing)


def files(export_id: str, *, page_size: int | None = None) -> Pages[ExportFile]:
    """The files of a finished export, in order of the rows."""
    return Pages(f"/v1/exports/{part(export_id)}/files", ExportFile, {"limit": page_size})
