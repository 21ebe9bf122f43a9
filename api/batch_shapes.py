"""Rows of batches become bodies. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from api.schemas import batches
from styleflow.batch_tables import BatchRow
from styleflow.batches import state
from styleflow.batches.queries import Item

LONGEST_ETA = timedelta(days=365)
"""Beyond that a rate says nothing any more."""


def batch(row: BatchRow, counts: Mapping[str, int], spent_seconds: float, now: datetime) -> batches.Batch:
    """`counts` and `spent_seconds` as jobs.batch_counts gives them; `now` is what the eta counts from."""
    own = f"/v1/batches/{row.id}"
    template = row.template
    return batches.Batch.model_validate(
        {
            "id": row.id,
            "name": row.name,
            "state": row.state,
            "source": _source(row.source),
            "counts": dict(counts),
            "progress": state.progress(counts, expanded=row.expanded_at is not None),
            "eta": _eta(row, counts, now),
            "cost": {"worker_seconds": spent_seconds, "budget_worker_seconds": row.budget_seconds},
            "error": row.error,
            "model": template["model"],
            "lane": template["lane"],
            "max_in_flight": row.max_in_flight,
            "on_item_error": "continue" if row.max_item_errors is None else "stop_after_n",
            "max_item_errors": row.max_item_errors,
            "retention": template.get("retention"),
            "created_at": row.created_at,
            "expanded_at": row.expanded_at,
            "finished_at": row.finished_at,
            "expires_at": row.expires_at,
            "links": {
                "self": own,
                "items": f"{own}/items",
                "errors": f"{own}/errors",
                "jobs": f"/v1/jobs?batch_id={row.id}",
            },
        }
    )


def item(found: Item) -> batches.Item:
    return batches.Item.model_validate(
        {
            "position": found.position,
            "state": found.state,
            "source": found.source,
            "client_ref": found.client_ref,
            "job_id": found.job_id,
            "error": found.error,
        }
    )


def item_error(found: Item) -> batches.ItemError:
    """An item that was never a job or whose job failed has a reason; one whose deadline passed has none but that."""
    error = found.error or {"code": found.state, "message": "The deadline passed before the job was claimed."}
    return batches.ItemError.model_validate(
        {
            "line": found.position,
            "state": found.state,
            "code": error["code"],
            "message": error["message"],
            "source": found.source,
            "client_ref": found.client_ref,
            "job_id": found.job_id,
        }
    )


def _source(source: Mapping[str, Any]) -> dict[str, Any]:
    shown = {name: value for name, value in source.items() if name in batches.BatchSource.model_fields}
    if source["type"] == "manifest":
        shown = {"type": "manifest", "uri": f"s3://{source['bucket']}/{source['key']}", "format": source["format"]}
    return shown


def _eta(row: BatchRow, counts: Mapping[str, int], now: datetime) -> datetime | None:
    if row.state not in state.FEEDING or row.expanded_at is None:
        return None
    seconds = state.seconds_left(counts, row.drain_rate)
    if seconds is None or seconds > LONGEST_ETA / timedelta(seconds=1):
        return None
    return now + timedelta(seconds=seconds)
