"""The bytes of uploads, where the local bucket is the store and this the store's door: signed addresses, lengths and
hashes held to, and to disk block by block, so that memory stays flat whatever is sent."""

from __future__ import annotations

import hashlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO, Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from api.dependencies import Services, ServicesDep
from api.documented import problems
from api.middleware import STALL_SECONDS, closing, unstalled
from api.problems import response_to
from api.upload_rows import get_pending, part_plan
from styleflow.errors import NotFound, PayloadTooLarge, SourceNotFound, StyleFlowError, UploadMismatch
from styleflow.tables import UploadRow

_BLOCK_BYTES = 1 << 20

router = APIRouter(prefix="/v1/uploads/{upload_id}", tags=["uploads"])

_SENT: dict[str, Any] = {
    "openapi_extra": {
        "requestBody": {
            "required": True,
            "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
        }
    },
    "status_code": 204,
    "responses": {
        **problems(
            "unauthenticated", "invalid_request", "not_found", "request_timeout", "payload_too_large", "upload_mismatch"
        ),
        204: {"headers": {"ETag": {"description": "Of what was stored.", "schema": {"type": "string"}}}},
    },
}


@dataclass(frozen=True)
class Expected:
    """What was announced of a body: exactly so many bytes, and their SHA-256 where it is known."""

    size_bytes: int
    sha256: str | None = None


@router.put("/content", operation_id="putUploadContent", summary="Send the bytes of an upload (local bucket)", **_SENT)
async def put_content(
    request: Request, upload_id: str, services: ServicesDep, expires: Annotated[int, Query()], signature: str
) -> Response:
    """Use the address that `createUpload` gave; it carries its own permission and needs no API key."""

    async def store() -> str:
        services.upload_tokens.check(upload_id, expires, signature, datetime.now(UTC).timestamp())
        row = await run_in_threadpool(_pending, services, upload_id)
        return await _receive(
            request, services, Expected(row.size_bytes, row.sha256), lambda path: _keep(services, row.id, path)
        )

    return await _answered(request, store)


@router.put(
    "/parts/{number}", operation_id="putUploadPart", summary="Send one part of an upload (local bucket)", **_SENT
)
async def put_part(
    request: Request,
    upload_id: str,
    number: int,
    services: ServicesDep,
    expires: Annotated[int, Query()],
    signature: str,
) -> Response:
    """Use the address that `signUploadParts` gave; it carries its own permission and needs no API key."""

    async def store() -> str:
        services.upload_tokens.check(upload_id, expires, signature, datetime.now(UTC).timestamp(), number)
        row = await run_in_threadpool(_pending, services, upload_id)
        plan = part_plan(row)
        if plan is None or not 1 <= number <= plan.count:
            raise NotFound
        return await _receive(
            request, services, Expected(plan.size_of(number)), lambda path: _keep_part(services, row.id, number, path)
        )

    return await _answered(request, store)


async def _answered(request: Request, store: Callable[[], Awaitable[str]]) -> Response:
    """204 with the ETag of what was stored; a problem ends the connection, as the body was not read to its end."""
    try:
        return Response(status_code=204, headers={"ETag": await store()})
    except StyleFlowError as error:
        return _Closing(response_to(error, request))


class _Closing(Response):
    """An answer to a body that was not read to its end."""

    def __init__(self, inner: Response) -> None:
        super().__init__(status_code=inner.status_code)
        self._inner = inner

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self._inner(scope, receive, closing(receive, send))


def _pending(services: Services, upload_id: str) -> UploadRow:
    with services.database.transaction() as session:
        return get_pending(session, upload_id)


async def _receive(request: Request, services: Services, expected: Expected, keep: Callable[[Path], str]) -> str:
    """To disk, block by block; kept only when length and hash are those announced. The ETag of what was kept."""
    _check_announced(request, expected)
    with _landing(services.bucket.landing) as file:
        size, digest = await _spool(unstalled(request.stream(), STALL_SECONDS), file, expected.size_bytes)
        if size != expected.size_bytes:
            raise UploadMismatch(f"{size} bytes arrived, {expected.size_bytes} were announced.")
        if expected.sha256 not in (None, digest):
            raise UploadMismatch("The SHA-256 of the bytes is not the one that was announced.")
        return await run_in_threadpool(keep, Path(file.name))


def _check_announced(request: Request, expected: Expected) -> None:
    """Refuse a body that says itself that it has another length, before any of it is read."""
    said = request.headers.get("content-length", "")
    if not said.isascii() or not said.isdigit():
        return
    if int(said[:20]) > expected.size_bytes:
        raise PayloadTooLarge(f"{expected.size_bytes} bytes were announced.")
    if int(said) < expected.size_bytes:
        raise UploadMismatch(f"{expected.size_bytes} bytes were announced, not {int(said)}.")


@contextmanager
def _landing(folder: Path | None) -> Iterator[IO[bytes]]:
    """A file on the disk of the bucket, so that keeping it is only a change of its name; removed when it is not."""
    file = NamedTemporaryFile(prefix="upload-", dir=folder, delete=False)  # noqa: SIM115 (closed and removed below)
    try:
        yield file
    finally:
        file.close()
        Path(file.name).unlink(missing_ok=True)


def _keep(services: Services, upload_id: str, path: Path) -> str:
    """Into the bucket, unless the upload was completed or deleted while the bytes came: the row is locked meanwhile."""
    with services.database.transaction() as session:
        row = get_pending(session, upload_id, lock=True)
        # Noted down, so that `:complete` does not pin the bytes that were there before.
        row.etag = services.bucket.put(row.key, path, row.content_type).etag
        return row.etag


def _keep_part(services: Services, upload_id: str, number: int, path: Path) -> str:
    with services.database.transaction() as session:
        row = get_pending(session, upload_id, lock=True)
        try:
            return services.bucket.multiparts.put(row.key, row.multipart_id or "", number, path)
        except SourceNotFound as error:
            raise UploadMismatch("The parts were completed or aborted.") from error


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
                raise PayloadTooLarge(f"{most} bytes were announced.")
            block += chunk
            if len(block) >= _BLOCK_BYTES:
                await run_in_threadpool(write, bytes(block))
                block.clear()
    except ClientDisconnect as error:
        raise UploadMismatch(f"The connection ended after {size} bytes.") from error
    await run_in_threadpool(write, bytes(block))
    await run_in_threadpool(_settle, file)
    return size, digest.hexdigest()


def _settle(file: IO[bytes]) -> None:
    """Onto the disk, before any row is locked for it."""
    file.flush()
    os.fsync(file.fileno())
