"""`GET /v1/batches/{id}/events`: one batch's events as they happen, by the same means as a job's."""

from __future__ import annotations

from functools import partial
from typing import Annotated

from fastapi import APIRouter, Header
from fastapi.responses import Response
from starlette.concurrency import run_in_threadpool

from api.auth import JobsReader
from api.dependencies import Services, ServicesDep, header_error
from api.documented import SERVER_SENT_EVENT, WITH_KEY, problems
from api.event_streams import EventStream, Look
from api.job_events import EVENTS_AT_ONCE, parse_last_event_id, told
from styleflow.batch_tables import BatchRow
from styleflow.batches import queries
from styleflow.batches.state import TERMINAL
from styleflow.errors import NotFound
from styleflow.webhooks.queries import list_subject_events

router = APIRouter(prefix="/v1/batches", tags=["batches"])


@router.get(
    "/{batch_id}/events",
    operation_id="streamBatchEvents",
    summary="Follow one batch by server-sent events",
    response_class=Response,
    responses={
        **problems(*WITH_KEY, "not_found"),
        200: {
            "description": "One message per event; `id` is its sequence, `data` the event as in `GET /v1/events`.",
            "content": {"text/event-stream": {"schema": SERVER_SENT_EVENT}},
        },
        204: {"description": "The batch is finished and you have seen its last event: do not come again."},
    },
)
async def stream_batch_events(
    batch_id: str,
    principal: JobsReader,
    services: ServicesDep,
    last_event_id: Annotated[
        str | None,
        Header(
            description="`id` of the last event that you saw; what came after it is told first.",
            json_schema_extra={"pattern": "^[0-9]{0,9}$"},
        ),
    ] = None,
) -> Response:
    """`batch.progress` with the counts at every change of state, and every ten seconds while items settle or are
    listed, then `batch.completed`, and the end. `event: gap` says which are no longer kept. A comment every 15 seconds
    keeps the line open; after an hour it is closed, and `Last-Event-ID` takes up where it was."""
    seen = parse_last_event_id(last_event_id)
    batch = await run_in_threadpool(_batch, services, principal.project_id, batch_id)
    if seen > batch.event_sequence:
        raise header_error("Last-Event-ID", "this batch has not had so many events")
    if seen == batch.event_sequence and batch.state in TERMINAL:
        return Response(status_code=204)
    return EventStream(
        partial(_read, services, principal.project_id, batch_id),
        room=services.waiting,
        seats=services.stream_seats,
        project_id=principal.project_id,
        subject_id=batch_id,
        seen=seen,
    )


def _batch(services: Services, project_id: str, batch_id: str) -> BatchRow:
    with services.database.transaction() as session:
        return queries.get_batch(session, project_id, batch_id)


def _read(services: Services, project_id: str, batch_id: str, seen: int) -> Look | None:
    """The batch first: what is written after that look belongs to the next one."""
    with services.database.transaction() as session:
        try:
            batch = queries.get_batch(session, project_id, batch_id)
        except NotFound:
            return None
        rows = list_subject_events(session, batch_id, after=seen, limit=EVENTS_AT_ONCE)
    return Look(events=[told(row) for row in rows], latest=batch.event_sequence, settled=batch.state in TERMINAL)
