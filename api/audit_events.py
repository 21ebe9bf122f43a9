"""`/v1/audit-events`: who changed what of the project."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from pydantic import Field, StringConstraints

from api.answers import ok
from api.auth import AuditReader
from api.dependencies import ServicesDep
from api.documented import WITH_KEY, problems
from api.pages import clamp_limit, link_header, page
from api.schemas.body import Moment, RequestBody, ResponseBody, Text, Timestamp
from styleflow import audit
from styleflow.tenant_tables import AuditEventRow

router = APIRouter(prefix="/v1/audit-events", tags=["audit"])

_KEY = "key_01JD8QJ6ZB5T2Z1V9W3E7R4M0K"


class AuditEvent(ResponseBody):
    """One administrative act. `hash` covers everything else here, `previous_hash` included."""

    id: str
    object: Literal["audit_event"] = "audit_event"
    project_id: str
    sequence: int
    actor: Annotated[str, Field(description="The key's id, or `operator`.", examples=[_KEY])]
    action: Annotated[str, Field(examples=["key.created"])]
    target: Annotated[str, Field(examples=[_KEY])]
    details: dict[str, Any]
    created_at: Timestamp
    previous_hash: Annotated[str, Field(description="Of the event before; zeros for the first.", examples=["00" * 32])]
    hash: Annotated[str, Field(examples=["9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"])]


class AuditEventPage(ResponseBody):
    """Newest first."""

    data: list[AuditEvent]
    next_cursor: str | None
    has_more: bool


class AuditQuery(RequestBody):
    """The query of the list of audit events."""

    action: Annotated[Text, StringConstraints(max_length=64)] | None = None
    target: Annotated[Text, StringConstraints(max_length=128)] | None = None
    created_after: Moment | None = None
    created_before: Moment | None = None
    limit: Annotated[int, Field(ge=1, description="At most 200; more is taken as 200.")] = 50
    cursor: Annotated[Text, StringConstraints(max_length=1024)] | None = None


@router.get(
    "",
    operation_id="listAuditEvents",
    summary="List who changed what, newest first",
    response_model=AuditEventPage,
    responses=problems(*WITH_KEY, "cursor_mismatch"),
)
def list_audit_events(
    request: Request, query: Annotated[AuditQuery, Query()], principal: AuditReader, services: ServicesDep
) -> Response:
    """Keys, webhook endpoints, quotas and erasures: each act with its key. Events form a chain of hashes, so that it
    shows when one is altered or missing.
    """
    now, limit = datetime.now(UTC).timestamp(), clamp_limit(query.limit)
    filters = query.model_dump(mode="json", exclude={"limit", "cursor"})
    bound = {**filters, "list": "audit-events", "of": principal.project_id}
    before = int(services.cursors.open(query.cursor, bound, now)[0]) if query.cursor else None
    wanted = audit.AuditFilters(**query.model_dump(exclude={"limit", "cursor"}))
    with services.database.transaction() as session:
        rows = audit.list_events(session, principal.project_id, wanted, limit + 1, before)
    cursor = services.cursors.seal([rows[limit - 1].sequence], bound, now) if len(rows) > limit else None
    body = AuditEventPage.model_construct(**page([event_body(row) for row in rows[:limit]], cursor))
    return ok(body, link_header("/v1/audit-events", request.query_params.multi_items(), cursor))


def event_body(row: AuditEventRow) -> AuditEvent:
    return AuditEvent(
        id=row.id,
        project_id=row.project_id,
        sequence=row.sequence,
        actor=row.actor,
        action=row.action,
        target=row.target,
        details=row.details,
        created_at=row.created_at,
        previous_hash=row.previous_hash.hex(),
        hash=row.hash.hex(),
    )
