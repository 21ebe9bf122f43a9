"""A query parameter that an operation does not describe is refused: a misspelt filter would list everything."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import Depends, Request

from api.problems import pointer
from styleflow.errors import InvalidRequest

Described = Mapping[tuple[str, str], frozenset[str]]
"""(method, path template) → names of the query parameters."""


def described_parameters(description: Mapping[str, Any]) -> Described:
    """From the OpenAPI description, so that what is accepted is what is described."""
    return {
        (method.upper(), path): frozenset(
            parameter["name"] for parameter in operation.get("parameters", ()) if parameter["in"] == "query"
        )
        for path, operations in description["paths"].items()
        for method, operation in operations.items()
    }


async def _only_described(request: Request) -> None:
    described: Described = request.app.state.described_parameters
    known = described[request.method, request.scope["route"].path]
    unknown = [name for name in request.query_params if name not in known]
    if unknown:
        message = "there is no such query parameter here"
        entry = {"in": "query", "code": "extra_forbidden", "message": message}
        entries = [{**entry, "pointer": pointer([name])} for name in unknown]
        raise InvalidRequest(f"{entries[0]['pointer']}: {message}", errors=entries)


ONLY_DESCRIBED = Depends(_only_described)
