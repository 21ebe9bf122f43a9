"""What a route is given: the services of this process, and what the headers of the request say."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Header, Request
from prometheus_client import CollectorRegistry

from api.event_streams import StreamSeats
from api.pages import Cursors
from api.upload_tokens import UploadTokens
from api.waiting import WaitingRoom
from styleflow.api_keys import SecretBox
from styleflow.broker import Broker
from styleflow.database import Database
from styleflow.egress import Egress
from styleflow.errors import InvalidRequest, UnsupportedMediaType
from styleflow.packs import Catalog
from styleflow.quotas import Quotas
from styleflow.rate_limits import RateLimiter
from styleflow.settings import Settings
from styleflow.storage.bucket import Bucket

MAX_WAIT_SECONDS = 60
_IDEMPOTENCY_KEY = re.compile(r"^[\x20-\x7e]{1,255}$")
_WAIT = re.compile(r"^\s*wait\s*=\s*\"?(\d{1,9})\"?\s*(;.*)?$", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Services:
    """Everything that this process opened, and closes when it ends."""

    settings: Settings
    database: Database
    bucket: Bucket
    egress: Egress
    broker: Broker
    limiter: RateLimiter
    catalog: Catalog
    waiting: WaitingRoom
    stream_seats: StreamSeats
    cursors: Cursors
    upload_tokens: UploadTokens
    secret_box: SecretBox
    quotas: Quotas
    """Those of a project that has no own ones."""
    metrics: CollectorRegistry
    open_source: Callable[[str], Bucket]
    """The bucket of a source by its name. Raises SourceNotAllowed when it is not on the allow-list."""

    @property
    def pepper(self) -> str:
        return self.settings.secret_key.get_secret_value()


async def get_services(request: Request) -> Services:
    services: Services = request.app.state.services
    return services


async def get_request_id(request: Request) -> str:
    return str(request.scope["state"]["request_id"])


async def only_json(request: Request) -> None:
    """415 for a body that does not say it is JSON. An empty body needs to say nothing."""
    if request.method not in ("POST", "PUT", "PATCH") or not await request.body():
        return
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json" and not (kind.startswith("application/") and kind.endswith("+json")):
        raise UnsupportedMediaType("Send the body as application/json.")


def parse_idempotency_key(value: str) -> str:
    """Quoted (a structured-field string) or bare. Raises InvalidRequest."""
    key = value.strip()
    if len(key) >= 2 and key.startswith('"') and key.endswith('"'):
        key = re.sub(r"\\([\"\\])", r"\1", key[1:-1])
    if not _IDEMPOTENCY_KEY.match(key):
        raise header_error("Idempotency-Key", "must be 1 to 255 printable ASCII characters")
    return key


def parse_wait(prefer: str) -> int | None:
    """Seconds of `wait=N` among the preferences, at most 60; None where there is none. The first one counts."""
    for preference in prefer.split(","):
        if found := _WAIT.match(preference):
            return min(int(found[1]), MAX_WAIT_SECONDS) or None
    return None


def header_error(name: str, message: str) -> InvalidRequest:
    error = {"in": "header", "pointer": f"/{name}", "code": "value_error", "message": message}
    return InvalidRequest(f"{name}: {message}", errors=[error])


_KEY_HEADER: Any = Header(
    alias="Idempotency-Key",
    description="Makes the call safe to repeat: the same key and body give the stored answer for 7 days. Quoted, as a"
    " structured field, or bare.",
    json_schema_extra={"pattern": r"^[ \t]*[!-~]([ -~]{0,253}[!-~])?[ \t]*$"},
)


async def _idempotency_key(idempotency_key: Annotated[str | None, _KEY_HEADER] = None) -> str | None:
    return None if idempotency_key is None else parse_idempotency_key(idempotency_key)


async def _required_idempotency_key(idempotency_key: Annotated[str, _KEY_HEADER]) -> str:
    return parse_idempotency_key(idempotency_key)


async def _wait_seconds(
    prefer: Annotated[
        str | None, Header(description="`wait=N` holds the answer until the job settles, for at most N (60) seconds.")
    ] = None,
) -> int | None:
    return None if prefer is None else parse_wait(prefer)


ServicesDep = Annotated[Services, Depends(get_services)]
RequestId = Annotated[str, Depends(get_request_id)]
IdempotencyKey = Annotated[str | None, Depends(_idempotency_key)]
RequiredIdempotencyKey = Annotated[str, Depends(_required_idempotency_key)]
"""Where a repetition without one would do a great deal twice."""
WaitSeconds = Annotated[int | None, Depends(_wait_seconds)]
JSON_ONLY: Any = Depends(only_json)
