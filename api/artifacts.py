"""`/v1/jobs/{id}/artifacts`: the files behind a result, by short-lived addresses; for the local bucket, these too."""

from __future__ import annotations

import mimetypes
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import RedirectResponse, Response

from api import shapes
from api.answers import ok
from api.auth import EvidenceReader
from api.dependencies import Services, ServicesDep
from api.documented import WITH_KEY, problems
from api.evidence_rows import get_result
from api.object_streams import object_answer
from api.schemas.artifacts import Artifact, ArtifactList
from api.schemas.evidence import CropShown
from styleflow.errors import Erased, NotFound
from styleflow.jobs import queries
from styleflow.jobs.keeping import KeptClass, has_ended
from styleflow.jobs.tombstones import class_ended
from styleflow.storage.bucket import Bucket
from styleflow.storage.keys import crop_key
from styleflow.tables import JobRow, ResultRow

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
    shows: CropShown | None = None


@dataclass(frozen=True)
class Shelf:
    """A job with a result."""

    job: JobRow
    result: ResultRow

    def made(self) -> Iterable[Mapping[str, Any]]:
        """Crops that the worker stored, as the report names them, kept or not."""
        crops: Iterable[Mapping[str, Any]] = self.result.report.get("crops", ())
        return crops

    def kept(self) -> Iterable[Kept]:
        """What the worker stored of this result and retention has not taken."""
        if self.result.report_key is not None:
            yield Kept("report", "report", "application/json", self.result.report_key)
        if not has_ended(self.job.retention, KeptClass.CROPS):
            for crop in self.made():
                key = crop_key(self.job.id, self.result.token, crop["crop_id"])
                yield Kept(crop["crop_id"], "crop", "image/jpeg", key, shapes.crop_shown(crop))

    def find(self, artifact_id: str) -> Kept:
        """Raises Erased for what was kept for its time, and NotFound."""
        for artifact in self.kept():
            if artifact.id == artifact_id:
                return artifact
        if artifact_id == "report":
            raise _gone()
        if any(crop["crop_id"] == artifact_id for crop in self.made()):
            raise class_ended(self.job, KeptClass.CROPS)
        raise NotFound("The result has no artifact of that id.")


@router.get(
    "",
    operation_id="listArtifacts",
    summary="List the files behind a result",
    response_model=ArtifactList,
    responses=problems(*ERRORS),
)
def list_artifacts(job_id: str, principal: EvidenceReader, services: ServicesDep) -> Response:
    """Those that are still kept; none, once their time is over."""
    shelf = _shelf(services, principal.project_id, job_id)
    artifacts = list(shelf.kept())
    sizes = _sizes(services.bucket, artifacts)
    data = [
        Artifact(
            id=artifact.id,
            kind=artifact.kind,
            content_type=artifact.content_type,
            size_bytes=sizes[artifact.key],
            created_at=shelf.result.created_at,
            url=f"/v1/jobs/{job_id}/artifacts/{artifact.id}",
            shows=artifact.shows,
        )
        for artifact in artifacts
        if artifact.key in sizes
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
    artifact = _shelf(services, principal.project_id, job_id).find(artifact_id)
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


def _shelf(services: Services, project_id: str, job_id: str) -> Shelf:
    """Raises NotFound, Erased and ResultNotReady."""
    with services.database.transaction() as session:
        job = queries.get_job(session, project_id, job_id)
        return Shelf(job, get_result(session, job))


def _sizes(bucket: Bucket, artifacts: Iterable[Kept]) -> dict[str, int]:
    """By key, of those that are there. Crops lie in one folder: one question for all of them."""
    folders = {f"{artifact.key.rpartition('/')[0]}/" for artifact in artifacts if artifact.kind == "crop"}
    sizes = {found.key: found.size_bytes for folder in folders for found in bucket.list(folder)}
    for artifact in artifacts:
        if artifact.kind != "crop" and (facts := bucket.head(artifact.key)) is not None:
            sizes[artifact.key] = facts.size_bytes
    return sizes


def _gone() -> Erased:
    return Erased("The artifact was kept for its time and then deleted.")
