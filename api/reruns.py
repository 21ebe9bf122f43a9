"""`POST /v1/jobs/{id}:rerun`: the video of a finished job again, by another pack or with other options."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Body
from fastapi.responses import Response
from sqlalchemy.orm import Session

from api import shapes
from api.answers import Answer, Once, as_json
from api.auth import JobsWriter
from api.dependencies import JSON_ONLY, IdempotencyKey, RequestId, Services, ServicesDep
from api.documented import IDEMPOTENT, WITH_BODY, WITH_KEY, problems
from api.schemas.jobs import Job, RerunJob
from api.schemas.options import stored_options
from api.submission import hold_upload
from styleflow.jobs import intake, queries

router = APIRouter(prefix="/v1/jobs", tags=["jobs"], dependencies=[JSON_ONLY])

_EXAMPLES: dict[str, Any] = {"pack": {"summary": "By another pack", "value": {"model": "styleflow@default"}}}
_LOCATION = {"description": "Where to follow the new job.", "schema": {"type": "string"}}
_RETRY_AFTER = {"description": "Seconds until it is worth asking.", "schema": {"type": "integer"}}


@router.post(
    "/{job_id}:rerun",
    operation_id="rerunJob",
    summary="Judge the video of a finished job again, as a new job",
    status_code=202,
    response_model=Job,
    responses={
        **problems(
            *WITH_KEY,
            *WITH_BODY,
            *IDEMPOTENT,
            "not_found",
            "erased",
            "not_retryable",
            "upload_mismatch",
            "unknown_model",
            "backlog_full",
        ),
        202: {"headers": {"Location": _LOCATION, "Retry-After": _RETRY_AFTER}},
    },
)
def rerun_job(
    job_id: str,
    body: Annotated[RerunJob, Body(openapi_examples=_EXAMPLES)],
    principal: JobsWriter,
    services: ServicesDep,
    request_id: RequestId,
    key: IdempotencyKey,
) -> Response:
    """The job and its result stay as they are; the new one names it as `parent_job_id`. The source is the one that was
    judged, in the version that was pinned; one that is gone since fails the new job, an upload that is gone is refused.
    """
    content = [job_id, body.model_dump(mode="json", exclude_unset=True)]
    once = Once(principal.project_id, "POST /v1/jobs/{job_id}:rerun", key, content, services.settings.idempotency_hours)
    with services.database.transaction() as session:
        answer = once.answer(session, lambda: _rerun(services, session, principal.project_id, job_id, body, request_id))
    return answer.response()


def _rerun(
    services: Services, session: Session, project_id: str, job_id: str, body: RerunJob, request_id: str
) -> Answer:
    job = queries.get_job(session, project_id, job_id)
    services.catalog.resolve(body.model)
    hold_upload(session, job.source)
    intake.admit(session, services.settings.max_queued_jobs)
    options = None if body.options is None else stored_options(body.options)
    row = intake.rerun_of(
        session, job, model=body.model, options=options, request_id=request_id, quotas=services.quotas
    )
    return Answer(202, as_json(shapes.job(row)), {"Location": f"/v1/jobs/{row.id}", "Retry-After": "2"})
