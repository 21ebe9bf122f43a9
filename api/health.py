"""Is the process alive, can it accept work, and what do the counters say. None of these needs a key."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from api.answers import as_json
from api.dependencies import Services, ServicesDep
from api.documented import problems
from api.schemas.health import Liveness, Readiness
from migrations.upgrade import head
from styleflow.errors import NotFound, SourceForbidden, StorageUnavailable

router = APIRouter(tags=["health"])

REQUIRED = ("database", "migrations")
"""Without these nothing can be accepted. With the broker or the bucket down, submissions are kept for later."""


@router.get(
    "/livez", operation_id="getLiveness", summary="Does the process run", response_model=Liveness, responses=problems()
)
async def read_liveness() -> Response:
    """Asks nobody."""
    return JSONResponse({"status": "ok"})


@router.get(
    "/readyz",
    operation_id="getReadiness",
    summary="Can work be accepted",
    response_model=Readiness,
    responses={**problems(), 503: {"model": Readiness, "description": "Something that is required does not answer."}},
)
def read_readiness(services: ServicesDep) -> Response:
    """`degraded` is still 200: accepted jobs wait in the database until broker and bucket are back."""
    checks = {**_database(services), "broker": _broker(services), "bucket": _bucket(services)}
    if any(checks[name] != "ok" for name in REQUIRED):
        body = Readiness(status="unavailable", checks=checks)
        return JSONResponse(as_json(body), status_code=503, headers={"Retry-After": "5"})
    return JSONResponse(as_json(Readiness(status=_overall(checks), checks=checks)))


def _overall(checks: dict[str, str]) -> str:
    return "ok" if all(state == "ok" for state in checks.values()) else "degraded"


def _database(services: Services) -> dict[str, str]:
    """A transaction that takes an id can only run on a server that takes writes."""
    try:
        with services.database.transaction() as session:
            session.execute(text("select pg_current_xact_id()"))
            found = session.execute(text("select to_regclass('alembic_version') is not null")).scalar_one()
            version = session.execute(text("select version_num from alembic_version")).scalar() if found else None
    except SQLAlchemyError:
        return {"database": "unreachable", "migrations": "unknown"}
    return {"database": "ok", "migrations": "ok" if version == head() else "behind"}


def _broker(services: Services) -> str:
    return "ok" if services.broker.is_reachable() else "unreachable"


def _bucket(services: Services) -> str:
    try:
        services.bucket.head("health")
    except SourceForbidden:
        return "forbidden"
    except StorageUnavailable:
        return "unreachable"
    return "ok"


@router.get(
    "/metrics",
    operation_id="getMetrics",
    summary="Read the counters, for Prometheus",
    response_class=PlainTextResponse,
    responses=problems("not_found"),
)
def read_metrics(services: ServicesDep) -> Response:
    """Names, units and labels: docs/operations.md."""
    if services.settings.metrics_port:
        raise NotFound("The metrics of this installation have a port of their own.")
    return Response(generate_latest(services.metrics), media_type=CONTENT_TYPE_LATEST)
