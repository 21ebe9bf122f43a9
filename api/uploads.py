"""`/v1/uploads`: announce a file, send its bytes to the bucket, complete. For the local bucket, this is the bucket."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO, Annotated, Any

from fastapi import APIRouter, Body, Query, Request
from fastapi.responses import Response
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from api import shapes
from api.answers import Answer, Once, ok
from api.auth import JobsReader, JobsWriter
from api.dependencies import JSON_ONLY, IdempotencyKey, Services, ServicesDep
from api.documented import IDEMPOTENT, WITH_BODY, WITH_KEY, problems
from api.middleware import STALL_SECONDS, closing, unstalled
from api.problems import response_to
from api.schemas.uploads import CREATE_EXAMPLES, CreateUpload, Upload
from api.upload_rows import announce_upload, completed_upload, get_upload, pending_upload, waiting_hours
from styleflow.errors import Erased, LegalHold, NotFound, PayloadTooLarge, StyleFlowError, UploadMismatch
from styleflow.jobs.holds import is_upload_held
from styleflow.storage.bucket import PresignedPut
from styleflow.tables import UploadRow

ADDRESS_SECONDS = 3600
_BLOCK_BYTES = 1 << 20

router = APIRouter(prefix="/v1/uploads", tags=["uploads"])


@router.post(
    "",
    operation_id="createUpload",
    summary="Announce a file and get a place to put it",
    status_code=201,
    response_model=Upload,
    responses=problems(*WITH_KEY, *WITH_BODY, *IDEMPOTENT, "erased"),
    dependencies=[JSON_ONLY],
)
def create_upload(
    body: Annotated[CreateUpload, Body(openapi_examples=CREATE_EXAMPLES)],
    principal: JobsWriter,
    services: ServicesDep,
    key: IdempotencyKey,
) -> Response:
    """Then PUT exactly that many bytes to `url` with the given `headers`, and call `:complete`."""
    most = min(services.settings.max_upload_bytes, services.settings.max_media_bytes)
    if body.size_bytes > most:
        raise PayloadTooLarge(f"An upload may have at most {most} bytes.")
    content = body.model_dump(mode="json", exclude_unset=True)
    once = Once(principal.project_id, "POST /v1/uploads", key, content, services.settings.idempotency_hours)
    with services.database.transaction() as session:
        answer = once.answer(session, lambda: _announced(services, session, principal.project_id, body))
        row = _made(session, principal.project_id, answer)
    return ok(shapes.upload(row, _address(services, row)), answer.headers, status=answer.status)


def _announced(services: Services, session: Session, project_id: str, body: CreateUpload) -> Answer:
    """Only the id, because this is what an Idempotency-Key keeps: state and address are those of the moment."""
    row = announce_upload(session, project_id, body, waiting_hours(services.settings.source_hours))
    return Answer(201, {"id": row.id}, {"Location": f"/v1/uploads/{row.id}"})


def _made(session: Session, project_id: str, answer: Answer) -> UploadRow:
    try:
        return get_upload(session, project_id, answer.body["id"])
    except NotFound as error:  # a repeated request, and the upload was deleted in between
        raise Erased("The upload that this key made was deleted; announce it with another key.") from error


def _address(services: Services, row: UploadRow) -> PresignedPut | None:
    """Where the bytes go; None when they have arrived or the upload is over. Signing talks to nobody."""
    if row.state != "pending" or row.expires_at < datetime.now(UTC):
        return None
    return services.bucket.presign_put(row.key, row.size_bytes, row.sha256, row.content_type, ADDRESS_SECONDS)


@router.get(
    "/{upload_id}",
    operation_id="getUpload",
    summary="Look at an upload",
    response_model=Upload,
    responses=problems(*WITH_KEY, "not_found", "erased"),
)
def read_upload(upload_id: str, principal: JobsReader, services: ServicesDep) -> Response:
    """While it is pending, with a fresh address."""
    with services.database.transaction() as session:
        row = get_upload(session, principal.project_id, upload_id)
    writable = "jobs:write" in principal.scopes
    return ok(shapes.upload(row, _address(services, row) if writable else None))


@router.post(
    "/{upload_id}:complete",
    operation_id="completeUpload",
    summary="Have the uploaded bytes checked",
    response_model=Upload,
    responses=problems(*WITH_KEY, "not_found", "erased", "upload_mismatch"),
    dependencies=[JSON_ONLY],
)
def complete_upload(upload_id: str, principal: JobsWriter, services: ServicesDep) -> Response:
    """Safe to repeat. Submitting a job does the same by itself."""
    row = completed_upload(services.database, services.bucket, principal.project_id, upload_id)
    return ok(shapes.upload(row, None))


@router.delete(
    "/{upload_id}",
    operation_id="deleteUpload",
    summary="Delete an upload and its bytes",
    status_code=204,
    responses=problems(*WITH_KEY, "not_found", "erased", "legal_hold"),
)
def delete_upload(upload_id: str, principal: JobsWriter, services: ServicesDep) -> Response:
    """A job that still waits for these bytes will fail with `source_not_found`."""
    with services.database.transaction() as session:
        row = get_upload(session, principal.project_id, upload_id, lock=True)
        if is_upload_held(session, principal.project_id, upload_id):
            raise LegalHold("A job under legal hold names this upload.")
        # Before the commit: should the store refuse, the row still says that there are bytes.
        services.bucket.erase([row.key])
        session.delete(row)
    return Response(status_code=204)


_BINARY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}


@router.put(
    "/{upload_id}/content",
    operation_id="putUploadContent",
    summary="Send the bytes of an upload (local bucket)",
    status_code=204,
    responses=problems(
        "unauthenticated", "invalid_request", "not_found", "request_timeout", "payload_too_large", "upload_mismatch"
    ),
    openapi_extra=_BINARY,
)
async def put_content(
    request: Request, upload_id: str, services: ServicesDep, expires: Annotated[int, Query()], signature: str
) -> Response:
    """Use the address that `createUpload` gave; it carries its own permission and needs no API key."""
    try:
        services.upload_tokens.check(upload_id, expires, signature, datetime.now(UTC).timestamp())
        row = await run_in_threadpool(_pending, services, upload_id)
        announced = request.headers.get("content-length", "")
        if announced.isdigit() and int(announced) > row.size_bytes:
            raise PayloadTooLarge(f"{row.size_bytes} bytes were announced for this upload.")
        await _receive(request, services, row)
    except StyleFlowError as error:
        return _Closing(response_to(error, request))
    return Response(status_code=204)


class _Closing(Response):
    """An answer to a body that was not read to its end."""

    def __init__(self, inner: Response) -> None:
        super().__init__(status_code=inner.status_code)
        self._inner = inner

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self._inner(scope, receive, closing(receive, send))


def _pending(services: Services, upload_id: str) -> UploadRow:
    with services.database.transaction() as session:
        return pending_upload(session, upload_id)


async def _receive(request: Request, services: Services, row: UploadRow) -> None:
    """To disk, block by block; into the bucket only when length and hash are those announced."""
    with NamedTemporaryFile(prefix="styleflow-upload-") as file:
        size, digest = await _spool(unstalled(request.stream(), STALL_SECONDS), file.file, row.size_bytes)
        if size != row.size_bytes:
            raise UploadMismatch(f"{size} bytes arrived, {row.size_bytes} were announced.")
        if row.sha256 not in (None, digest):
            raise UploadMismatch("The SHA-256 of the bytes is not the one that was announced.")
        await run_in_threadpool(_keep, services, row.id, Path(file.name))


def _keep(services: Services, upload_id: str, path: Path) -> None:
    """Into the bucket, unless the upload was completed or deleted while the bytes came: the row is locked meanwhile."""
    with services.database.transaction() as session:
        row = pending_upload(session, upload_id, lock=True)
        services.bucket.put(row.key, path, row.content_type)


async def _spool(stream: AsyncIterator[bytes], file: IO[bytes], most: int) -> tuple[int, str]:
    """How many bytes came, and their SHA-256. Raises PayloadTooLarge at the first byte too many."""
    size, digest, block = 0, hashlib.sha256(), bytearray()

    def write(data: bytes) -> None:
        digest.update(data)
        file.write(data)

    try:
        async for chunk in stream:
            size += len(chunk)
            if size > most:
                raise PayloadTooLarge(f"{most} bytes were announced for this upload.")
            block += chunk
            if len(block) >= _BLOCK_BYTES:
                await run_in_threadpool(write, bytes(block))
                block.clear()
    except ClientDisconnect as error:
        raise UploadMismatch(f"The connection ended after {size} bytes.") from error
    await run_in_threadpool(write, bytes(block))
    await run_in_threadpool(file.flush)
    return size, digest.hexdigest()
