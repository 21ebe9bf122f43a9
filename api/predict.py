"""The two addresses of the original StyleFlow server, as its callers use them: `GET /healthcheck`, `POST /predict`.

The body of `/predict` is JSON whatever its Content-Type says: `curl --data` calls it a form. That protocol knows FAKE,
REAL and, as -1, NO_FACE. It has no word for "cannot say", and its callers read a null as 0; so what is inconclusive is
an error here, and never a number.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse, Response
from pydantic import ValidationError
from starlette.concurrency import run_in_threadpool

from api.answers import Answer, as_json
from api.auth import COMPAT_CALLER, compat_project
from api.dependencies import RequestId, Services, ServicesDep
from api.documented import WITH_KEY, problems
from api.jobs import settled_job
from api.problems import field_error
from api.schemas.health import PREDICT_EXAMPLES, Healthcheck, Prediction
from api.schemas.jobs import CreateJob, S3Source, UploadSource, UrlSource
from api.submission import field_problem, prepare, record
from styleflow.errors import BacklogFull, InvalidRequest, MalformedJson
from styleflow.jobs import workers
from styleflow.jobs.state import TERMINAL, JobState, Lane
from styleflow.report import NotApplicableReason, Outcome, Verdict
from styleflow.tables import JobRow

WORKER_SECONDS = 60.0
RETRY_SECONDS = 10
BUSY = "Server is too busy, please try again later"
FAKE_VERDICTS = frozenset({Verdict.SUSPICIOUS, Verdict.STRONG})

router = APIRouter(tags=["compatibility"])


@router.get(
    "/healthcheck",
    operation_id="getHealthcheck",
    summary="The original server's health",
    response_model=Healthcheck,
    responses={
        **problems("unauthenticated", "forbidden_scope", "quota_exceeded"),
        503: {"model": Healthcheck, "description": "No worker has been heard of for a minute."},
    },
    dependencies=[COMPAT_CALLER],
)
def healthcheck(services: ServicesDep) -> Response:
    """Healthy when a worker was heard of within the last minute; the version is that of what it has loaded.

    Needs a key with `jobs:read`, unless the installation serves the original's addresses without one.
    """
    with services.database.transaction() as session:
        alive = workers.alive(session, within_seconds=WORKER_SECONDS)
    if not alive:
        return JSONResponse({"healthy": False}, status_code=503)
    default = services.catalog.default
    served = sorted({model for worker in alive for model in worker.models})
    version = default.card.model if default and default.card.model in served else next(iter(served), None)
    return JSONResponse(as_json(Healthcheck(healthy=True, model_version=version)))


@router.post(
    "/predict",
    operation_id="predict",
    summary="The original server's prediction",
    response_model=Prediction,
    responses={
        **problems(
            *WITH_KEY, "malformed_json", "payload_too_large", "invalid_request", "source_not_allowed", "not_found"
        ),
        500: {"description": 'The video could not be judged: `{"error": …, "job_id": …}`.'},
        503: {"description": 'Busy, or not done in time: `{"message": …}`; the job goes on at `Location`.'},
    },
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": {
                        "type": "object",
                        "required": ["file_path"],
                        "properties": {
                            "file_path": {
                                "type": "string",
                                "pattern": "^(https?|s3|upload):",
                                "description": "`https:`, `s3:` or `upload:`",
                            },
                            "num_frames": {"type": "integer", "description": "Accepted; sampling is ours."},
                            "max_frames": {"type": "integer", "description": "Accepted; sampling is ours."},
                        },
                    },
                    "examples": PREDICT_EXAMPLES,
                }
            },
        }
    },
)
async def predict(
    request: Request,
    services: ServicesDep,
    project_id: Annotated[str, Depends(compat_project)],
    request_id: RequestId,
) -> Response:
    """Runs a realtime job and waits for it; the answer is made of what that job found.

    An Idempotency-Key does not apply here, as in the original: every call is a job of its own.
    """
    body = CreateJob(source=read_source(await request.body()), lane=Lane.REALTIME)
    try:
        job_id = await run_in_threadpool(_submit, services, project_id, body, request_id)
    except BacklogFull:
        return _busy().response()
    row = await settled_job(request, services, project_id, job_id, services.settings.predict_wait_seconds)
    return answer_of(row).response()


def _submit(services: Services, project_id: str, body: CreateJob, request_id: str) -> str:
    prepared = prepare(services, project_id, body.source)
    with services.database.transaction() as session:
        return record(services, session, project_id, body, prepared, request_id).id


def read_source(raw: bytes) -> UploadSource | S3Source | UrlSource:
    """The source that `file_path` names. Raises MalformedJson and InvalidRequest. Unknown members are ignored here."""
    try:
        body = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise MalformedJson('Send JSON, such as {"file_path": "https://…"}.') from error
    path = body.get("file_path") if isinstance(body, dict) else None
    if not isinstance(path, str) or not path:
        raise field_problem("/file_path", "must be the address of a video")
    for name in ("num_frames", "max_frames"):
        given = body.get(name)
        if given is not None and (isinstance(given, bool) or not isinstance(given, int) or given < 1):
            raise field_problem(f"/{name}", "must be a positive whole number")
    try:
        return _source_of(path)
    except ValidationError as error:
        entries = [{**field_error(item), "in": "body", "pointer": "/file_path"} for item in error.errors()]
        raise InvalidRequest(f"/file_path: {entries[0]['message']}", errors=entries) from error


def _source_of(path: str) -> UploadSource | S3Source | UrlSource:
    scheme, _, rest = path.partition(":")
    match scheme.lower():
        case "http" | "https":
            return UrlSource(type="url", url=path)
        case "s3":
            # The key as it stands: a `#`, `?`, `%` or space is a character of the object's name, not of an address.
            bucket, _, key = rest.removeprefix("//").partition("/")
            return S3Source(type="s3", bucket=bucket, key=key)
        case "upload":
            return UploadSource(type="upload", upload_id=rest.removeprefix("//"))
        case _:
            raise field_problem("/file_path", "must begin with https://, s3:// or upload:")


@dataclass(frozen=True)
class _Span:
    """When the work was done, in the original's format, UTC."""

    start: str
    end: str


def answer_of(job: JobRow) -> Answer:
    """The original's answer about a job, in every state it can be in when the wait is over. Pure."""
    state = JobState(job.state)
    if state not in TERMINAL:
        return _busy(job.id)
    if state is not JobState.SUCCEEDED:
        return _error(job, _failure(job))
    span = _Span(_moment(job.started_at), _moment(job.finished_at))
    if job.outcome == Outcome.SCORED and job.probability is not None and job.verdict is not None:
        word = "FAKE" if job.verdict in FAKE_VERDICTS else "REAL"
        return _prediction(job, job.probability, word, span)
    if job.outcome == Outcome.NOT_APPLICABLE and job.reason == NotApplicableReason.NO_FACE:
        return _prediction(job, -1.0, "NO_FACE", span)
    return _error(job, f"inconclusive: {job.reason}")


def _prediction(job: JobRow, probability: float, word: str, span: _Span) -> Answer:
    """Never with a key `message`, `msg` or `error`: callers take any of these for a failure."""
    body = {
        "df_probability": probability,
        "prediction": word,
        "start_time": span.start,
        "end_time": span.end,
        "job_id": job.id,
    }
    return Answer(200, body)


def _error(job: JobRow, message: str) -> Answer:
    return Answer(500, {"error": message, "job_id": job.id, "outcome": job.outcome, "reason": job.reason})


def _failure(job: JobRow) -> str:
    error: Mapping[str, Any] = job.error or {}
    return f"{error.get('code', job.state)}: {error.get('message', 'the job did not run')}"


def _busy(job_id: str | None = None) -> Answer:
    headers = {"Retry-After": str(RETRY_SECONDS)}
    if job_id is not None:
        headers["Location"] = f"/v1/jobs/{job_id}"
    return Answer(503, {"message": BUSY}, headers)


def _moment(moment: datetime | None) -> str:
    return (moment or datetime.fromtimestamp(0, UTC)).astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")
