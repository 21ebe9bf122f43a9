"""Calls of `/v1/batches`: each a request and how its answer is read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from styleflow.client.answers import Batch, BatchError, BatchItem
from styleflow.client.calls import Call, given, keyed, part, reads
from styleflow.client.lists import Pages, Rows


def create(
    name: str,
    source: Mapping[str, Any],
    *,
    defaults: Mapping[str, Any] | None = None,
    lane: str | None = None,
    max_in_flight: int | None = None,
    idempotency_key: str | None = None,
    **more: Any,
) -> Call[Batch]:
    """Submit many videos. `source` is `{"type": "inline", "items": […]}`, `"manifest"` or `"prefix"`."""
    body = given(name=name, source=source, defaults=defaults, lane=lane, max_in_flight=max_in_flight, **more)
    headers = keyed(idempotency_key)
    return Call(method="POST", path="/v1/batches", body=body, headers=headers, repeatable=True, read=reads(Batch))


def get(batch_id: str) -> Call[Batch]:
    """One batch, with exact counts."""
    return Call(method="GET", path=f"/v1/batches/{part(batch_id)}", read=reads(Batch))


def list_(*, state: str | None = None, page_size: int | None = None) -> Pages[Batch]:
    """Batches, newest first."""
    return Pages("/v1/batches", Batch, {"state": state, "limit": page_size})


def items(batch_id: str, *, state: str | None = None, page_size: int | None = None) -> Pages[BatchItem]:
    """Its items in order of position."""
    return Pages(f"/v1/batches/{part(batch_id)}/items", BatchItem, {"state": state, "limit": page_size})


def errors(batch_id: str) -> Rows[BatchError]:
    """The lines that are wrong and the jobs that failed, as they arrive."""
    return Rows(f"/v1/batches/{part(batch_id)}/errors", BatchError)


def pause(batch_id: str, *, idempotency_key: str | None = None) -> Call[Batch]:
    """Submit no further jobs of it."""
    return _ordered(batch_id, "pause", idempotency_key)


def resume(batch_id: str, *, idempotency_key: str | None = None) -> Call[Batch]:
    """Go on with it."""
    return _ordered(batch_id, "resume", idempotency_key)


def cancel(batch_id: str, *, idempotency_key: str | None = None) -> Call[Batch]:
    """Cancel what is left of it."""
    return _ordered(batch_id, "cancel", idempotency_key)


def retry_failed(batch_id: str, *, idempotency_key: str | None = None) -> Call[Batch]:
    """Try again what failed in it."""
    return _ordered(batch_id, "retry-failed", idempotency_key)


def _ordered(batch_id: str, verb: str, key: str | None) -> Call[Batch]:
    path = f"/v1/batches/{part(batch_id)}:{verb}"
    return Call(method="POST", path=path, headers=keyed(key), repeatable=True, read=reads(Batch))
