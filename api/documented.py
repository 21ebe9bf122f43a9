"""What the OpenAPI description says of every operation beyond its bodies: its problems, by code."""

from __future__ import annotations

from typing import Any

from api.problems import KINDS
from api.schemas.body import Problem

EVERYWHERE = ("internal", "dependency_unavailable", "method_not_allowed", "key_in_query")
WITH_KEY = ("unauthenticated", "forbidden_scope", "invalid_request", "quota_exceeded")
WITH_BODY = ("malformed_json", "request_timeout", "payload_too_large", "unsupported_media_type", "invalid_request")
IDEMPOTENT = ("idempotency_in_progress", "idempotency_mismatch", "invalid_request")

SERVER_SENT_EVENT: dict[str, Any] = {
    "type": "object",
    "description": "One message of the stream.",
    "properties": {"id": {"type": "string"}, "event": {"type": "string"}, "data": {"type": "string"}},
}

DESCRIPTION = """Give it a video, get a verdict on face manipulation and the evidence for it, frame by frame.

A job is durable once it was accepted with 202, and settles exactly once. Follow it by polling with `If-None-Match`,
by `Prefer: wait=N`, by server-sent events, or by a signed webhook. Enumerations are open: treat a word that you do not
know as unknown.
"""


def problems(*codes: str) -> dict[int | str, dict[str, Any]]:
    """`responses=` of a route: one entry per status, naming the codes that come with it."""
    by_status: dict[int | str, list[str]] = {}
    for code in (*codes, *EVERYWHERE):
        listed = by_status.setdefault(KINDS[code].status, [])
        if code not in listed:
            listed.append(code)
    return {status: _response(names) for status, names in sorted(by_status.items(), key=lambda item: str(item[0]))}


def _response(codes: list[str]) -> dict[str, Any]:
    titles = "; ".join(f"`{code}`: {KINDS[code].title.lower()}" for code in codes)
    return {"model": Problem, "description": titles[0].upper() + titles[1:] if titles else "Problem"}
