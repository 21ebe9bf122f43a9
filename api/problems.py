"""Errors become `application/problem+json` (RFC 9457) here and nowhere else.

Every answer that is not a success has the same shape, whoever found the fault: a room of the service, the framework,
or the database driver. `code` is stable; docs/api/errors.md has a line for each, and a test compares.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from re import Pattern
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from sqlalchemy.exc import DataError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.exceptions import HTTPException

from styleflow.errors import (
    DependencyUnavailable,
    InvalidRequest,
    MalformedJson,
    MethodNotAllowed,
    NotFound,
    PayloadTooLarge,
    StorageUnavailable,
    StyleFlowError,
    UnsupportedMediaType,
)

MEDIA_TYPE = "application/problem+json"
TYPE_PREFIX = "urn:styleflow:problem:"
QUOTA_TYPE = "https://iana.org/assignments/http-problem-types#quota-exceeded"
RETRY_SECONDS = 5

_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Kind:
    """What a code means to every caller: its status, its title, and whether the same request may succeed later."""

    status: int
    title: str
    retryable: bool = False
    type: str | None = None
    """Where others have registered one; else it is made of the code."""


KINDS: Mapping[str, Kind] = {
    "malformed_json": Kind(400, "The body is not JSON"),
    "cursor_mismatch": Kind(400, "The cursor does not belong to this query"),
    "key_in_query": Kind(400, "An API key was sent in the address"),
    "unauthenticated": Kind(401, "No valid credentials"),
    "forbidden_scope": Kind(403, "The API key lacks a scope"),
    "source_not_allowed": Kind(403, "The source is not allowed"),
    "not_found": Kind(404, "Not found"),
    "method_not_allowed": Kind(405, "The method is not allowed here"),
    "not_acceptable": Kind(406, "It is not written in what the caller accepts"),
    "request_timeout": Kind(408, "The body did not arrive in time", retryable=True),
    "idempotency_in_progress": Kind(409, "The first request with this key is still running", retryable=True),
    "not_retryable": Kind(409, "Its state does not allow this"),
    "result_not_ready": Kind(409, "There is no result", retryable=True),
    "upload_mismatch": Kind(409, "The uploaded bytes are not those announced"),
    "legal_hold": Kind(409, "Under legal hold"),
    "erased": Kind(410, "Erased"),
    "precondition_failed": Kind(412, "It was changed meanwhile"),
    "payload_too_large": Kind(413, "The body is too large"),
    "unsupported_media_type": Kind(415, "The Content-Type is not accepted here"),
    "idempotency_mismatch": Kind(422, "The Idempotency-Key was used with another request"),
    "invalid_request": Kind(422, "The request does not fit"),
    "unknown_model": Kind(422, "No such model is served"),
    "unknown_policy": Kind(422, "No such policy"),
    "precondition_required": Kind(428, "The change needs If-Match"),
    "quota_exceeded": Kind(429, "The quota is used up", retryable=True, type=QUOTA_TYPE),
    "internal": Kind(500, "Something went wrong on our side", retryable=True),
    "backlog_full": Kind(503, "Too many jobs are queued", retryable=True),
    "dependency_unavailable": Kind(503, "A service behind this one does not answer", retryable=True),
}
"""Every code that this API can answer with. A list, not a promise of completeness: callers treat others by status."""

_BY_STATUS: Mapping[int, StyleFlowError] = {
    400: MalformedJson("The body could not be read as JSON."),
    404: NotFound("There is nothing at this address."),
    405: MethodNotAllowed("This address does not take that method."),
    413: PayloadTooLarge("The body is larger than this address takes."),
    415: UnsupportedMediaType("The body's Content-Type is not accepted here."),
}


def problem(
    code: str, detail: str, *, request_id: str, instance: str, errors: Iterable[Mapping[str, Any]] = (), **members: Any
) -> dict[str, Any]:
    """The body: the members of RFC 9457, and `code`, `request_id`, `retryable`, `errors`."""
    kind = KINDS[code]
    return {
        "type": kind.type or TYPE_PREFIX + code,
        "title": kind.title,
        "status": kind.status,
        "detail": detail,
        "instance": instance,
        "code": code,
        "request_id": request_id,
        "retryable": kind.retryable,
        "errors": [dict(error) for error in errors],
        **members,
    }


def code_of(error: StyleFlowError) -> str:
    """The code that callers see: what only concerns our own rooms is `dependency_unavailable` or `internal`."""
    if isinstance(error, StorageUnavailable):
        return DependencyUnavailable.code
    return error.code if error.code in KINDS else "internal"


def pointer(location: Iterable[str | int]) -> str:
    """RFC 6901. `("source", 0, "a/b")` gives `/source/0/a~1b`."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in location)


def field_error(error: Mapping[str, Any]) -> dict[str, str]:
    """One entry of `errors` from one of pydantic's. Says where, which rule, and why; never repeats the value."""
    where, *path = error["loc"] or ("body",)
    message = str(error["msg"]).removeprefix("Value error, ")
    return {"in": str(where), "pointer": pointer(path), "code": str(error["type"]), "message": message}


def response_to(error: StyleFlowError, request: Request, headers: Mapping[str, str] | None = None) -> Response:
    """The answer to any error of our tree."""
    code = code_of(error)
    detail = str(error) if code != "internal" else KINDS["internal"].title + "."
    retryable = KINDS[code].retryable and not error.details.get("final", False)
    members: dict[str, Any] = {"retryable": retryable, **error.details.get("members", {})}
    if served := error.details.get("served"):
        members["served"] = list(served)
    return _ProblemResponse(
        problem(
            code,
            detail,
            request_id=request.scope.get("state", {}).get("request_id", ""),
            instance=request.url.path,
            errors=error.details.get("errors", ()),
            **members,
        ),
        status_code=KINDS[code].status,
        headers={**_headers_for(code, retryable, error.details.get("retry_after")), **(headers or {})},
    )


class _ProblemResponse(JSONResponse):
    """What a caller misspelt may hold half of a surrogate pair, and is told back with a question mark for it."""

    media_type = MEDIA_TYPE

    def render(self, content: Any) -> bytes:
        return json.dumps(content, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "replace")


def _headers_for(code: str, retryable: bool, pause: int | None) -> dict[str, str]:
    if code == "unauthenticated":
        return {"WWW-Authenticate": 'Bearer realm="styleflow"'}
    if pause is not None:
        return {"Retry-After": str(pause)}
    if KINDS[code].status == 503 or (retryable and code in ("idempotency_in_progress", "result_not_ready")):
        return {"Retry-After": str(RETRY_SECONDS)}
    return {}


def _on_own_error(request: Request, error: Exception) -> Response:
    if not isinstance(error, StyleFlowError):
        raise error
    if code_of(error) == "internal":
        _log.error("request_failed", error=type(error).__name__, exc_info=error)
    return response_to(error, request)


def _on_invalid(request: Request, error: Exception) -> Response:
    if not isinstance(error, RequestValidationError):
        raise error
    found = error.errors()
    if any(item["type"] == "json_invalid" for item in found):
        position = next(item["loc"][-1] for item in found if item["type"] == "json_invalid")
        return response_to(MalformedJson(f"The body is not JSON: it breaks off at character {position}."), request)
    errors = [field_error(item) for item in found]
    first = errors[0]
    where = first["pointer"] or f"the {first['in']}"
    return response_to(InvalidRequest(f"{where}: {first['message']}", errors=errors), request)


def _on_framework_error(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    own = _BY_STATUS.get(error.status_code, StyleFlowError())
    headers = {"Allow": ", ".join(_allowed(request))} if error.status_code == 405 else error.headers
    return response_to(own, request, headers)


def _allowed(request: Request) -> list[str]:
    """The methods of every route with this path. The framework names those of the first one only.

    A verb after a colon belongs to its own route alone, although the id of another could be read as holding it.
    """
    templates: Mapping[Pattern[str], frozenset[str]] = request.app.state.methods
    path = request.scope["path"]
    found = {template: methods for template, methods in templates.items() if template.match(path)}
    verbs = {template: methods for template, methods in found.items() if ":" in template.pattern.rpartition(")")[2]}
    return sorted({method for methods in (verbs or found).values() for method in methods})


def _on_database_gone(request: Request, error: Exception) -> Response:
    _log.warning("database_unavailable", error=type(error).__name__, reason=str(error).splitlines()[0][:200])
    return response_to(DependencyUnavailable("The database does not answer; try again."), request)


def _on_unstorable_value(request: Request, _: Exception) -> Response:
    """Text that PostgreSQL cannot hold: a NUL character, or half of a surrogate pair."""
    return response_to(InvalidRequest("A value holds characters that cannot be stored."), request)


def install(app: FastAPI) -> None:
    """Register the handlers. What they do not know is answered by the middleware as `internal`."""
    app.add_exception_handler(StyleFlowError, _on_own_error)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(HTTPException, _on_framework_error)
    for gone in (OperationalError, InterfaceError, PoolTimeout):
        app.add_exception_handler(gone, _on_database_gone)
    app.add_exception_handler(DataError, _on_unstorable_value)
