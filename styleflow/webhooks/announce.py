"""An event of a job or a batch, and its deliveries, written in the transaction that changes it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from styleflow.batch_tables import BatchRow
from styleflow.ids import new_id
from styleflow.tables import JobRow
from styleflow.webhook_tables import DeliveryRow, EventRow, WebhookEndpointRow

TERMINAL_TYPES = frozenset({"job.succeeded", "job.failed", "job.canceled", "job.expired"})
JOB_TYPES = TERMINAL_TYPES | {"job.queued", "job.running"}
BATCH_COMPLETED = "batch.completed"
DATA_ERASED = "data.erased"
TYPES = JOB_TYPES | {BATCH_COMPLETED, DATA_ERASED}
MAX_BODY_BYTES = 8192
_MAX_ERROR_CHARACTERS = 500


def announce(session: Session, job: JobRow, type: str) -> EventRow:
    """Write the event and one pending delivery per endpoint that wants it. The caller holds the job's row lock.

    `type` is one of JOB_TYPES. A second terminal event of the same job is refused by the database (IntegrityError).
    """
    return announce_all(session, [job], type)[0]


def announce_all(session: Session, jobs: Sequence[JobRow], type: str) -> list[EventRow]:
    """`announce` for several jobs of one project, in a handful of statements."""
    if not jobs:
        return []
    moment = _clock(session)
    events = []
    for job in jobs:
        job.event_sequence += 1
        body = event_body(job, type, moment)
        events.append(_event(job.project_id, job.id, type, job.event_sequence, body, moment))
    endpoints = _active_endpoints(session, jobs[0].project_id)
    callbacks = [job.callback_endpoint_id if type in TERMINAL_TYPES else None for job in jobs]
    _send(session, events, callbacks, endpoints)
    return events


def announce_batch(session: Session, batch: BatchRow, counts: Mapping[str, int]) -> EventRow:
    """Write `batch.completed` and its deliveries. The caller holds the batch's row lock."""
    batch.event_sequence += 1
    moment = _clock(session)
    body = batch_body(batch, counts, moment)
    event = _event(batch.project_id, None, BATCH_COMPLETED, batch.event_sequence, body, moment)
    callback = batch.template.get("callback_endpoint_id")
    _send(session, [event], [callback], _active_endpoints(session, batch.project_id))
    return event


def announce_erasure(session: Session, project_id: str, data: Mapping[str, Any]) -> EventRow:
    """Write `data.erased` and its deliveries. It belongs to no job: those are gone."""
    moment = _clock(session)
    body = _json({"type": DATA_ERASED, "timestamp": _timestamp(moment), "data": dict(data)})
    event = _event(project_id, None, DATA_ERASED, 0, body, moment)
    _send(session, [event], [None], _active_endpoints(session, project_id))
    return event


def batch_body(batch: BatchRow, counts: Mapping[str, int], moment: datetime) -> str:
    """The JSON text of `batch.completed`: how the batch ended, and how many of its items did how."""
    data = {
        "batch_id": batch.id,
        "name": batch.name,
        "state": batch.state,
        "counts": dict(counts),
        "error": _short(batch.error),
        "sequence": batch.event_sequence,
        "links": {"self": f"/v1/batches/{batch.id}", "errors": f"/v1/batches/{batch.id}/errors"},
        "finished_at": None if batch.finished_at is None else _timestamp(batch.finished_at),
    }
    return _json({"type": BATCH_COMPLETED, "timestamp": _timestamp(moment), "data": data})


def wants(patterns: Iterable[str], type: str) -> bool:
    """Whether one of `*`, a family such as `job.*`, or an exact name covers the event type."""
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
        "error": _short(job.error),
        "sequence": job.event_sequence,
        "links": {"self": self_link, "result": f"{self_link}/result" if type == "job.succeeded" else None},
        "finished_at": None if job.finished_at is None else _timestamp(job.finished_at),
        "tags": job.tags,
    }


def _short(error: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if error is None:
        return None
    return {"code": error["code"], "message": str(error["message"])[:_MAX_ERROR_CHARACTERS]}


def _json(value: dict[str, Any]) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def _timestamp(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _clock(session: Session) -> datetime:
    return session.execute(select(func.now())).scalar_one()


def _event(project_id: str, job_id: str | None, type: str, sequence: int, body: str, moment: datetime) -> EventRow:
    return EventRow(
        id=new_id("evt"),
        project_id=project_id,
        job_id=job_id,
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
    session.flush()
    session.add_all(
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
    )
    session.flush()


def _active_endpoints(session: Session, project_id: str) -> list[tuple[str, list[str]]]:
    rows = session.execute(
        select(WebhookEndpointRow.id, WebhookEndpointRow.events)
        .where(
            WebhookEndpointRow.project_id == project_id,
            WebhookEndpointRow.state == "active",
            WebhookEndpointRow.deleted_at.is_(None),
        )
        .order_by(WebhookEndpointRow.id)
    )
    return [(identity, patterns) for identity, patterns in rows]
