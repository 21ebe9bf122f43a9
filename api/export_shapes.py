"""Requests become orders for an export, and rows of exports become bodies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from api.dependencies import Services
from api.schemas import exports
from api.schemas.jobs import tag_of
from styleflow.errors import InvalidRequest, SourceNotAllowed
from styleflow.export_tables import ExportFileRow, ExportRow
from styleflow.exports.columns import chosen
from styleflow.exports.destinations import may_write
from styleflow.exports.manifest import MANIFEST_NAME, file_name
from styleflow.exports.queries import NewExport
from styleflow.exports.state import ExportState
from styleflow.storage.keys import checked


def order(services: Services, project_id: str, body: exports.CreateExport, request_id: str) -> NewExport:
    """Raises InvalidRequest for columns that there are not, SourceNotAllowed for a bucket that is not written into."""
    return NewExport(
        project_id=project_id,
        rows=body.rows,
        format=body.format,
        fields=[column.name for column in chosen(body.rows, body.fields)],
        csv_safe=body.csv_safe,
        query=_query(body),
        destination=None if body.destination is None else _destination(services, project_id, body.destination),
        request_id=request_id,
        keep_days=services.settings.exports_days,
    )


def _query(body: exports.CreateExport) -> dict[str, Any]:
    query = body.query.model_dump(mode="json", exclude_none=True)
    if body.batch_id is not None:
        query["batch_id"] = body.batch_id
    if "tag" in query:
        query["tag"] = list(tag_of(query["tag"]) or ())
    return query


def _destination(services: Services, project_id: str, destination: exports.Destination) -> dict[str, Any]:
    allowed = may_write(services.settings.export_buckets, project_id, destination.bucket)
    if not allowed or destination.bucket == services.bucket.name:
        raise SourceNotAllowed("Exports are not written into this bucket.")
    if destination.prefix:
        if not destination.prefix.endswith("/"):
            raise InvalidRequest("/destination/prefix: ends in a slash")
        checked(destination.prefix[:-1])
    return destination.model_dump(mode="json")


def export(row: ExportRow, files: Sequence[ExportFileRow] | None) -> exports.Export:
    """`files` is None in a list."""
    own = f"/v1/exports/{row.id}"
    here = row.destination is None and row.state == ExportState.SUCCEEDED
    return exports.Export.model_validate(
        {
            "id": row.id,
            "state": row.state,
            "rows": row.rows,
            "format": row.format,
            "fields": row.fields,
            "csv_safe": row.csv_safe,
            "query": _shown(row.query),
            "destination": row.destination,
            "counts": {"rows": row.row_count, "files": row.file_count, "bytes": row.byte_count},
            "files": None if files is None else [file(row, found) for found in files],
            "error": row.error,
            "created_at": row.created_at,
            "started_at": row.started_at,
            "finished_at": row.finished_at,
            "expires_at": row.expires_at,
            "links": {
                "self": own,
                "files": f"{own}/files",
                "manifest": f"{own}/files/{MANIFEST_NAME}" if here else None,
            },
        }
    )


def _shown(query: dict[str, Any]) -> dict[str, Any]:
    return {**query, "tag": ":".join(query["tag"])} if "tag" in query else query


def file(export_row: ExportRow, row: ExportFileRow) -> exports.ExportFile:
    name = file_name(row.number, export_row.format)
    ours = export_row.destination is None
    return exports.ExportFile(
        name=name,
        rows=row.row_count,
        size_bytes=row.size_bytes,
        sha256=row.sha256,
        key=None if ours else row.key,
        url=f"/v1/exports/{export_row.id}/files/{name}" if ours else None,
    )
