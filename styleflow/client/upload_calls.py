"""Calls of `/v1/uploads`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from styleflow.client.answers import PartAddress, Record, Upload
from styleflow.client.calls import Call, given, keyed, nothing, part, reads, reads_list


def create(
    filename: str,
    size_bytes: int,
    *,
    content_type: str = "application/octet-stream",
    sha256: str | None = None,
    multipart: bool | None = None,
    idempotency_key: str | None = None,
) -> Call[Upload]:
    """Announce a file: where its bytes go is in the answer. `upload_file` does all of it."""
    body = given(
        filename=filename, size_bytes=size_bytes, content_type=content_type, sha256=sha256, multipart=multipart
    )
    headers = keyed(idempotency_key)
    return Call(method="POST", path="/v1/uploads", body=body, headers=headers, repeatable=True, read=reads(Upload))


def get(upload_id: str) -> Call[Upload]:
    """Where it stands; while it is pending, with a fresh address."""
    return Call(method="GET", path=f"/v1/uploads/{part(upload_id)}", read=reads(Upload))


def sign_parts(upload_id: str, numbers: Sequence[int]) -> Call[list[PartAddress]]:
    """Where parts of an upload in parts go."""
    path, body = f"/v1/uploads/{part(upload_id)}/parts", {"numbers": list(numbers)}
    return Call(method="POST", path=path, body=body, repeatable=True, read=reads_list(PartAddress))


def stored_parts(upload_id: str) -> Call[list[Record]]:
    """Which parts of an upload in parts have arrived."""
    return Call(method="GET", path=f"/v1/uploads/{part(upload_id)}/parts", read=reads_list(Record))


def complete(upload_id: str, *, parts: Sequence[Mapping[str, Any]] | None = None) -> Call[Upload]:
    """Have the bytes checked. `parts` is `{"n": …, "etag": …}` of each, for an upload in parts. Safe to repeat."""
    path = f"/v1/uploads/{part(upload_id)}:complete"
    body = None if parts is None else {"parts": [dict(sent) for sent in parts]}
    return Call(method="POST", path=path, body=body, repeatable=True, read=reads(Upload))


def delete(upload_id: str) -> Call[None]:
    """Delete it and its bytes."""
    return Call(method="DELETE", path=f"/v1/uploads/{part(upload_id)}", read=nothing)
