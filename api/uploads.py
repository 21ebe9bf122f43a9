"""`/v1/uploads`: announce a file, send its bytes to the bucket in one piece or in parts, complete."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Body
from fastapi.responses import Response
from sqlalchemy.orm import Session

from api import shapes
from api.answers import Answer, Once, ok
from api.auth import JobsReader, JobsWriter
from api.dependencies import JSON_ONLY, IdempotencyKey, Services, ServicesDep
from api.documented import IDEMPOTENT, WITH_BODY, WITH_KEY, problems
from api.schemas.uploads import COMPLETE_EXAMPLES, CREATE_EXAMPLES, CompleteUpload, CreateUpload, SentPart, Upload
from api.submission import field_problem
from api.upload_completion import completed_upload
from api.upload_rows import announce_upload, get_upload, waiting_hours
from styleflow.errors import Erased, LegalHold, NotFound, PayloadTooLarge
from styleflow.jobs.holds import is_upload_held
from styleflow.quotas import accept_upload
from styleflow.storage.bucket import PresignedPut
from styleflow.storage.multiparts import Part
from styleflow.tables import UploadRow

ADDRESS_SECONDS = 3600
_NO_PARTS = CompleteUpload()

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
    """Then PUT exactly that many bytes to `url` with the given `headers`, and call `:complete`. In mode `multipart`
    there is no `url`: ask `/parts` for an address of each part."""
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
    accept_upload(session, project_id, body.size_bytes, services.quotas)
    return Answer(201, {"id": row.id}, {"Location": f"/v1/uploads/{row.id}"})


def _made(session: Session, project_id: str, answer: Answer) -> UploadRow:
    try:
        return get_upload(session, project_id, answer.body["id"])
    except NotFound as error:  # a repeated request, and the upload was deleted in between
        raise Erased("The upload that this key made was deleted; announce it with another key.") from error


def _address(services: Services, row: UploadRow) -> PresignedPut | None:
    """Where the bytes go; None when they came, come in parts, or the upload is over. Signing talks to nobody."""
    if row.state != "pending" or row.part_bytes is not None or row.expires_at < datetime.now(UTC):
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
    responses=problems(*WITH_KEY, *WITH_BODY, "not_found", "erased", "upload_mismatch"),
    dependencies=[JSON_ONLY],
)
def complete_upload(
    upload_id: str,
    principal: JobsWriter,
    services: ServicesDep,
    body: Annotated[CompleteUpload, Body(openapi_examples=COMPLETE_EXAMPLES)] = _NO_PARTS,
) -> Response:
    """Safe to repeat. In mode `multipart`, name all parts with the ETags that their PUTs answered. In mode `put` there
    is nothing to say, and submitting a job does the same by itself."""
    parts = None if body.parts is None else _parts(body.parts)
    with services.database.transaction() as session:
        row = get_upload(session, principal.project_id, upload_id)
    if row.state == "pending" and (row.part_bytes is not None) != (parts is not None):
        raise field_problem("/parts", "goes with mode multipart, and there all are needed")
    row = completed_upload(services.database, services.bucket, principal.project_id, upload_id, parts)
    return ok(shapes.upload(row, None))


def _parts(sent: Sequence[SentPart]) -> list[Part]:
    """In order, whatever theirs; with quotes, which many clients take off."""
    named = [Part(number=part.n, etag='"' + part.etag.strip('"') + '"') for part in sent]
    return sorted(named, key=lambda part: part.number)


@router.delete(
    "/{upload_id}",
    operation_id="deleteUpload",
    summary="Abort an upload, or delete it and its bytes",
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
        if row.multipart_id is not None:
            services.bucket.multiparts.abort(row.key, row.multipart_id)
        services.bucket.erase([row.key])
        session.delete(row)
    return Response(status_code=204)
