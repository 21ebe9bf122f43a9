"""An event of a job, and its deliveries, written in the transaction that changes the job."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from styleflow.ids import new_id
from styleflow.tables import DeliveryRow, EventRow, JobRow, WebhookEndpointRow

TERMINAL_TYPES = frozenset({"job.succeeded", "job.failed", "job.canceled", "job.expired"})
TYPES = TERMINAL_TYPES | {"job.queued", "job.running"}
MAX_BODY_BYTES = 8192
_MAX_ERROR_CHARACTERS = 500


def announce(session: Session, job: JobRow, type: str) -> EventRow:
    """Write the event and one pending delivery per endpoint that wants it. The caller holds the job's row lock.

    `type` is one of TYPES. A second terminal event of the same job is refused by the database (IntegrityError).
    """
    job.event_sequence += 1
    moment = session.execute(select(func.now())).scalar_one()
    event = EventRow(
        id=new_id("evt"),
        project_id=job.project_id,
        job_id=job.id,
        type=type,
        sequence=job.event_sequence,
        terminal=type in TERMINAL_TYPES,
        body=event_body(job, type, moment),
        created_at=moment,
    )
    session.add(event)
    session.flush()
    session.add_all(
        DeliveryRow(
            id=new_id("dlv"),
            project_id=job.project_id,
            endpoint_id=endpoint,
            event_id=event.id,
            state="pending",
            attempt=0,
            next_attempt_at=moment,
            created_at=moment,
        )
        for endpoint in _recipients(session, job, type)
    )
    session.flush()
    return event


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


def _recipients(session: Session, job: JobRow, type: str) -> list[str]:
    """Active endpoints of the project that subscribed, and the job's own callback for a terminal event; each once."""
    rows = session.execute(
        select(WebhookEndpointRow.id, WebhookEndpointRow.events)
        .where(
            WebhookEndpointRow.project_id == job.project_id,
            WebhookEndpointRow.state == "active",
            WebhookEndpointRow.deleted_at.is_(None),
        )
        .order_by(WebhookEndpointRow.id)
    )
    called_back = job.callback_endpoint_id if type in TERMINAL_TYPES else None
    return [identity for identity, events in rows if identity == called_back or wants(events, type)]
