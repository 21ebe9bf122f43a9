"""`/v1/relabelings`: orders to put a policy's words on stored results, and how far they are."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from api.answers import ok
from api.auth import JobsReader
from api.dependencies import JSON_ONLY, ServicesDep
from api.documented import WITH_KEY, problems
from api.pages import clamp_limit, link_header, page
from api.schemas.policies import Relabeling, RelabelingPage, RevisionQuery
from styleflow.policies import relabeling
from styleflow.policy_tables import RelabelingRow

router = APIRouter(prefix="/v1/relabelings", tags=["policies"], dependencies=[JSON_ONLY])


@router.get(
    "",
    operation_id="listRelabelings",
    summary="List the relabellings of the project, newest first",
    response_model=RelabelingPage,
    responses=problems(*WITH_KEY, "cursor_mismatch"),
)
def list_relabelings(
    request: Request, query: Annotated[RevisionQuery, Query()], principal: JobsReader, services: ServicesDep
) -> Response:
    """Those that are done are kept as long as proofs are."""
    now = datetime.now(UTC).timestamp()
    bound = {"list": "relabelings", "of": principal.project_id}
    after = None
    if query.cursor is not None:
        created, last = services.cursors.open(query.cursor, bound, now)
        after = (datetime.fromisoformat(created), str(last))
    limit = clamp_limit(query.limit)
    with services.database.reading() as session:
        rows = relabeling.list_relabelings(session, principal.project_id, limit + 1, after)
    cursor = None
    if len(rows) > limit:
        last_row = rows[limit - 1]
        cursor = services.cursors.seal([last_row.created_at.isoformat(), last_row.id], bound, now)
    body = RelabelingPage.model_construct(**page([shape(row) for row in rows[:limit]], cursor))
    return ok(body, link_header("/v1/relabelings", request.query_params.multi_items(), cursor))


@router.get(
    "/{relabeling_id}",
    operation_id="getRelabeling",
    summary="Follow a relabelling",
    response_model=Relabeling,
    responses=problems(*WITH_KEY, "not_found"),
)
def get_relabeling(relabeling_id: str, principal: JobsReader, services: ServicesDep) -> Response:
    """How many results were looked at, and how many words changed."""
    with services.database.reading() as session:
        row = relabeling.get(session, principal.project_id, relabeling_id)
    return ok(shape(row))


def shape(row: RelabelingRow) -> Relabeling:
    return Relabeling(
        id=row.id,
        policy=cited(row),
        state="running" if row.finished_at is None else "succeeded",
        batch_id=row.batch_id,
        created_after=row.created_after,
        created_before=row.created_before,
        looked_at=row.looked_at,
        changed=row.changed,
        created_at=row.created_at,
        finished_at=row.finished_at,
    )


def cited(row: RelabelingRow) -> str:
    """`name@revision`, or `default`: that of the pack has no revisions."""
    return f"{row.policy}@{row.revision}" if row.revision else row.policy
