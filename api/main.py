"""The HTTP door: `uvicorn api.main:create_app --factory`, settings from the environment."""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from functools import lru_cache
from re import Pattern

import anyio.to_thread
from fastapi import FastAPI
from prometheus_client import CollectorRegistry, Gauge, start_http_server
from starlette.routing import Route

import styleflow
from api import (
    artifacts,
    audit_events,
    batch_events,
    batches,
    deliveries,
    erasures,
    events,
    evidence,
    evidence_lists,
    exports,
    health,
    job_events,
    jobs,
    keys,
    models,
    policies,
    predict,
    problems,
    projects,
    relabelings,
    reruns,
    retention,
    upload_bodies,
    upload_parts,
    uploads,
    webhooks,
)
from api.backlog_metrics import BacklogCollector
from api.dependencies import Services
from api.description import describe
from api.event_streams import StreamSeats
from api.middleware import BodyLimit, RequestScope
from api.pages import Cursors
from api.parameters import ONLY_DESCRIBED, described_parameters
from api.upload_tokens import UploadTokens
from api.waiting import WaitingRoom
from styleflow.api_keys import SecretBox
from styleflow.broker import Broker
from styleflow.database import Database
from styleflow.egress import Egress, EgressPolicy
from styleflow.errors import ConfigurationError, SourceNotAllowed
from styleflow.logging import configure_logging
from styleflow.packs import Catalog
from styleflow.quotas import Quotas
from styleflow.rate_limits import RateLimiter
from styleflow.settings import Settings
from styleflow.storage.bucket import Bucket
from styleflow.storage.connect import open_bucket
from styleflow.telemetry import REGISTRY

ROUTERS = (
    jobs.router,
    reruns.router,
    job_events.router,
    batches.router,
    batch_events.router,
    evidence.router,
    evidence_lists.router,
    artifacts.router,
    artifacts.objects,
    exports.router,
    uploads.router,
    upload_parts.router,
    upload_bodies.router,
    retention.router,
    erasures.router,
    webhooks.router,
    deliveries.router,
    events.router,
    models.router,
    policies.router,
    relabelings.router,
    keys.router,
    projects.router,
    audit_events.router,
)
UNVERSIONED = (health.router, predict.router)
"""Called by probes and by callers of the original server, who may add to the address what they like."""


def create_app(settings: Settings | None = None) -> FastAPI:
    """The application. Opens nothing until it is started. Raises ConfigurationError."""
    settings = settings or Settings()
    if not settings.secret_key.get_secret_value():
        raise ConfigurationError("STYLEFLOW_SECRET_KEY is not set: keys, cursors and upload addresses depend on it")
    configure_logging(settings.log_format)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        services = open_services(settings)
        app.state.services = services
        app.state.described_parameters = described_parameters(app.openapi())
        # A thread for each database connection: requests then queue for a thread, where they cost nothing, and no
        # thread ever queues for a connection.
        anyio.to_thread.current_default_thread_limiter().total_tokens = settings.database_pool
        services.waiting.open()
        # What importing has made stays for good; a full collection need not look at it while requests are held up.
        gc.collect()
        gc.freeze()
        try:
            with metrics_served_apart(services):
                yield
        finally:
            close_services(services)

    app = FastAPI(
        title="StyleFlow",
        version=styleflow.__version__,
        lifespan=lifespan,
        docs_url="/docs",
        redoc_url=None,
        redirect_slashes=False,
    )
    problems.install(app)
    for router in ROUTERS:
        app.include_router(router, dependencies=[ONLY_DESCRIBED])
    for router in UNVERSIONED:
        app.include_router(router)
    app.state.methods = taken_methods(app)
    describe(app, settings.public_url)
    app.add_middleware(BodyLimit, max_bytes=settings.max_body_bytes)
    app.add_middleware(RequestScope)
    return app


def taken_methods(app: FastAPI) -> Mapping[Pattern[str], frozenset[str]]:
    """Path template → methods, over all routes; problems.py answers 405 with it."""
    own = [route for router in (*ROUTERS, *UNVERSIONED) for route in router.routes]
    taken: dict[Pattern[str], frozenset[str]] = {}
    for route in (*app.routes, *own):
        if isinstance(route, Route):
            taken[route.path_regex] = taken.get(route.path_regex, frozenset()) | frozenset(route.methods or ())
    return taken


def open_services(settings: Settings) -> Services:
    """Everything a process needs. Connects to nothing yet, so that it starts while a service behind it is down."""
    secret = settings.secret_key.get_secret_value()
    tokens = UploadTokens(secret, settings.public_url)
    database = Database(settings.database_url, pool_size=settings.database_pool, application="styleflow-api")
    bucket = _bucket(settings, settings.bucket_url, tokens)
    metrics = CollectorRegistry()
    metrics.register(REGISTRY)
    metrics.register(BacklogCollector(database))
    waiting = WaitingRoom(database)
    held = Gauge("styleflow_waiting_requests", "Requests of this process that wait for a job.", registry=metrics)
    held.set_function(lambda: waiting.waiting)
    seats = StreamSeats(settings.max_event_streams, settings.max_project_event_streams)
    streams = Gauge("styleflow_event_streams", "Event streams that this process holds open.", registry=metrics)
    streams.set_function(lambda: seats.taken)
    return Services(
        settings=settings,
        database=database,
        bucket=bucket,
        egress=Egress(egress_policy(settings)),
        broker=Broker(settings.redis_url),
        limiter=RateLimiter(settings.redis_url),
        catalog=Catalog(settings.packs_directory),
        waiting=waiting,
        stream_seats=seats,
        cursors=Cursors(secret),
        upload_tokens=tokens,
        secret_box=SecretBox(secret),
        quotas=Quotas.from_settings(settings.model_dump()),
        metrics=metrics,
        open_source=_source_buckets(settings, bucket),
    )


def close_services(services: Services) -> None:
    services.waiting.close()
    services.broker.close()
    services.limiter.close()
    services.database.close()


@contextmanager
def metrics_served_apart(services: Services) -> Iterator[None]:
    """On `metrics_port`, where one is set: a port that the outside need not reach."""
    if not services.settings.metrics_port:
        yield
        return
    server, thread = start_http_server(
        services.settings.metrics_port, addr=services.settings.host, registry=services.metrics
    )
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join(timeout=5)


def egress_policy(settings: Settings) -> EgressPolicy:
    return EgressPolicy(
        allow_http=settings.egress_allow_http,
        allow_loopback=settings.egress_allow_loopback,
        connect_to=tuple(settings.egress_connect_to),
        ca_file=settings.egress_ca_file,
    )


def _bucket(settings: Settings, url: str, tokens: UploadTokens | None = None) -> Bucket:
    def sign(method: str, key: str, seconds: int, part: int | None = None) -> str:
        if tokens is None:
            raise ConfigurationError("addresses are handed out into the service's own bucket only")
        expires = int(datetime.now(UTC).timestamp()) + seconds
        if method == "GET":
            return tokens.object_address(key, expires)
        return tokens.address(key.rpartition("/")[2], expires, part)

    return open_bucket(
        url,
        endpoint_url=settings.s3_endpoint_url,
        public_endpoint_url=settings.s3_public_endpoint_url,
        region=settings.s3_region,
        connections=settings.database_pool,
        sign=sign,
    )


def _source_buckets(settings: Settings, own: Bucket) -> Callable[[str], Bucket]:
    @lru_cache(maxsize=64)
    def other(name: str) -> Bucket:
        return _bucket(settings, f"s3://{name}")

    def open_source(name: str) -> Bucket:
        if name == own.name:
            return own
        if name not in settings.source_buckets:
            raise SourceNotAllowed("This bucket is not on the allow-list.")
        return other(name)

    return open_source
