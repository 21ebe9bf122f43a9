"""`GET /v1/events`: the same events that webhooks carry, to be fetched instead of received."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import Response
from sqlalchemy import text
from sqlalchemy.orm import Session

from api import shapes
from api.answers import ok
from api.auth import JobsReader
from api.dependencies import ServicesDep
from api.documented import WITH_KEY, problems
from api.pages import clamp_limit
from api.schemas.webhooks import EventPage, EventQuery
from styleflow.webhooks import queries

router = APIRouter(prefix="/v1/events", tags=["webhooks"])

# An event carries the time at which its transaction began, and becomes visible when that commits. Whoever read past
# the begin of a transaction that is still open would never see its event. So the feed ends just before the oldest open
# transaction began, but never lags by more than a minute: a forgotten session must not stop it.
_UNSETTLED_SECONDS = text(
    """
    select least(60, greatest(0, coalesce(extract(epoch from now() - min(xact_start)) + 0.001, 0)))
    from pg_stat_activity
    where datname = current_database() and backend_type = 'client backend' and pid <> pg_backend_pid()
    """
)


@router.get(
    "",
    operation_id="listEvents",
    summary="Fetch events, oldest first",
    response_model=EventPage,
    responses=problems(*WITH_KEY, "not_found", "invalid_request"),
)
def list_events(query: Annotated[EventQuery, Query()], principal: JobsReader, services: ServicesDep) -> Response:
    """Start without `after`, then pass the last id that you saw. Nothing is skipped."""
    limit = clamp_limit(query.limit)
    with services.database.transaction() as session:
        rows = queries.list_events(
            session,
            principal.project_id,
            after=query.after,
            limit=limit + 1,
            settle_seconds=_unsettled_seconds(session),
        )
    return ok(EventPage(data=[shapes.event(row) for row in rows[:limit]], has_more=len(rows) > limit))


def _unsettled_seconds(session: Session) -> float:
    return float(session.execute(_UNSETTLED_SECONDS).scalar_one())
