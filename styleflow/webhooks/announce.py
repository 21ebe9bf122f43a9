"""An event of a job, a batch or anything else, and its deliveries, written in the transaction that changes it.

Endpoints that are pending are written to as well: what waits for them is sent once they are active.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import and_, exists, func, select
from sqlalchemy.orm import Session

from styleflow.batch_tables import BatchRow
from styleflow.database import transaction_time
from styleflow.export_tables import ExportRow
from styleflow.ids import new_id
from styleflow.tables import JobRow
from styleflow.webhook_tables import DeliveryRow, EventRow, WebhookEndpointRow
from styleflow.webhooks.listening import listening, listening_endpoints
from styleflow.writes import Write, write_all

TERMINAL_TYPES = frozenset({"job.succeeded", "job.failed", "job.canceled", "job.expired"})
JOB_PROGRESS, BATCH_PROGRESS = "job.progress", "batch.progress"
JOB_TYPES = TERMINAL_TYPES | {"job.queued", "job.running", JOB_PROGRESS}
BATCH_COMPLETED = "batch.completed"
EXPORT_TYPES = frozenset({"export.ready", "export.failed"})
DATA_ERASED = "data.erased"
TYPES = JOB_TYPES | {BATCH_COMPLETED, BATCH_PROGRESS, DATA_ERASED} | EXPORT_TYPES
"""All that an endpoint can subscribe to."""
OPT_IN_TYPES = frozenset({JOB_PROGRESS, BATCH_PROGRESS})
"""Told only to who names them: no pattern covers them, and the feed leaves them out."""
ENDPOINT_DISABLED, ENDPOINT_FAILING = "webhook.endpoint_disabled", "webhook.endpoint_failing"
ENDPOINT_TYPES = frozenset({"webhook.ping", ENDPOINT_DISABLED, ENDPOINT_FAILING})
"""Sent whatever an endpoint subscribed to."""
PROGRESS_SECONDS = 10.0
"""At least between two `job.progress` of one job."""
MAX_BODY_BYTES = 8192
_MAX_ERROR_CHARACTERS = 500


def announce(session: Session, job: JobRow, type: str) -> None:
    """Write the event and one pending delivery per endpoint that wants it. The caller holds the job's row lock.

    `type` is one of JOB_TYPES. A second terminal event of the same job is refused by the database (IntegrityError).
    """
    write_all(session, announcement(session, [job], type))


def announcement(session: Session, jobs: Sequence[JobRow], type: str) -> list[Write]:
    """The writes of `announce` for several jobs of one project, which count one event more from here on."""
    if not jobs:
        return []
    moment = transaction_time(session)
    endpoints = listening(session, jobs[0].project_id)
    events: list[dict[str, Any]] = []
    for job in jobs:
        job.event_sequence += 1
        body = event_body(job, type, moment)
        callback = job.callback_endpoint_id if type in TERMINAL_TYPES else None
        to = [identity for identity, patterns in endpoints if identity == callback or wants(patterns, type)]
        events.append({"id": new_id("evt"), "job": job.id, "sequence": job.event_sequence, "body": body, "to": to})
    return [_events(jobs[0].project_id, type, events), *_deliveries(jobs[0].project_id, events)]


def _events(project_id: str, type: str, events: Sequence[Mapping[str, Any]]) -> Write:
    fixed = {"event_project": project_id, "event_type": type, "event_terminal": type in TERMINAL_TYPES}
    return Write(_WRITE_EVENTS, {"event_rows": _json(events), **fixed})


def _deliveries(project_id: str, events: Sequence[Mapping[str, Any]]) -> list[Write]:
    rows = [{"id": new_id("dlv"), "event": event["id"], "endpoint": one} for event in events for one in event["to"]]
    parameters = {"delivery_project": project_id, "delivery_rows": _json(rows)}
    return [Write(_WRITE_DELIVERIES, parameters)] if rows else []


_WRITE_EVENTS = (
    "insert into events (id, project_id, job_id, type, sequence, terminal, body, created_at)"
    " select id, :event_project, job, :event_type, sequence, :event_terminal, body, now() from json_to_recordset("
    "cast(:event_rows as json)) as event (id text, job text, sequence integer, body text)"
)
_WRITE_DELIVERIES = (
    "insert into deliveries (id, project_id, endpoint_id, event_id, state, attempt, next_attempt_at, created_at)"
    " select id, :delivery_project, endpoint, event, 'pending', 0, now(), now() from json_to_recordset("
    "cast(:delivery_rows as json)) as delivery (id text, event text, endpoint text)"
)


def announce_progress(session: Session, project_id: str, job_id: str) -> bool:
    """Write `job.progress` where an endpoint asked for it by name and the last is ten seconds old. The caller holds the
    job's row lock. False where there is nothing to tell, which costs one statement.
    """
    asked = exists().where(listening_endpoints(project_id), WebhookEndpointRow.events.contains([JOB_PROGRESS]))
    recent = exists().where(
        EventRow.job_id == job_id,
        EventRow.type == JOB_PROGRESS,
        EventRow.created_at > func.now() - func.make_interval(0, 0, 0, 0, 0, 0, PROGRESS_SECONDS),
    )
    if not session.scalar(select(and_(asked, ~recent))):
        return False
    announce(session, session.get_one(JobRow, job_id, populate_existing=True), JOB_PROGRESS)
    session.flush()
    return True


def announce_batch(
    session: Session, batch: BatchRow, counts: Mapping[str, int], type: str = BATCH_COMPLETED
) -> EventRow:
    """Write `batch.completed` or `batch.progress` and its deliveries. The caller holds the batch's row lock."""
    batch.event_sequence += 1
    return announce_about(
        session,
        project_id=batch.project_id,
        subject_id=batch.id,
        type=type,
        data=batch_data(batch, counts),
        sequence=batch.event_sequence,
        callback_endpoint_id=batch.template.get("callback_endpoint_id") if type == BATCH_COMPLETED else None,
    )


def announce_about(
    session: Session,
    *,
    project_id: str,
    subject_id: str,
    type: str,
    data: Mapping[str, Any],
    sequence: int = 1,
    callback_endpoint_id: str | None = None,
) -> EventRow:
    """Write an event about anything of the project that is no job, and its deliveries.

    `data` is JSON values without crops or presigned addresses, under 8 KB in all, or ValueError; by convention it names
    the subject (`…_id`), has `links`, and repeats `sequence`, which grows with each event of the subject.
    """
    moment = transaction_time(session)
    body = _json({"type": type, "timestamp": _timestamp(moment), "data": dict(data)})
    if len(body.encode()) >= MAX_BODY_BYTES:
        raise ValueError(f"the body of {type} is too long to be sent")
    event = _event(project_id, None, type, sequence, body, moment, subject_id)
    _send(session, [event], [callback_endpoint_id], listening(session, project_id))
    return event


def announce_erasure(session: Session, project_id: str, data: Mapping[str, Any]) -> EventRow:
    """Write `data.erased` and its deliveries. It belongs to no job: those are gone."""
    return announce_about(
        session, project_id=project_id, subject_id=data["erasure_id"], type=DATA_ERASED, data=data, sequence=0
    )


def announce_endpoint(session: Session, endpoint: WebhookEndpointRow, type: str, *, reason: str) -> EventRow:
    """Tell every other endpoint of the project, whatever it subscribed to, that something is wrong with this one.

    Without its address: that may hold what the others are not to know.
    """
    moment = transaction_time(session)
    data = {
        "endpoint_id": endpoint.id,
        "state": endpoint.state,
        "reason": reason,
        "sequence": endpoint.revision,
        "links": {"self": f"/v1/webhook-endpoints/{endpoint.id}"},
    }
    body = _json({"type": type, "timestamp": _timestamp(moment), "data": data})
    event = _event(endpoint.project_id, None, type, endpoint.revision, body, moment, endpoint.id)
    others = [(one, ["*"]) for one, _ in listening(session, endpoint.project_id) if one != endpoint.id]
    _send(session, [event], [None], others)
    return event


def batch_data(batch: BatchRow, counts: Mapping[str, int]) -> dict[str, Any]:
    """What an event of a batch carries: where the batch stands, and how many of its items stand where."""
    return {
        "batch_id": batch.id,
        "name": batch.name,
        "state": batch.state,
        "counts": dict(counts),
        "error": _short(batch.error),
        "sequence": batch.event_sequence,
        "links": {"self": f"/v1/batches/{batch.id}", "errors": f"/v1/batches/{batch.id}/errors"},
        "finished_at": None if batch.finished_at is None else _timestamp(batch.finished_at),
    }


def announce_export(session: Session, export: ExportRow) -> EventRow:
    """Write `export.ready` or `export.failed` and its deliveries. The caller holds the export's row lock."""
    return announce_about(
        session,
        project_id=export.project_id,
        subject_id=export.id,
        type="export.ready" if export.state == "succeeded" else "export.failed",
        data=export_data(export),
    )


def export_data(export: ExportRow) -> dict[str, Any]:
    """How an export ended. No address of its files: whoever is to read them has a key."""
    return {
        "export_id": export.id,
        "state": export.state,
        "rows": export.rows,
        "format": export.format,
        "counts": {"rows": export.row_count, "files": export.file_count, "bytes": export.byte_count},
        "error": _short(export.error),
        "sequence": 1,
        "links": {"self": f"/v1/exports/{export.id}"},
        "finished_at": None if export.finished_at is None else _timestamp(export.finished_at),
        "expires_at": _timestamp(export.expires_at),
    }


def wants(patterns: Iterable[str], type: str) -> bool:
    """Whether one of `*`, a family such as `job.*`, or an exact name covers the event type.

    Progress has to be asked for by its name.
    """
    if type in OPT_IN_TYPES:
        return type in patterns
    family = type.split(".", 1)[0]
    return any(pattern in ("*", f"{family}.*", type) for pattern in patterns)


def event_body(job: JobRow, type: str, moment: datetime) -> str:
    """The JSON text that is signed and sent: under 8 KB in UTF-8, without crops or presigned addresses."""
    data = _data(job, type)
    body = _json({"type": type, "timestamp": _timestamp(moment), "data": data})
    if len(body.encode()) >= MAX_BODY_BYTES:
        # The caller's own labels are all that can be long, and the job's address leads to them.
        body = _json({"type": type, "timestamp": _timestamp(moment), "data": {**data, "tags": {}, "truncated": True}})
    return body


def _data(job: JobRow, type: str) -> dict[str, Any]:
    self_link = f"/v1/jobs/{job.id}"
    return {
        "job_id": job.id,
        "client_ref": job.client_ref,
        "state": job.state,
        "outcome": job.outcome,
        "reason": job.reason,
        "verdict": job.verdict,
        "score": job.score,
        "probability": job.probability,
        **({"top_segments": job.top_segments} if type == "job.succeeded" else {}),
        "error": _short(job.error),
        "sequence": job.event_sequence,
        "links": {"self": self_link, "result": f"{self_link}/result" if type == "job.succeeded" else None},
        "finished_at": None if job.finished_at is None else _timestamp(job.finished_at),
        "tags": job.tags,
        **({"progress": job.progress} if type == JOB_PROGRESS else {}),
    }


def _short(error: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if error is None:
        return None
    return {"code": error["code"], "message": str(error["message"])[:_MAX_ERROR_CHARACTERS]}


def _json(value: Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def _timestamp(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _event(
    project_id: str,
    job_id: str | None,
    type: str,
    sequence: int,
    body: str,
    moment: datetime,
    subject_id: str | None = None,
) -> EventRow:
    return EventRow(
        id=new_id("evt"),
        project_id=project_id,
        job_id=job_id,
        subject_id=subject_id,
        type=type,
        sequence=sequence,
        terminal=type in TERMINAL_TYPES,
        body=body,
        created_at=moment,
    )


def _send(
    session: Session,
    events: Sequence[EventRow],
    callbacks: Sequence[str | None],
    endpoints: Sequence[tuple[str, list[str]]],
) -> None:
    """Each event to the endpoints that subscribed to it and to its own callback; to each of them once."""
    session.add_all(events)
    deliveries = [
        DeliveryRow(
            id=new_id("dlv"),
            project_id=event.project_id,
            endpoint_id=identity,
            event_id=event.id,
            state="pending",
            attempt=0,
            next_attempt_at=event.created_at,
            created_at=event.created_at,
        )
        for event, callback in zip(events, callbacks, strict=True)
        for identity, patterns in endpoints
        if identity == callback or wants(patterns, event.type)
    ]
    if deliveries:
        session.flush()  # the events before what refers to them
        session.add_all(deliveries)
