"""`/v1/uploads/{id}/parts`: addresses of the parts of a large upload, and what has arrived of them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Body
from fastapi.responses import Response

from api.answers import ok
from api.auth import JobsReader, JobsWriter
from api.dependencies import JSON_ONLY, Services, ServicesDep
from api.documented import WITH_BODY, WITH_KEY, problems
from api.schemas.uploads import ADDRESS_EXAMPLES, AskForParts, PartAddress, PartAddresses, StoredPartList
from api.submission import field_problem
from api.upload_rows import check_pending, get_upload, part_plan
from styleflow.errors import SourceNotFound, UploadMismatch
from styleflow.storage.multiparts import PartPlan
from styleflow.tables import UploadRow

ADDRESS_SECONDS = 3600

router = APIRouter(prefix="/v1/uploads/{upload_id}/parts", tags=["uploads"])


@router.post(
    "",
    operation_id="signUploadParts",
    summary="Get places to put parts of an upload",
    response_model=PartAddresses,
    responses=problems(*WITH_KEY, *WITH_BODY, "not_found", "upload_mismatch"),
    dependencies=[JSON_ONLY],
)
def sign_parts(
    upload_id: str,
    body: Annotated[AskForParts, Body(openapi_examples=ADDRESS_EXAMPLES)],
    principal: JobsWriter,
    services: ServicesDep,
) -> Response:
    """PUT exactly `size_bytes` bytes to each, keep the `ETag` of every answer, and name all parts in `:complete`. A
    part that is sent again replaces the earlier one. Addresses hold for an hour; ask as often as you like."""
    row, plan = _in_parts(services, principal.project_id, upload_id)
    for position, number in enumerate(body.numbers):
        if number > plan.count:
            raise field_problem(f"/numbers/{position}", f"there are parts 1 to {plan.count}")
    multipart_id = row.multipart_id or _begun(services, row)
    return ok(PartAddresses(data=[_address(services, row, plan, multipart_id, number) for number in body.numbers]))


@router.get(
    "",
    operation_id="listUploadParts",
    summary="List the parts that have arrived",
    response_model=StoredPartList,
    responses=problems(*WITH_KEY, "not_found", "upload_mismatch"),
)
def list_parts(upload_id: str, principal: JobsReader, services: ServicesDep) -> Response:
    """With the ETags that `:complete` wants: so that a sender who was interrupted goes on where it stopped."""
    row, _ = _in_parts(services, principal.project_id, upload_id)
    if row.multipart_id is None:
        return ok(StoredPartList(data=[]))
    try:
        stored = services.bucket.multiparts.list(row.key, row.multipart_id)
    except SourceNotFound as error:
        raise UploadMismatch("The parts are gone: the upload was completed or aborted.") from error
    return ok(
        StoredPartList.model_validate(
            {"data": [{"n": part.number, "etag": part.etag, "size_bytes": part.size_bytes} for part in stored]}
        )
    )


def _in_parts(services: Services, project_id: str, upload_id: str) -> tuple[UploadRow, PartPlan]:
    """Raises NotFound, and UploadMismatch when it is complete, expired, or comes in one piece."""
    with services.database.transaction() as session:
        row = get_upload(session, project_id, upload_id)
    check_pending(row)
    if row.expires_at < datetime.now(UTC):
        raise UploadMismatch("The upload has expired; announce it again.")
    plan = part_plan(row)
    if plan is None:
        raise UploadMismatch("This upload comes in one piece; announce it with `multipart` for parts.")
    return row, plan


def _begun(services: Services, row: UploadRow) -> str:
    """Begin it in the bucket, once: of two that do so at a time, the later finds the other's and drops its own. One
    that is begun and never noted down, is aborted by a duty."""
    parts = services.bucket.multiparts
    own = parts.begin(row.key, row.content_type)
    with services.database.transaction() as session:
        kept = get_upload(session, row.project_id, row.id, lock=True)
        if kept.multipart_id is None:
            kept.multipart_id = own
        multipart_id = kept.multipart_id
    if multipart_id != own:
        parts.abort(row.key, own)
    return multipart_id


def _address(services: Services, row: UploadRow, plan: PartPlan, multipart_id: str, number: int) -> PartAddress:
    size = plan.size_of(number)
    signed = services.bucket.multiparts.presign_part(row.key, multipart_id, number, size, ADDRESS_SECONDS)
    values: dict[str, Any] = {"n": number, "size_bytes": size, "method": signed.method, "url": signed.url}
    return PartAddress.model_validate({**values, "headers": dict(signed.headers)})
