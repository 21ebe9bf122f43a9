"""`/v1/exports`: copies of many rows in files. The request writes one row; the light worker writes the files."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Body, Query, Request
from fastapi.responses import RedirectResponse, Response, StreamingResponse
from sqlalchemy.orm import Session

from api import export_shapes
from api.answers import Answer, Once, as_json, ok
from api.auth import JobsReader
from api.dependencies import JSON_ONLY, IdempotencyKey, RequestId, Services, ServicesDep
from api.documented import IDEMPOTENT, WITH_BODY, WITH_KEY, problems
from api.pages import DEFAULT_LIMIT, clamp_limit, link_header, page
from api.schemas.exports import (
    CREATE_EXAMPLES,
    EXPORT_EXAMPLE,
    CreateExport,
    Export,
    ExportFilePage,
    ExportFilters,
    ExportPage,
    FileQuery,
)
from styleflow.api_keys import Principal
from styleflow.errors import Erased, ForbiddenScope, NotFound, ResultNotReady, SourceNotFound
from styleflow.export_tables import ExportRow
from styleflow.exports import queries
from styleflow.exports.keeping import forget_export
from styleflow.exports.manifest import MANIFEST_NAME, file_name
from styleflow.exports.state import EVIDENCE, TERMINAL, ExportState, Format
from styleflow.exports.writing import MEDIA_TYPES

router = APIRouter(prefix="/v1/exports", tags=["exports"], dependencies=[JSON_ONLY])

ADDRESS_SECONDS = 900
_NAME = re.compile(r"part-([0-9]{5,9})\.[a-z]+")
_EXAMPLE: dict[str, Any] = {
    "content": {"application/json": {"examples": {"export": {"summary": "An export", "value": EXPORT_EXAMPLE}}}}
}
_LOCATION = {"description": "Where to follow the export.", "schema": {"type": "string"}}
_RETRY_AFTER = {"description": "Seconds until it is worth asking.", "schema": {"type": "integer"}}


@router.post(
    "",
    operation_id="createExport",
    summary="Have many rows written into files",
    status_code=202,
    response_model=Export,
    responses={
        **problems(*WITH_KEY, *WITH_BODY, *IDEMPOTENT, "source_not_allowed", "not_found", "erased"),
        202: {**_EXAMPLE, "headers": {"Location": _LOCATION, "Retry-After": _RETRY_AFTER}},
    },
)
def create_export(
    body: Annotated[CreateExport, Body(openapi_examples=CREATE_EXAMPLES)],
    principal: JobsReader,
    services: ServicesDep,
    request_id: RequestId,
    key: IdempotencyKey,
) -> Response:
    """Jobs that were accepted until now are in it, each as it stands when its row is written. An export is a copy and
    changes no job, so reading is all that a key must be allowed: jobs, and for anything made of frames also evidence.
    """
    _may_read(principal, body.rows)
    content = body.model_dump(mode="json", exclude_unset=True)
    once = Once(principal.project_id, "POST /v1/exports", key, content, services.settings.idempotency_hours)
    new = export_shapes.order(services, principal.project_id, body, request_id)
    with services.database.transaction() as session:
        return once.answer(session, lambda: _accepted(queries.create(session, new))).response()


def _accepted(row: ExportRow) -> Answer:
    headers = {"Location": f"/v1/exports/{row.id}", "Retry-After": "5"}
    return Answer(202, as_json(export_shapes.export(row, [])), headers)


def _may_read(principal: Principal, rows: str) -> None:
    if rows in EVIDENCE and "evidence:read" not in principal.scopes:
        raise ForbiddenScope("This API key lacks the scope evidence:read.")


@router.get(
    "",
    operation_id="listExports",
    summary="List exports, newest first",
    response_model=ExportPage,
    responses=problems(*WITH_KEY, "cursor_mismatch"),
)
def list_exports(
    request: Request, filters: Annotated[ExportFilters, Query()], principal: JobsReader, services: ServicesDep
) -> Response:
    """Without their files."""
    now = datetime.now(UTC).timestamp()
    query = {"list": "exports", "of": principal.project_id, "state": filters.state}
    after = None
    if filters.cursor is not None:
        created, last = services.cursors.open(filters.cursor, query, now)
        after = (datetime.fromisoformat(created), str(last))
    limit = clamp_limit(filters.limit)
    with services.database.transaction() as session:
        rows = queries.list_exports(session, principal.project_id, filters.state, limit + 1, after)
    cursor = None
    if len(rows) > limit:
        last_row = rows[limit - 1]
        cursor = services.cursors.seal([last_row.created_at.isoformat(), last_row.id], query, now)
    body = ExportPage.model_construct(**page([export_shapes.export(row, None) for row in rows[:limit]], cursor))
    return ok(body, link_header("/v1/exports", request.query_params.multi_items(), cursor))


@router.get(
    "/{export_id}",
    operation_id="getExport",
    summary="Follow one export",
    response_model=Export,
    responses={**problems(*WITH_KEY, "not_found"), 200: {**_EXAMPLE, "headers": {"Retry-After": _RETRY_AFTER}}},
)
def get_export(export_id: str, principal: JobsReader, services: ServicesDep) -> Response:
    """With its first files once it succeeded."""
    with services.database.transaction() as session:
        row = queries.get_export(session, principal.project_id, export_id)
        body = _shown(session, row)
    return ok(body, {} if ExportState(row.state) in TERMINAL else {"Retry-After": "5"})


def _shown(session: Session, row: ExportRow) -> Export:
    done = row.state == ExportState.SUCCEEDED
    return export_shapes.export(row, queries.list_files(session, row.id, DEFAULT_LIMIT) if done else [])


@router.post(
    "/{export_id}:cancel",
    operation_id="cancelExport",
    summary="Cancel an export",
    response_model=Export,
    responses={**problems(*WITH_KEY, "not_found"), 200: _EXAMPLE},
)
def cancel_export(export_id: str, principal: JobsReader, services: ServicesDep) -> Response:
    """At once; what was written of it is deleted. A finished export is left as it is."""
    with services.database.transaction() as session:
        row = queries.cancel(session, principal.project_id, export_id)
        body = _shown(session, row)
    return ok(body)


@router.delete(
    "/{export_id}",
    operation_id="deleteExport",
    summary="Delete a finished export and its files",
    status_code=204,
    responses=problems(*WITH_KEY, "not_found", "not_retryable"),
)
def delete_export(export_id: str, principal: JobsReader, services: ServicesDep) -> Response:
    """Files in a bucket of your own are yours and stay."""
    with services.database.transaction() as session:
        row = queries.finished(session, principal.project_id, export_id)
        forget_export(session, services.bucket, row)
    return Response(status_code=204)


@router.get(
    "/{export_id}/files",
    operation_id="listExportFiles",
    summary="List the files of an export",
    response_model=ExportFilePage,
    responses=problems(*WITH_KEY, "not_found", "result_not_ready", "cursor_mismatch"),
)
def list_files(
    request: Request,
    export_id: str,
    query: Annotated[FileQuery, Query()],
    principal: JobsReader,
    services: ServicesDep,
) -> Response:
    """In order of the rows, once it succeeded."""
    now = datetime.now(UTC).timestamp()
    bound = {"list": "export files", "of": export_id}
    after = 0 if query.cursor is None else int(services.cursors.open(query.cursor, bound, now)[0])
    limit = clamp_limit(query.limit)
    with services.database.transaction() as session:
        row = _succeeded(session, principal.project_id, export_id)
        files = queries.list_files(session, row.id, limit + 1, after)
    cursor = services.cursors.seal([files[limit - 1].number], bound, now) if len(files) > limit else None
    body = ExportFilePage.model_construct(**page([export_shapes.file(row, found) for found in files[:limit]], cursor))
    return ok(body, link_header(request.url.path, request.query_params.multi_items(), cursor))


def _succeeded(session: Session, project_id: str, export_id: str) -> ExportRow:
    """Raises NotFound, ResultNotReady."""
    row = queries.get_export(session, project_id, export_id)
    if row.state != ExportState.SUCCEEDED:
        final = ExportState(row.state) in TERMINAL
        raise ResultNotReady(f"The export is {row.state}, so there are no files.", final=final)
    return row


@router.get(
    "/{export_id}/files/{name}",
    operation_id="getExportFile",
    summary="Fetch one file of an export",
    response_class=Response,
    responses={
        **problems(*WITH_KEY, "not_found", "result_not_ready", "erased"),
        200: {
            "description": "The bytes.",
            "content": {kind: {"schema": {"type": "string", "format": "binary"}} for kind in MEDIA_TYPES.values()},
        },
        303: {
            "description": "An address from which the bytes can be read for 15 minutes, without a key.",
            "headers": {"Location": {"description": "That address.", "schema": {"type": "string"}}},
        },
    },
)
def get_file(
    export_id: str,
    name: str,
    principal: JobsReader,
    services: ServicesDep,
    redirect: Annotated[bool, Query(description="`false` has the bytes sent by this service itself.")] = True,
) -> Response:
    """`part-00001.csv` and so on, or `manifest.json`. Tracks, clips and frames need `evidence:read` here as well."""
    with services.database.transaction() as session:
        row = _succeeded(session, principal.project_id, export_id)
        _may_read(principal, row.rows)
        key, size = _object(session, row, name)
    if redirect:
        return RedirectResponse(services.bucket.presign_get(key, ADDRESS_SECONDS), status_code=303)
    kind = "application/json" if name == MANIFEST_NAME else MEDIA_TYPES[Format(row.format)]
    disposition = f'attachment; filename="{export_id}-{name}"'
    headers = {"Content-Disposition": disposition, "Content-Length": str(size)}
    return StreamingResponse(_bytes(services, key), media_type=kind, headers=headers)


def _object(session: Session, row: ExportRow, name: str) -> tuple[str, int]:
    """Key and size. Raises NotFound, also for what lies in the caller's own bucket."""
    if row.destination is not None:
        raise NotFound("The files of this export lie in your own bucket.")
    if name == MANIFEST_NAME and row.manifest is not None:
        return row.manifest["key"], row.manifest["size_bytes"]
    found = _NAME.fullmatch(name)
    if found is None or name != file_name(int(found[1]), row.format):
        raise NotFound("The export has no such file.")
    file = queries.get_file(session, row.id, int(found[1]))
    return file.key, file.size_bytes


def _bytes(services: Services, key: str) -> Iterator[bytes]:
    """The object a chunk at a time, the first one read already: what is gone is told as gone."""

    def read() -> Iterator[bytes]:
        with services.bucket.open(key) as chunks:
            yield from chunks

    reading = read()
    try:
        first = next(reading, b"")
    except SourceNotFound as error:
        raise Erased("The files of this export were kept for their time and then deleted.") from error

    def whole() -> Iterator[bytes]:
        yield first
        yield from reading

    return whole()
