"""What the OpenAPI description says of every operation beyond its bodies: its problems, by code."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from api import rate_limits
from api.problems import KINDS, MEDIA_TYPE
from api.schemas.body import Problem

EVERYWHERE = ("internal", "dependency_unavailable", "method_not_allowed", "key_in_query")
WITH_KEY = ("unauthenticated", "forbidden_scope", "invalid_request", "quota_exceeded")
WITH_BODY = ("malformed_json", "request_timeout", "payload_too_large", "unsupported_media_type", "invalid_request")
IDEMPOTENT = ("idempotency_in_progress", "idempotency_mismatch", "invalid_request")

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


def describe(app: FastAPI, public_url: str) -> None:
    """Replace the app's description by one whose problems have their own media type and whose server is named."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = get_openapi(
                title=app.title,
                version=app.version,
                description=DESCRIPTION,
                routes=app.routes,
                servers=[{"url": public_url}],
                tags=app.openapi_tags,
            )
            for path in schema["paths"].values():
                for operation in path.values():
                    _only_problems(operation["responses"])
                    for response in operation["responses"].values():
                        response.setdefault("headers", {}).update(rate_limits.described(operation))
            for unused in ("HTTPValidationError", "ValidationError"):
                schema["components"]["schemas"].pop(unused, None)
            app.openapi_schema = schema
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way


def _only_problems(responses: dict[str, Any]) -> None:
    """Give problems their media type, and drop the validation errors that the framework adds in a shape of its own."""
    for status, response in list(responses.items()):
        shown: dict[str, Any] = next(iter(response.get("content", {}).values()), {})
        reference = shown.get("schema", {}).get("$ref", "")
        if reference.endswith("/HTTPValidationError"):
            del responses[status]
        elif int(status) >= 400 and reference.endswith("/Problem"):
            response["content"] = {MEDIA_TYPE: shown}
