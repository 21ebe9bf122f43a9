"""Answers as values, and the rule that a repeated request gets the stored one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel
from sqlalchemy.orm import Session

from styleflow.jobs import idempotency


@dataclass(frozen=True)
class Answer:
    """What a caller is told: status, JSON body and headers."""

    status: int
    body: dict[str, Any]
    headers: Mapping[str, str] = field(default_factory=dict)

    def response(self) -> Response:
        return JSONResponse(self.body, status_code=self.status, headers=dict(self.headers))


@dataclass(frozen=True)
class Once:
    """One effect per Idempotency-Key: scoped to the project and the operation, bound to the request's content."""

    project_id: str
    operation: str
    """Method and route template."""
    key: str | None
    content: Any
    """What the key must always come with: JSON values."""
    hours: float

    def answer(self, session: Session, make: Callable[[], Answer]) -> Answer:
        """The stored answer, or that of `make`, which is stored in this transaction.

        Raises IdempotencyMismatch and IdempotencyInProgress. An error of `make` stores nothing.
        """
        if self.key is None:
            return make()
        stored = idempotency.remember(
            session, self.project_id, self.operation, self.key, fingerprint(self.content), self.hours
        )
        if stored is not None:
            headers = {str(name): str(value) for name, value in stored.headers.items()}
            return Answer(stored.status, stored.body, {**headers, "Idempotency-Replayed": "true"})
        made = make()
        idempotency.keep_answer(
            session, self.project_id, self.operation, self.key, made.status, made.body, dict(made.headers)
        )
        return made


def fingerprint(content: Any) -> str:
    """SHA-256 of the content as canonical JSON."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def as_json(body: BaseModel) -> dict[str, Any]:
    """The body as JSON values, members by their names on the wire."""
    return body.model_dump(mode="json", by_alias=True)


def ok(body: BaseModel, headers: Mapping[str, str] | None = None, status: int = 200) -> Response:
    """The body is written once, from the model to bytes: nothing is checked again, and no JSON value is made twice."""
    content = body.model_dump_json(by_alias=True)
    return Response(content, status_code=status, headers=dict(headers or {}), media_type="application/json")
