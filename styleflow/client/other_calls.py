"""Calls of models, limits and API keys."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from styleflow.client.answers import ApiKey, Model, Record
from styleflow.client.calls import Call, given, keyed, nothing, part, reads, reads_list
from styleflow.client.lists import Pages


def models() -> Call[list[Model]]:
    """The models that are served."""
    return Call(method="GET", path="/v1/models", read=reads_list(Model))


def model(name: str) -> Call[Model]:
    """Everything about one model; `name` as in `styleflow@1`."""
    return Call(method="GET", path=f"/v1/models/{part(name)}", read=reads(Model))


def limits() -> Call[Record]:
    """Every ceiling that a request can meet. Sizes are bytes, durations seconds."""
    return Call(method="GET", path="/v1/limits", read=reads(Record))


def create_key(
    name: str,
    scopes: Sequence[str],
    *,
    expires_at: datetime | None = None,
    idempotency_key: str | None = None,
    **more: Any,
) -> Call[ApiKey]:
    """Make a key. The answer shows its `secret`, this one time."""
    body = given(name=name, scopes=list(scopes), expires_at=expires_at, **more)
    headers = keyed(idempotency_key)
    return Call(method="POST", path="/v1/api-keys", body=body, headers=headers, repeatable=True, read=reads(ApiKey))


def list_keys(*, page_size: int | None = None) -> Pages[ApiKey]:
    """The keys of the project, newest first."""
    return Pages("/v1/api-keys", ApiKey, {"limit": page_size})


def get_key(key_id: str) -> Call[ApiKey]:
    """One key, without its secret."""
    return Call(method="GET", path=f"/v1/api-keys/{part(key_id)}", read=reads(ApiKey))


def revoke_key(key_id: str) -> Call[None]:
    """Make a key worthless from now on."""
    return Call(method="DELETE", path=f"/v1/api-keys/{part(key_id)}", read=nothing)


def rotate_key(key_id: str, *, overlap_hours: float | None = None, idempotency_key: str | None = None) -> Call[ApiKey]:
    """Give a key a new secret, which the answer shows; the one before stays good during the overlap."""
    path, body = f"/v1/api-keys/{part(key_id)}:rotate", given(overlap_hours=overlap_hours)
    headers = keyed(idempotency_key)
    return Call(method="POST", path=path, body=body, headers=headers, repeatable=True, read=reads(ApiKey))
