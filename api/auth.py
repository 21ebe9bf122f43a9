"""Who is calling, and may they: the API key in a header becomes a principal with scopes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import structlog
from fastapi import Depends, Request, Security
from fastapi.security import APIKeyHeader, HTTPAuthorizationCredentials, HTTPBearer

from api import rate_limits
from api.dependencies import Services, ServicesDep
from styleflow import api_keys
from styleflow.api_keys import Principal
from styleflow.errors import ForbiddenScope, Unauthenticated
from styleflow.key_grants import Address, client_address

COMPAT_PROJECT = "compat"

_BEARER = HTTPBearer(auto_error=False, scheme_name="bearer", description="`Authorization: Bearer sfk_live_…`")
_HEADER = APIKeyHeader(name="X-API-Key", auto_error=False, scheme_name="header", description="`X-API-Key: sfk_live_…`")


def _authenticated(
    request: Request,
    services: ServicesDep,
    bearer: Annotated[HTTPAuthorizationCredentials | None, Security(_BEARER)],
    header: Annotated[str | None, Security(_HEADER)],
) -> Principal:
    presented = bearer.credentials if bearer else header
    if not presented:
        raise Unauthenticated("Send an API key: Authorization: Bearer sfk_live_…")
    with services.database.reading() as session:
        principal = api_keys.authenticate(session, services.pepper, presented, _address(request, services))
    rate_limits.count(request, services.limiter, services.settings, principal)
    return principal


def _address(request: Request, services: Services) -> Address | None:
    """Where the request comes from, for keys that are good from some networks only."""
    forwarded = [one for line in request.headers.getlist("x-forwarded-for") for one in line.split(",")]
    peer = request.client.host if request.client else None
    return client_address(peer, forwarded, services.settings.trusted_proxies)


async def _any_key(principal: Annotated[Principal, Depends(_authenticated)]) -> Principal:
    structlog.contextvars.bind_contextvars(project=principal.project_id)
    return principal


def _with_scope(scope: str) -> Callable[[Principal], Principal]:
    async def allowed(principal: Annotated[Principal, Depends(_authenticated)]) -> Principal:
        structlog.contextvars.bind_contextvars(project=principal.project_id)
        if scope not in principal.scopes:
            raise ForbiddenScope(f"This API key lacks the scope {scope}.")
        return principal

    return allowed  # type: ignore[return-value]  # FastAPI awaits it; the routes see a Principal


MAY_READ_JOBS = Depends(_with_scope("jobs:read"))
"""For routes that need nothing of the caller but the scope."""

JobsWriter = Annotated[Principal, Depends(_with_scope("jobs:write"))]
JobsReader = Annotated[Principal, Depends(_with_scope("jobs:read"))]
BatchesWriter = Annotated[Principal, Depends(_with_scope("batches:write"))]
EvidenceReader = Annotated[Principal, Depends(_with_scope("evidence:read"))]
ModelsAdmin = Annotated[Principal, Depends(_with_scope("models:admin"))]
Eraser = Annotated[Principal, Depends(_with_scope("erasure:write"))]
WebhooksManager = Annotated[Principal, Depends(_with_scope("webhooks:manage"))]
KeysAdmin = Annotated[Principal, Depends(_with_scope("keys:admin"))]
AuditReader = Annotated[Principal, Depends(_with_scope("audit:read"))]
AnyKey = Annotated[Principal, Depends(_any_key)]
"""For what every caller may know of itself."""


def compat_project(
    request: Request,
    services: ServicesDep,
    bearer: Annotated[HTTPAuthorizationCredentials | None, Security(_BEARER)],
    header: Annotated[str | None, Security(_HEADER)],
) -> str:
    """The project of `/predict`: the key's, or, where the operator opened that door, one for all callers."""
    if _needs_no_key(services, bearer, header):
        with services.database.transaction() as session:
            return api_keys.ensure_project(session, COMPAT_PROJECT).id
    principal = _authenticated(request, services, bearer, header)
    if "jobs:write" not in principal.scopes:
        raise ForbiddenScope("This API key lacks the scope jobs:write.")
    return principal.project_id


def _compat_caller(
    request: Request,
    services: ServicesDep,
    bearer: Annotated[HTTPAuthorizationCredentials | None, Security(_BEARER)],
    header: Annotated[str | None, Security(_HEADER)],
) -> None:
    if _needs_no_key(services, bearer, header):
        return
    if "jobs:read" not in _authenticated(request, services, bearer, header).scopes:
        raise ForbiddenScope("This API key lacks the scope jobs:read.")


COMPAT_CALLER = Depends(_compat_caller)
"""For `/healthcheck`: a key with `jobs:read`, or, where the operator opened that door, none."""


def _needs_no_key(services: Services, bearer: HTTPAuthorizationCredentials | None, header: str | None) -> bool:
    """A key that was sent counts, and must be right, also where none is needed."""
    return services.settings.compat_predict and not bearer and not header
