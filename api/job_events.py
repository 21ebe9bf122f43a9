"""`GET /v1/jobs/{id}/events`: one job's events as they happen."""

from __future__ import annotations

import json
import re
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Header
from fastapi.responses import Response
from starlette.concurrency import run_in_threadpool

from api import shapes
from api.answers import as_json
from api.auth import JobsReader
from api.dependencies import Services, ServicesDep, header_error
from api.documented import SERVER_SENT_EVENT, WITH_KEY, problems
from api.event_streams import EventStream, Look, Told
from styleflow.errors import Erased, NotFound
from styleflow.jobs import queries
from styleflow.jobs.state import TERMINAL, JobState
from styleflow.tables import JobRow
from styleflow.webhook_tables import EventRow
from styleflow.webhooks.queries import list_job_events

EVENTS_AT_ONCE = 100
_SEQUENCE = re.compile(r"[0-9]{1,9}")

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])


def parse_last_event_id(value: str | None) -> int:
    """The sequence after which to go on; 0 without the header. Raises InvalidRequest."""
    if value is None or not value.strip():
        return 0
    if not _SEQUENCE.fullmatch(value.strip()):
        raise header_error("Last-Event-ID", "must be the `id` of an event of this stream, a whole number")
    return int(value)


@router.get(
    "/{job_id}/events",
    operation_id="streamJobEvents",
    summary="Follow one job by server-sent events",
    response_class=Response,
    responses={
        **problems(*WITH_KEY, "not_found", "erased"),
        200: {
            "description": "One message per event; `id` is its sequence, `data` the event as in `GET /v1/events`.",
            "content": {"text/event-stream": {"schema": SERVER_SENT_EVENT}},
        },
        204: {"description": "The job is settled and you have seen its last event: do not come again."},
    },
)
async def stream_job_events(
    job_id: str,
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
    """All events so far, then each as it happens, and the end after the last. `event: gap` says which are no longer
    kept (`missed_from` to `missed_to`). A comment every 15 seconds keeps the line open; after an hour it is closed, and
    `Last-Event-ID` takes up where it was. The end of the job is told at once, other events within two seconds."""
    seen = parse_last_event_id(last_event_id)
    job = await run_in_threadpool(_job, services, principal.project_id, job_id)
    if seen > job.event_sequence:
        raise header_error("Last-Event-ID", "this job has not had so many events")
    if seen == job.event_sequence and JobState(job.state) in TERMINAL:
        return Response(status_code=204)
    return EventStream(
        partial(_read, services, principal.project_id, job_id),
        room=services.waiting,
        seats=services.stream_seats,
        project_id=principal.project_id,
        subject_id=job_id,
        seen=seen,
    )


def _job(services: Services, project_id: str, job_id: str) -> JobRow:
    with services.database.transaction() as session:
        return queries.get_job(session, project_id, job_id)


def _read(services: Services, project_id: str, job_id: str, seen: int) -> Look | None:
    with services.database.transaction() as session:
        try:
            job = queries.get_job(session, project_id, job_id)
        except (NotFound, Erased):
            return None
        rows = list_job_events(session, job_id, after=seen, limit=EVENTS_AT_ONCE)
    ended = JobState(job.state) in TERMINAL or any(row.terminal for row in rows)
    return Look(events=[told(row) for row in rows], latest=job.event_sequence, settled=ended)


def told(row: EventRow) -> Told:
    """The event as in the feed; without data where it is no longer told."""
    kept = row.body and row.erased_at is None
    data = json.dumps(as_json(shapes.event(row)), separators=(",", ":"), ensure_ascii=False) if kept else None
    return Told(row.sequence, row.type, data)
