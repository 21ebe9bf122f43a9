"""`/v1/jobs`: submit, follow, list, cancel, retry, erase."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Body, Header, Query, Request
from fastapi.responses import Response
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool

from api import shapes
from api.answers import Answer, Once, as_json, ok
from api.auth import JobsReader, JobsWriter
from api.dependencies import JSON_ONLY, IdempotencyKey, RequestId, Services, ServicesDep, WaitSeconds
from api.documented import IDEMPOTENT, WITH_BODY, WITH_KEY, problems
from api.erasures import ACCEPTED, erasure
from api.pages import clamp_limit, link_header, page
from api.schemas.jobs import (
    CREATE_EXAMPLES,
    JOB_EXAMPLE,
    AttemptList,
    CreateJob,
    Job,
    JobFilters,
    JobPage,
    tag_of,
)
from api.schemas.retention import Erasure
from api.submission import prepare, record
from api.waiting import settled_within
from styleflow import audit
from styleflow.jobs import erasures, intake, progress, queries
from styleflow.jobs.state import TERMINAL, JobState
from styleflow.tables import JobRow

router = APIRouter(prefix="/v1/jobs", tags=["jobs"], dependencies=[JSON_ONLY])

_EXAMPLE: dict[str, Any] = {
    "content": {"application/json": {"examples": {"job": {"summary": "A job", "value": JOB_EXAMPLE}}}}
}
_LOCATION = {"description": "Where to follow the job.", "schema": {"type": "string"}}
_RETRY_AFTER = {"description": "Seconds until it is worth asking.", "schema": {"type": "integer"}}
_ETAG = {"description": "For If-None-Match.", "schema": {"type": "string"}}


@router.post(
    "",
    operation_id="createJob",
    summary="Submit one video",
    status_code=202,
    response_model=Job,
    responses={
        **problems(
            *WITH_KEY,
            *WITH_BODY,
            *IDEMPOTENT,
            "source_not_allowed",
            "not_found",
            "erased",
            "upload_mismatch",
            "unknown_model",
            "backlog_full",
        ),
        202: {**_EXAMPLE, "headers": {"Location": _LOCATION, "Retry-After": _RETRY_AFTER}},
    },
)
async def create_job(
    request: Request,
    body: Annotated[CreateJob, Body(openapi_examples=CREATE_EXAMPLES)],
    principal: JobsWriter,
    services: ServicesDep,
    request_id: RequestId,
    key: IdempotencyKey,
    wait: WaitSeconds,
) -> Response:
    """Accepted means durable: the job is a row before the answer is sent, and settles exactly once."""
    answer = await run_in_threadpool(_submit, services, principal.project_id, body, request_id, key)
    if wait is None:
        return answer.response()
    job_id = answer.body["id"]
    row = await settled_job(request, services, principal.project_id, job_id, wait)
    headers = {**answer.headers, "Preference-Applied": f"wait={wait}", "ETag": shapes.etag(row)}
    if JobState(row.state) in TERMINAL:
        headers.pop("Retry-After", None)
    return ok(shapes.job(row), headers, status=answer.status)


def _submit(services: Services, project_id: str, body: CreateJob, request_id: str, key: str | None) -> Answer:
    prepared = prepare(services, project_id, body.source)
    content = body.model_dump(mode="json", exclude_unset=True)
    once = Once(project_id, "POST /v1/jobs", key, content, services.settings.idempotency_hours)
    with services.database.transaction() as session:
        return once.answer(
            session, lambda: _accepted(record(services, session, project_id, body, prepared, request_id))
        )


def _accepted(row: JobRow) -> Answer:
    return Answer(202, as_json(shapes.job(row)), {"Location": f"/v1/jobs/{row.id}", "Retry-After": "2"})


async def settled_job(request: Request, services: Services, project_id: str, job_id: str, seconds: float) -> JobRow:
    """The job when it settled, or after so many seconds, or when the caller hung up. Raises NotFound and Erased."""
    with services.waiting.attend(job_id) as event:
        row = await run_in_threadpool(_read, services, project_id, job_id)
        if event is None or JobState(row.state) in TERMINAL:
            return row
        await settled_within(event, seconds, request.receive)
    return await run_in_threadpool(_read, services, project_id, job_id)


def _read(services: Services, project_id: str, job_id: str) -> JobRow:
    with services.database.reading() as session:
        return queries.get_job(session, project_id, job_id)


@router.get(
    "",
    operation_id="listJobs",
    summary="List jobs",
    response_model=JobPage,
    responses=problems(*WITH_KEY, "invalid_request", "cursor_mismatch"),
)
def list_jobs(
    request: Request, filters: Annotated[JobFilters, Query()], principal: JobsReader, services: ServicesDep
) -> Response:
    """Newest first, unless `sort` says otherwise; then what is submitted while you page appears on none of the later
    pages. With `sort=created_at` it is on the last ones."""
    now = datetime.now(UTC).timestamp()
    query = {**filters.model_dump(mode="json", exclude={"limit", "cursor"}), "list": "jobs", "of": principal.project_id}
    after = None
    if filters.cursor is not None:
        created, last = services.cursors.open(filters.cursor, query, now)
        after = (datetime.fromisoformat(created), str(last))
    limit = clamp_limit(filters.limit)
    with services.database.reading() as session:
        rows = queries.list_jobs(
            session, principal.project_id, _wanted(filters), limit + 1, after, oldest_first=filters.sort == "created_at"
        )
    cursor = None
    if len(rows) > limit:
        last_row = rows[limit - 1]
        cursor = services.cursors.seal([last_row.created_at.isoformat(), last_row.id], query, now)
    body = JobPage.model_construct(**page([shapes.job(row) for row in rows[:limit]], cursor))
    return ok(body, link_header("/v1/jobs", request.query_params.multi_items(), cursor))


def _wanted(filters: JobFilters) -> queries.JobFilters:
    return queries.JobFilters(
        state=filters.state,
        outcome=filters.outcome,
        verdict=filters.verdict,
        lane=filters.lane,
        batch_id=filters.batch_id,
        client_ref=filters.client_ref,
        tag=tag_of(filters.tag),
        created_after=filters.created_after,
        created_before=filters.created_before,
    )


@router.get(
    "/{job_id}",
    operation_id="getJob",
    summary="Follow one job",
    response_model=Job,
    responses={
        **problems(*WITH_KEY, "not_found", "erased"),
        200: {**_EXAMPLE, "headers": {"ETag": _ETAG, "Retry-After": _RETRY_AFTER}},
        304: {"description": "Unchanged since the ETag that was sent.", "headers": {"Retry-After": _RETRY_AFTER}},
    },
)
async def get_job(
    request: Request,
    job_id: str,
    principal: JobsReader,
    services: ServicesDep,
    wait: WaitSeconds,
    if_none_match: Annotated[str | None, Header()] = None,
) -> Response:
    """With `If-None-Match`, 304 until something changed; with `Prefer: wait=N`, the answer comes when it settled."""
    if wait is None:
        row = await run_in_threadpool(_read, services, principal.project_id, job_id)
    else:
        row = await settled_job(request, services, principal.project_id, job_id, wait)
    headers = {"ETag": shapes.etag(row), "Cache-Control": "private, no-cache"}
    if wait is not None:
        headers["Preference-Applied"] = f"wait={wait}"
    pause = shapes.retry_after(row.state, (datetime.now(UTC) - row.created_at).total_seconds())
    if pause is not None:
        headers["Retry-After"] = str(pause)
    if shapes.etag_matches(if_none_match, headers["ETag"]):
        return Response(status_code=304, headers=headers)
    return ok(shapes.job(row), headers)


@router.post(
    "/{job_id}:cancel",
    operation_id="cancelJob",
    summary="Ask a job to stop",
    status_code=202,
    response_model=Job,
    responses={
        **problems(*WITH_KEY, "not_found", "erased"),
        200: {"model": Job, "description": "The job is settled: canceled while it was queued, or finished before."},
    },
)
def cancel_job(job_id: str, principal: JobsWriter, services: ServicesDep) -> Response:
    """A queued job is canceled at once, a running one at its next clip; a finished one is left as it is."""
    with services.database.transaction() as session:
        row = progress.request_cancel(session, principal.project_id, job_id)
        body = shapes.job(row)
    return ok(body, {"ETag": shapes.etag(row)}, status=200 if JobState(row.state) in TERMINAL else 202)


@router.post(
    "/{job_id}:retry",
    operation_id="retryJob",
    summary="Try a failed job again, as a new job",
    status_code=202,
    response_model=Job,
    responses={
        **problems(*WITH_KEY, *IDEMPOTENT, "not_found", "erased", "not_retryable", "backlog_full"),
        202: {**_EXAMPLE, "headers": {"Location": _LOCATION, "Retry-After": _RETRY_AFTER}},
    },
)
def retry_job(
    job_id: str, principal: JobsWriter, services: ServicesDep, request_id: RequestId, key: IdempotencyKey
) -> Response:
    """The job itself stays as it is; the new one names it as `parent_job_id`."""
    once = Once(
        principal.project_id, "POST /v1/jobs/{job_id}:retry", key, [job_id], services.settings.idempotency_hours
    )
    with services.database.transaction() as session:
        answer = once.answer(session, lambda: _retried(services, session, principal.project_id, job_id, request_id))
    return answer.response()


def _retried(services: Services, session: Session, project_id: str, job_id: str, request_id: str) -> Answer:
    job = queries.get_job(session, project_id, job_id)
    intake.admit(session, services.settings.max_queued_jobs)
    return _accepted(intake.retry_of(session, job, request_id=request_id, quotas=services.quotas))


@router.delete(
    "/{job_id}",
    operation_id="deleteJob",
    summary="Erase a job and its evidence",
    status_code=202,
    response_model=Erasure,
    responses={**problems(*WITH_KEY, "not_found", "erased", "legal_hold"), 202: ACCEPTED},
)
def delete_job(job_id: str, principal: JobsWriter, services: ServicesDep) -> Response:
    """A finished or queued job is 410 when this answers; a running one is told to stop, and erased when its worker has
    let go of it. What it said of its source, its options and its caller, its results, attempts and events are gone with
    it, from stored answers of Idempotency-Keys too; an uploaded video goes unless another job names it. Objects follow,
    with all their versions, as soon as the store lets us: then the erasure is `completed`. Safe to repeat.
    """
    with services.database.transaction() as session:
        row = erasures.order_job(session, principal.project_id, job_id, principal.id)
        shown = erasure(session, row)
        audit.record(session, principal.project_id, principal.id, "job.deleted", job_id, {"erasure": row.id})
    return ok(shown, {"Location": f"/v1/erasures/{row.id}"}, status=202)


@router.get(
    "/{job_id}/attempts",
    operation_id="listAttempts",
    summary="List the attempts of a job",
    response_model=AttemptList,
    responses=problems(*WITH_KEY, "not_found", "erased"),
)
def list_attempts(job_id: str, principal: JobsReader, services: ServicesDep) -> Response:
    """Every claim by a worker, and how it ended."""
    with services.database.transaction() as session:
        queries.get_job(session, principal.project_id, job_id)
        rows = queries.list_attempts(session, job_id)
    return ok(AttemptList(data=[shapes.attempt(row) for row in rows]))
