"""`/v1/retention`: how long what is kept of a project's jobs. And the legal holds that keep it for longer."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Body, Header, Query, Request
from fastapi.responses import Response

from api.answers import ok
from api.auth import Eraser, JobsReader
from api.dependencies import JSON_ONLY, ServicesDep
from api.documented import WITH_BODY, WITH_KEY, problems
from api.pages import clamp_limit, link_header, page
from api.retention_terms import asked, house
from api.schemas.retention import (
    HOLD_EXAMPLES,
    RETENTION_EXAMPLES,
    Effective,
    LegalHold,
    LegalHoldPage,
    LegalHoldQuery,
    Periods,
    PlaceHold,
    ProjectRetention,
    ProjectWishes,
    RetentionWishes,
)
from styleflow import audit
from styleflow.errors import PreconditionFailed, PreconditionRequired
from styleflow.jobs import holds, retention_policies
from styleflow.jobs.keeping import NOTHING_ASKED, House, Mode, agree, check_project
from styleflow.retention_tables import LegalHoldRow, RetentionRow

router = APIRouter(tags=["retention"], dependencies=[JSON_ONLY])

_ETAG: dict[str, Any] = {"headers": {"ETag": {"description": "For If-Match.", "schema": {"type": "string"}}}}


@router.get(
    "/v1/retention",
    operation_id="getRetention",
    summary="How long what is kept of this project's jobs",
    response_model=ProjectRetention,
    responses={**problems(*WITH_KEY), 200: _ETAG},
)
def get_retention(principal: JobsReader, services: ServicesDep) -> Response:
    """What the project asked for, what its jobs get, and how far both may go."""
    with services.database.transaction() as session:
        row = retention_policies.of_project(session, principal.project_id)
        body, etag = _shown(house(services.settings), row), _etag(principal.project_id, row)
    return ok(body, {"ETag": etag})


@router.put(
    "/v1/retention",
    operation_id="putRetention",
    summary="Change how long what is kept of this project's jobs",
    response_model=ProjectRetention,
    responses={
        **problems(*WITH_KEY, *WITH_BODY, "precondition_failed", "precondition_required"),
        200: _ETAG,
    },
)
def put_retention(
    body: Annotated[RetentionWishes, Body(openapi_examples=RETENTION_EXAMPLES)],
    principal: Eraser,
    services: ServicesDep,
    if_match: Annotated[str | None, Header(description="The ETag that was read.")] = None,
) -> Response:
    """The whole of it: what is left out goes back to the operator's default. Jobs that were accepted before keep what
    was agreed with them.
    """
    if if_match is None:
        raise PreconditionRequired
    terms, wanted = house(services.settings), asked(body)
    check_project(terms, wanted)
    with services.database.transaction() as session:
        version = _matching_version(principal.project_id, if_match, session.get(RetentionRow, principal.project_id))
        row = retention_policies.replace(session, principal.project_id, wanted, version)
        shown, etag = _shown(terms, row), _etag(principal.project_id, row)
        audit.record(session, principal.project_id, principal.id, "retention.changed", principal.project_id)
    return ok(shown, {"ETag": etag})


def _etag(project_id: str, row: RetentionRow | None) -> str:
    return f'"{project_id}.retention.{row.version if row else 0}"'


def _matching_version(project_id: str, if_match: str, row: RetentionRow | None) -> int:
    """The version that stands, if it is the caller's. Raises PreconditionFailed."""
    tags = [tag.strip() for tag in if_match.split(",")]
    if "*" not in tags and _etag(project_id, row) not in tags:
        raise PreconditionFailed
    return row.version if row else 0


def _shown(terms: House, row: RetentionRow | None) -> ProjectRetention:
    wanted = retention_policies.asked(row)
    effective, most = agree(terms, wanted, NOTHING_ASKED, ""), terms.maximum
    return ProjectRetention(
        project=ProjectWishes(
            mode=wanted.mode or Mode.STANDARD,
            source_hours=wanted.source_hours,
            crops_days=wanted.crops_days,
            frames_days=wanted.frames_days,
            results_days=wanted.results_days,
        ),
        effective=Effective(
            mode=effective.mode,
            source_hours=effective.source_hours,
            crops_days=effective.crops_days,
            frames_days=effective.frames_days,
            results_days=effective.results_days,
        ),
        maximum=Periods(
            source_hours=most.source_hours,
            crops_days=most.crops_days,
            frames_days=most.frames_days,
            results_days=most.results_days,
        ),
        updated_at=row.updated_at if row else None,
    )


@router.post(
    "/v1/jobs/{job_id}:hold",
    operation_id="holdJob",
    summary="Put a job under legal hold",
    response_model=LegalHold,
    responses=problems(*WITH_KEY, *WITH_BODY, "not_found", "erased"),
)
def hold_job(
    job_id: str,
    body: Annotated[PlaceHold, Body(openapi_examples=HOLD_EXAMPLES)],
    principal: Eraser,
    services: ServicesDep,
) -> Response:
    """From now on nothing of it is erased, whoever asks and whatever time is over; what is gone is gone. A job that is
    held already keeps the hold that it has.
    """
    with services.database.transaction() as session:
        shown = _hold(holds.place(session, principal.project_id, job_id, body.reason, principal.id))
        audit.record(session, principal.project_id, principal.id, "job.held", job_id)
    return ok(shown)


@router.post(
    "/v1/jobs/{job_id}:release",
    operation_id="releaseJob",
    summary="Release a job from legal hold",
    response_model=LegalHold,
    responses=problems(*WITH_KEY, "not_found", "erased"),
)
def release_job(job_id: str, principal: Eraser, services: ServicesDep) -> Response:
    """What was due meanwhile goes soon. Safe to repeat."""
    with services.database.transaction() as session:
        shown = _hold(holds.release(session, principal.project_id, job_id, principal.id))
        audit.record(session, principal.project_id, principal.id, "job.released", job_id)
    return ok(shown)


@router.get(
    "/v1/legal-holds",
    operation_id="listLegalHolds",
    summary="List legal holds, those placed last first",
    response_model=LegalHoldPage,
    responses=problems(*WITH_KEY, "cursor_mismatch"),
)
def list_legal_holds(
    request: Request, query: Annotated[LegalHoldQuery, Query()], principal: Eraser, services: ServicesDep
) -> Response:
    """The released ones among them, unless `state` says otherwise, as long as proofs are kept."""
    now = datetime.now(UTC).timestamp()
    bound = {"list": "legal-holds", "of": principal.project_id, "state": query.state}
    before = None if query.cursor is None else int(services.cursors.open(query.cursor, bound, now)[0])
    limit = clamp_limit(query.limit)
    standing = None if query.state is None else query.state == "standing"
    with services.database.reading() as session:
        rows = holds.list_holds(session, principal.project_id, standing, limit + 1, before)
    cursor = services.cursors.seal([rows[limit - 1].id], bound, now) if len(rows) > limit else None
    body = LegalHoldPage.model_construct(**page([_hold(row) for row in rows[:limit]], cursor))
    return ok(body, link_header("/v1/legal-holds", request.query_params.multi_items(), cursor))


def _hold(row: LegalHoldRow) -> LegalHold:
    return LegalHold(
        job_id=row.job_id,
        reason=row.reason,
        placed_by=row.placed_by,
        placed_at=row.placed_at,
        released_by=row.released_by,
        released_at=row.released_at,
    )
