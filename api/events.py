"""`GET /v1/events`: the same events that webhooks carry, to be fetched instead of received."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime
from functools import partial
from time import monotonic
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from sqlalchemy import text
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool

from api import shapes
from api.answers import ok
from api.auth import JobsReader
from api.dependencies import Services, ServicesDep, WaitSeconds
from api.documented import WITH_KEY, problems
from api.pages import clamp_limit
from api.schemas.webhooks import ALL_TYPES, EventPage, EventQuery
from api.waiting import hung_up
from styleflow.errors import InvalidRequest
from styleflow.webhooks import queries

LOOK_SECONDS = 2.0
"""Between two looks for whoever waits."""

router = APIRouter(prefix="/v1/events", tags=["webhooks"])

# An event carries the time at which its transaction began, and becomes visible when that commits. Whoever read past
# the begin of a transaction that is still open would never see its event. So the feed ends just before the oldest open
# transaction began, but never lags by more than a minute: a forgotten session must not stop it. A transaction that has
# just begun is not to be seen at once among the open ones; so the feed also ends at a moment that lies a little back.
_NOW = text("select clock_timestamp()")
_UNSETTLED_SECONDS = text(
    """
    select least(60, greatest(
        extract(epoch from now() - :moment), coalesce(extract(epoch from now() - min(xact_start)) + 0.001, 0)
    ))
    from pg_stat_activity
    where datname = current_database() and backend_type = 'client backend' and pid <> pg_backend_pid()
    """
)
_BEGIN_SECONDS = 0.02
"""After which a transaction that has begun is surely to be seen."""

LOOK_SECONDS = 2.0
"""Between two looks for whoever waits."""

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
async def list_events(
    query: Annotated[EventQuery, Query()],
    principal: JobsReader,
    services: ServicesDep,
    wait: WaitSeconds,
    request: Request,
) -> Response:
    """Start without `after`, then pass the last id that you saw. Nothing is skipped. With `Prefer: wait=N` an empty
    page is held back until something happens, for at most N seconds; it takes a seat of an event stream."""
    types = _types(query.types)
    look = partial(_look, services, principal.project_id, query, types)
    found = await _settled_look(services, look)
    if wait and not found.data:
        with services.stream_seats.seat(principal.project_id):
            found = await _patiently(look, wait, services, request)
    return ok(found, {"Preference-Applied": f"wait={wait}"} if wait else None)


async def _settled_look(services: Services, look: Callable[[datetime], EventPage]) -> EventPage:
    moment = await run_in_threadpool(_moment, services)
    await asyncio.sleep(_BEGIN_SECONDS)
    return await run_in_threadpool(look, moment)


def _moment(services: Services) -> datetime:
    with services.database.transaction() as session:
        moment: datetime = session.execute(_NOW).scalar_one()
        return moment


async def _patiently(
    look: Callable[[datetime], EventPage], wait: int, services: Services, request: Request
) -> EventPage:
    """Look now and then until there is something, or the time is over. Nothing is held between two looks."""
    gone = asyncio.ensure_future(hung_up(request.receive))
    ends = monotonic() + wait
    try:
        while (left := ends - monotonic()) > 0 and not services.waiting.stopping:
            done, _ = await asyncio.wait({gone}, timeout=min(LOOK_SECONDS, left))
            if done:
                break
            if (found := await _settled_look(services, look)).data:
                return found
    finally:
        gone.cancel()
    return EventPage(data=[], has_more=False)


def _look(services: Services, project_id: str, query: EventQuery, types: list[str], moment: datetime) -> EventPage:
    limit = clamp_limit(query.limit)
    with services.database.transaction() as session:
        rows = queries.list_events(
            session,
            project_id,
            after=query.after,
            types=types,
            limit=limit + 1,
            settle_seconds=_unsettled_seconds(session, moment),
        )
    return EventPage(data=[shapes.event(row) for row in rows[:limit]], has_more=len(rows) > limit)


def _types(given: str | None) -> list[str]:
    """Raises InvalidRequest for a type that no event has: waiting for it would be waiting for ever."""
    types = [] if given is None else [name.strip() for name in given.split(",")]
    unknown = [name for name in types if name not in ALL_TYPES]
    if unknown:
        error = {"in": "query", "pointer": "/types", "code": "value_error", "message": "names no type of event"}
        raise InvalidRequest("types: names no type of event", errors=[error])
    return types


def _unsettled_seconds(session: Session, moment: datetime) -> float:
    return float(session.execute(_UNSETTLED_SECONDS, {"moment": moment}).scalar_one())
