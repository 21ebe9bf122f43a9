"""`/v1/jobs/{id}/artifacts`: the files behind a result, by short-lived addresses; for the local bucket, these too."""

from __future__ import annotations

import mimetypes
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import RedirectResponse, Response

from api.answers import ok
from api.auth import EvidenceReader
from api.dependencies import Services, ServicesDep
from api.documented import WITH_KEY, problems
from api.evidence import require_result
from api.object_streams import object_answer
from api.schemas.artifacts import Artifact, ArtifactList
from styleflow.errors import Erased, NotFound
from styleflow.tables import ResultRow

ADDRESS_SECONDS = 900
ERRORS = (*WITH_KEY, "not_found", "erased", "result_not_ready")

router = APIRouter(prefix="/v1/jobs/{job_id}/artifacts", tags=["evidence"])
objects = APIRouter(prefix="/v1/objects", tags=["evidence"])

_BYTES: dict[str, Any] = {
    "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    "description": "The bytes.",
}


@dataclass(frozen=True)
class Kept:
    """An artifact, and where it lies."""

    id: str
    kind: str
    content_type: str
    key: str


def kept(result: ResultRow) -> Iterable[Kept]:
    """What the worker stored of this result and retention has not taken."""
    if result.report_key is not None:
        yield Kept("report", "report", "application/json", result.report_key)


@router.get(
    "",
    operation_id="listArtifacts",
    summary="List the files behind a result",
    response_model=ArtifactList,
    responses=problems(*ERRORS),
)
def list_artifacts(job_id: str, principal: EvidenceReader, services: ServicesDep) -> Response:
    """Those that are still kept; none, once their time is over."""
    result = _result(services, principal.project_id, job_id)
    sizes = ((artifact, services.bucket.head(artifact.key)) for artifact in kept(result))
    data = [
        Artifact(
            id=artifact.id,
            kind=artifact.kind,
            content_type=artifact.content_type,
            size_bytes=facts.size_bytes,
            created_at=result.created_at,
            url=f"/v1/jobs/{job_id}/artifacts/{artifact.id}",
        )
        for artifact, facts in sizes
        if facts is not None
    ]
    return ok(ArtifactList(data=data))


@router.get(
    "/{artifact_id}",
    operation_id="getArtifact",
    summary="Get one file behind a result",
    status_code=303,
    response_class=RedirectResponse,
    responses={
        **problems(*ERRORS),
        303: {
            "description": "To an address that needs no key, for 15 minutes.",
            "headers": {"Location": {"description": "Where the bytes are.", "schema": {"type": "string"}}},
        },
        200: {**_BYTES, "description": "The bytes themselves, with `redirect=false`."},
        206: {**_BYTES, "description": "The range that was asked for, with `redirect=false`."},
    },
)
def get_artifact(
    request: Request,
    job_id: str,
    artifact_id: str,
    principal: EvidenceReader,
    services: ServicesDep,
    redirect: Annotated[bool, Query(description="`false`: answer with the bytes; takes `Range`.")] = True,
) -> Response:
    """Whoever has the address can read the file until it ends: hand it on with care."""
    result = _result(services, principal.project_id, job_id)
    artifact = _find(result, artifact_id)
    if not redirect:
        answer = object_answer(request, services.bucket, artifact.key, artifact.content_type)
        if answer is None:
            raise _gone()
        return answer
    if services.bucket.head(artifact.key) is None:
        raise _gone()
    return RedirectResponse(services.bucket.presign_get(artifact.key, ADDRESS_SECONDS), status_code=303)


@objects.get(
    "",
    operation_id="getObject",
    summary="Read a file by its short-lived address (local bucket)",
    responses={
        **problems("unauthenticated", "invalid_request", "not_found"),
        200: _BYTES,
        206: {**_BYTES, "description": "The range that was asked for."},
    },
)
def get_object(
    request: Request, key: str, services: ServicesDep, expires: Annotated[int, Query()], signature: str
) -> Response:
    """The address carries its own permission and needs no API key. Takes a single `Range` of bytes; any other, and one
    that lies behind the end, is answered with the whole."""
    services.upload_tokens.check_object(key, expires, signature, datetime.now(UTC).timestamp())
    media_type = mimetypes.guess_type(key)[0] or "application/octet-stream"
    answer = object_answer(request, services.bucket, key, media_type)
    if answer is None:
        raise NotFound
    return answer


def _result(services: Services, project_id: str, job_id: str) -> ResultRow:
    """Raises NotFound, Erased and ResultNotReady."""
    with services.database.transaction() as session:
        return require_result(session, project_id, job_id)


def _find(result: ResultRow, artifact_id: str) -> Kept:
    for artifact in kept(result):
        if artifact.id == artifact_id:
            return artifact
    if artifact_id == "report":
        raise _gone()
    raise NotFound("The result has no artifact of that id.")


def _gone() -> Erased:
    return Erased("The artifact was kept for its time and then deleted.")
