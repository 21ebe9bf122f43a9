"""Calls of models, limits, exports, API keys and policies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from styleflow.client.answers import ApiKey, Export, Model, Policy, Record
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


def create_export(
    format: str,
    *,
    query: Mapping[str, Any] | None = None,
    batch_id: str | None = None,
    fields: Sequence[str] | None = None,
    idempotency_key: str | None = None,
    **more: Any,
) -> Call[Export]:
    """Have many rows written into files. `format` is `csv`, `jsonl` or `parquet`."""
    columns = None if fields is None else list(fields)
    body = given(format=format, query=query, batch_id=batch_id, fields=columns, **more)
    headers = keyed(idempotency_key)
    return Call(method="POST", path="/v1/exports", body=body, headers=headers, repeatable=True, read=reads(Export))


def get_export(export_id: str) -> Call[Export]:
    """Where an export stands."""
    return Call(method="GET", path=f"/v1/exports/{part(export_id)}", read=reads(Export))


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


def revoke_key(key_id: str) -> Call[None]:
    """Make a key worthless from now on."""
    return Call(method="DELETE", path=f"/v1/api-keys/{part(key_id)}", read=nothing)


def rotate_key(key_id: str, *, overlap_hours: float | None = None, idempotency_key: str | None = None) -> Call[ApiKey]:
    """Give a key a new secret, which the answer shows; the one before stays good during the overlap."""
    path, body = f"/v1/api-keys/{part(key_id)}:rotate", given(overlap_hours=overlap_hours)
    headers = keyed(idempotency_key)
    return Call(method="POST", path=path, body=body, headers=headers, repeatable=True, read=reads(ApiKey))


def get_policy(policy_id: str) -> Call[Policy]:
    """By what verdicts are given."""
    return Call(method="GET", path=f"/v1/policies/{part(policy_id)}", read=reads(Policy))


def put_policy(policy_id: str, policy: Mapping[str, Any], *, if_match: str | None = None) -> Call[Policy]:
    """Replace a policy. `if_match` is the `etag` of the one that was read; with it, it is sent once."""
    headers = {} if if_match is None else {"If-Match": if_match}
    path = f"/v1/policies/{part(policy_id)}"
    return Call(
        method="PUT", path=path, body=dict(policy), headers=headers, repeatable=if_match is None, read=reads(Policy)
    )
