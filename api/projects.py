"""What the caller's project is and what it used: `/v1/project`, `/v1/usage`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import Response

from api.answers import ok
from api.auth import AnyKey, JobsReader
from api.dependencies import ServicesDep
from api.documented import WITH_KEY, problems
from api.schemas.projects import Project, Usage, UsageQuery, UsageRow, quota_body
from styleflow import quotas, usage
from styleflow.tables import ProjectRow

router = APIRouter(prefix="/v1", tags=["projects"])


@router.get(
    "/project",
    operation_id="getProject",
    summary="Look at the key's own project",
    response_model=Project,
    responses=problems(*WITH_KEY),
)
def read_project(principal: AnyKey, services: ServicesDep) -> Response:
    """Any key may ask."""
    with services.database.transaction() as session:
        row = session.get_one(ProjectRow, principal.project_id)
        held = quotas.all_standings(session, row.id, services.quotas)
    shown = [quota_body(one) for one in held]
    return ok(Project(id=row.id, name=row.name, quotas=shown, created_at=row.created_at))


@router.get(
    "/usage",
    operation_id="getUsage",
    summary="Read what the project used, by day and model",
    response_model=Usage,
    responses=problems(*WITH_KEY),
)
def read_usage(query: Annotated[UsageQuery, Query()], principal: JobsReader, services: ServicesDep) -> Response:
    """Exact at the moment of the answer. Days are UTC's; a job counts where it was accepted and where it ended."""
    first, until = query.span()
    with services.database.transaction() as session:
        rows = usage.report(session, principal.project_id, first, until, query.group_by.split(","))
    body = Usage.model_validate(
        {"from": first, "to": until, "group_by": query.group_by, "data": [usage_row(row) for row in rows]}
    )
    return ok(body)


def usage_row(row: Mapping[str, Any]) -> UsageRow:
    states = ("accepted", "succeeded", "failed", "canceled", "expired")
    return UsageRow(
        day=row.get("day"),
        model=row.get("model"),
        **{f"jobs_{state}": row[state] for state in states},
        scored=row["scored"],
        not_applicable=row["not_applicable"],
        inconclusive=row["inconclusive"],
        worker_seconds=row["worker_ms"] / 1000,
        upload_bytes=row["upload_bytes"],
    )
