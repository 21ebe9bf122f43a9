"""The OpenAPI description that is served: what FastAPI finds, and what callers and generated clients need beyond it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.openapi.utils import get_openapi

from api import rate_limits
from api.documented import DESCRIPTION
from api.examples import example_of
from api.problems import MEDIA_TYPE
from api.schemas.body import ResponseBody
from api.schemas.webhook_events import BatchEvent, JobEvent, OtherEvent
from styleflow.webhooks.announce import ENDPOINT_TYPES, TYPES

_JSON = "application/json"
_BODIES: Mapping[str, type[ResponseBody]] = {"job": JobEvent, "batch": BatchEvent}
_RETRY_AFTER = {"description": "Seconds until it is worth coming again.", "schema": {"type": "integer"}}
_HEADERS: Mapping[str, Mapping[str, Any]] = {
    "401": {"WWW-Authenticate": {"description": "How to present a key.", "schema": {"type": "string"}}},
    "429": {"Retry-After": _RETRY_AFTER},
    "503": {"Retry-After": _RETRY_AFTER},
}
"""Status → headers of every problem with it."""


def describe(app: FastAPI, public_url: str) -> None:
    """Replace the app's description by one with problems of their own media type, examples, webhooks and a server."""
    _add_webhooks(app.webhooks)

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _description(app, public_url)
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way


def _description(app: FastAPI, public_url: str) -> dict[str, Any]:
    found = get_openapi(
        title=app.title,
        version=app.version,
        description=DESCRIPTION,
        routes=app.routes,
        webhooks=app.webhooks.routes,
        servers=[{"url": public_url}],
        tags=app.openapi_tags,
    )
    schemas = found["components"]["schemas"]
    for operation in _operations(found["paths"]):
        _only_problems(operation["responses"])
        operation.setdefault("security", [])
        for parameter in operation.get("parameters", ()):
            parameter["schema"] = _never_null(parameter["schema"])
            if parameter["name"] == "cursor":
                parameter["schema"]["pattern"] = "^[A-Za-z0-9_=-]*$"
        for status, response in operation["responses"].items():
            headers = response.setdefault("headers", {})
            headers.update({name: header for name, header in _HEADERS.get(status, {}).items() if name not in headers})
            headers.update(rate_limits.described(operation))
        _add_examples(operation, schemas)
    for name, methods in found["webhooks"].items():
        for operation in methods.values():
            _only_problems(operation["responses"])
            _add_examples(operation, schemas)
            operation["requestBody"]["content"][_JSON]["examples"]["event"]["value"]["type"] = name
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    return found


def _add_webhooks(router: APIRouter) -> None:
    """One operation for each type of event, of the body that it carries."""
    for type in sorted(TYPES | ENDPOINT_TYPES):
        router.add_api_route(
            type,
            _receiver(_BODIES.get(type.partition(".")[0], OtherEvent)),
            methods=["POST"],
            operation_id="on" + "".join(part.title() for part in type.replace("_", ".").split(".")),
            summary=f"Sent to endpoints that subscribed to {type}",
            tags=["webhooks"],
            status_code=200,
        )


def _receiver(body_type: type[ResponseBody]) -> Any:
    def receive(body: Any) -> None:
        """Signed as Standard Webhooks 1.0.0; answer 2xx within ten seconds, and drop an id that you have seen."""

    receive.__annotations__["body"] = body_type
    return receive


def _operations(paths: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for methods in paths.values():
        yield from methods.values()


def _only_problems(responses: dict[str, Any]) -> None:
    """Give problems their media type, and drop the validation errors that the framework adds in a shape of its own."""
    for status, response in list(responses.items()):
        shown: dict[str, Any] = next(iter(response.get("content", {}).values()), {})
        reference = shown.get("schema", {}).get("$ref", "")
        if reference.endswith("/HTTPValidationError"):
            del responses[status]
        elif int(status) >= 400 and reference.endswith("/Problem"):
            response["content"] = {MEDIA_TYPE: shown}


def _never_null(schema: dict[str, Any]) -> dict[str, Any]:
    """A parameter is left out, not null: the one alternative that is left, with what was said of both."""
    said = [one for one in schema.get("anyOf", ()) if one != {"type": "null"}]
    if len(said) != 1:
        return schema
    return {**said[0], **{name: value for name, value in schema.items() if name != "anyOf"}}


def _add_examples(operation: Mapping[str, Any], schemas: Mapping[str, Any]) -> None:
    """One for each JSON body; those of requests may be written by hand, where nothing is null that FastAPI drops."""
    bodies = [("request", operation.get("requestBody", {}))]
    bodies += [("answer", response) for status, response in operation["responses"].items() if status.startswith("2")]
    for side, body in bodies:
        content = body.get("content", {}).get(_JSON)
        if content is not None and (side != "request" or not content.get("examples")):
            value = example_of(content.get("schema", {}), schemas)
            name = "event" if side == "request" and "data" in value else side
            content["examples"] = {name: {"summary": operation["summary"], "value": value}}
