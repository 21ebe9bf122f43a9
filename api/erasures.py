"""`/v1/erasures`: erase everything about a reference, a video, or a list of jobs, and have it proved."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Body, Query, Request
from fastapi.responses import Response
from sqlalchemy.orm import Session

from api.answers import Answer, Once, ok
from api.auth import Eraser
from api.dependencies import JSON_ONLY, IdempotencyKey, ServicesDep
from api.documented import IDEMPOTENT, WITH_BODY, WITH_KEY, problems
from api.pages import clamp_limit, link_header, page
from api.schemas.retention import (
    ERASURE_EXAMPLES,
    CreateErasure,
    Erasure,
    ErasureCounts,
    ErasurePage,
    ErasureQuery,
)
from styleflow import audit
from styleflow.jobs import erasures
from styleflow.retention_tables import ErasureRow

router = APIRouter(prefix="/v1/erasures", tags=["retention"], dependencies=[JSON_ONLY])

ACCEPTED: dict[str, Any] = {
    "headers": {"Location": {"description": "Where to follow the erasure.", "schema": {"type": "string"}}}
}


@router.post(
    "",
    operation_id="createErasure",
    summary="Erase all jobs of a reference, of a video, or of a list",
    status_code=202,
    response_model=Erasure,
    responses={**problems(*WITH_KEY, *WITH_BODY, *IDEMPOTENT, "not_found"), 202: ACCEPTED},
)
def create_erasure(
    body: Annotated[CreateErasure, Body(openapi_examples=ERASURE_EXAMPLES)],
    principal: Eraser,
    services: ServicesDep,
    key: IdempotencyKey,
) -> Response:
    """The jobs that there are at this moment. Those that are queued or running are canceled first; those under legal
    hold are counted and stay. Items of batches that wait to become jobs are not looked at: cancel their batch first.
    """
    content = body.model_dump(mode="json", exclude_unset=True)
    once = Once(principal.project_id, "POST /v1/erasures", key, content, services.settings.idempotency_hours)
    with services.database.transaction() as session:
        answer = once.answer(session, lambda: _ordered(session, principal, body))
        row = erasures.get_erasure(session, principal.project_id, answer.body["id"])
        shown = erasure(session, row)
    return ok(shown, answer.headers, status=answer.status)


def _ordered(session: Session, principal: Eraser, body: CreateErasure) -> Answer:
    """Only the id, because this is what an Idempotency-Key keeps: it must not remember whose data was erased."""
    by, value = _selector(body)
    row = erasures.order(
        session, principal.project_id, by, value, requested_by=principal.id, created_before=body.created_before
    )
    audit.record(session, principal.project_id, principal.id, "erasure.ordered", row.id, {"by": by})
    return Answer(202, {"id": row.id}, {"Location": f"/v1/erasures/{row.id}"})


def _selector(body: CreateErasure) -> tuple[erasures.By, Any]:
    if body.client_ref is not None:
        return "client_ref", body.client_ref
    if body.sha256 is not None:
        return "sha256", body.sha256
    return "job_ids", sorted(set(body.job_ids or ()))


@router.get(
    "",
    operation_id="listErasures",
    summary="List erasures, newest first",
    response_model=ErasurePage,
    responses=problems(*WITH_KEY, "cursor_mismatch"),
)
def list_erasures(
    request: Request, query: Annotated[ErasureQuery, Query()], principal: Eraser, services: ServicesDep
) -> Response:
    """Those of jobs that were erased by `DELETE` among them, with their proofs."""
    now = datetime.now(UTC).timestamp()
    bound = {"list": "erasures", "of": principal.project_id, "state": query.state}
    before = None if query.cursor is None else str(services.cursors.open(query.cursor, bound, now)[0])
    limit = clamp_limit(query.limit)
    with services.database.transaction() as session:
        rows = erasures.list_erasures(session, principal.project_id, query.state, limit + 1, before)
        waiting = erasures.objects_waiting_of(session, [row.id for row in rows if row.finished_at is None])
    cursor = services.cursors.seal([rows[limit - 1].id], bound, now) if len(rows) > limit else None
    shown = [_shape(row, waiting.get(row.id, 0)) for row in rows[:limit]]
    body = ErasurePage.model_construct(**page(shown, cursor))
    return ok(body, link_header("/v1/erasures", request.query_params.multi_items(), cursor))


@router.get(
    "/{erasure_id}",
    operation_id="getErasure",
    summary="Follow an erasure, and read its proof",
    response_model=Erasure,
    responses=problems(*WITH_KEY, "not_found"),
)
def get_erasure(erasure_id: str, principal: Eraser, services: ServicesDep) -> Response:
    """Also that of a job which was erased by `DELETE`."""
    with services.database.transaction() as session:
        shown = erasure(session, erasures.get_erasure(session, principal.project_id, erasure_id))
    return ok(shown)


def erasure(session: Session, row: ErasureRow) -> Erasure:
    return _shape(row, 0 if row.finished_at is not None else erasures.objects_waiting(session, row.id))


def _shape(row: ErasureRow, objects_waiting: int) -> Erasure:
    return Erasure.model_validate(
        {
            "id": row.id,
            "state": row.state,
            "selector": row.selector,
            "created_before": row.created_before,
            "counts": ErasureCounts(
                erased=row.erased,
                held=row.held,
                waiting=row.waiting,
                undecided=row.undecided,
                items=row.items,
                unknown=row.unknown,
                uploads=row.uploads,
                objects_waiting=objects_waiting,
            ),
            "requested_by": row.requested_by,
            "created_at": row.created_at,
            "finished_at": row.finished_at,
            "proof": row.proof,
        }
    )
