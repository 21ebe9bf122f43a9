"""What callers are shown of a job, as plain values.

A page of a list has up to 201 jobs: as mapped objects, or as SQLAlchemy's rows, reading their members would cost more
than all the rest of the request.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple

from styleflow.tables import JobRow


class ShownJob(NamedTuple):
    """The columns of JobRow by their names there, in the order in which COLUMNS selects them."""

    id: str
    state: str
    outcome: str | None
    reason: str | None
    verdict: str | None
    score: float | None
    probability: float | None
    progress: dict[str, Any]
    source: dict[str, Any]
    media: dict[str, Any] | None
    model: str
    pipeline: dict[str, Any] | None
    options: dict[str, Any]
    lane: str
    attempt: int
    max_attempts: int
    cancel_requested_at: datetime | None
    error: dict[str, Any] | None
    parent_job_id: str | None
    policy: str
    policy_revision: int | None
    dedupe: str
    deduplicated_from: str | None
    batch_id: str | None
    callback_endpoint_id: str | None
    client_ref: str | None
    tags: dict[str, Any]
    job_metadata: dict[str, Any]
    deadline: datetime | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    expires_at: datetime | None
    retention: dict[str, Any] | None
    source_until: datetime | None
    crops_until: datetime | None
    frames_until: datetime | None
    zero_at: datetime | None
    held_at: datetime | None


COLUMNS = tuple(getattr(JobRow, name) for name in ShownJob._fields)
