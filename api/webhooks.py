"""Webhook endpoints and deliveries: who is told, what was sent, and sending it again."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Body, Query, Request
from fastapi.responses import Response
from sqlalchemy.orm import Session

from api import shapes
from api.answers import Answer, Once, as_json, ok
from api.auth import WebhooksManager
from api.dependencies import JSON_ONLY, IdempotencyKey, Services, ServicesDep
from api.documented import IDEMPOTENT, WITH_BODY, WITH_KEY, problems
from api.pages import clamp_limit, link_header, page
from api.schemas.webhooks import (
    CREATE_EXAMPLES,
    ChangeEndpoint,
    CreateEndpoint,
    Delivery,
    DeliveryPage,
    DeliveryQuery,
    Endpoint,
    EndpointPage,
    EndpointQuery,
)
from api.submission import check_address
from styleflow import audit
from styleflow.api_keys import Principal
from styleflow.errors import NotFound
from styleflow.quotas import accept_endpoint
from styleflow.webhook_tables import DeliveryRow
from styleflow.webhooks import queries

router = APIRouter(prefix="/v1", tags=["webhooks"], dependencies=[JSON_ONLY])


@router.post(
    "/webhook-endpoints",
    operation_id="createWebhookEndpoint",
    summary="Subscribe an address to events",
    status_code=201,
    response_model=Endpoint,
    responses=problems(*WITH_KEY, *WITH_BODY, *IDEMPOTENT, "source_not_allowed"),
)
def create_endpoint(
    body: Annotated[CreateEndpoint, Body(openapi_examples=CREATE_EXAMPLES)],
    principal: WebhooksManager,
    services: ServicesDep,
    key: IdempotencyKey,
) -> Response:
    """The `secret` in this answer verifies every delivery; it is not shown again."""
    content = body.model_dump(mode="json", exclude_unset=True)
    once = Once(principal.project_id, "POST /v1/webhook-endpoints", key, content, services.settings.idempotency_hours)
    with services.database.transaction() as session:
        answer = once.answer(session, lambda: _created(services, session, principal, body))
        secret = _secret(services, session, principal.project_id, answer.body["id"])
    return Answer(answer.status, {**answer.body, "secret": secret}, answer.headers).response()


def _created(services: Services, session: Session, principal: Principal, body: CreateEndpoint) -> Answer:
    """Without the secret, because this is what an Idempotency-Key keeps, and secrets are kept encrypted only."""
    check_address(services, body.url, "/url")
    row, _ = queries.create_endpoint(
        session,
        services.secret_box,
        project_id=principal.project_id,
        url=body.url,
        events=body.events,
        description=body.description,
    )
    accept_endpoint(session, principal.project_id, services.quotas)
    audit.record(session, principal.project_id, principal.id, "webhook_endpoint.created", row.id)
    return Answer(201, as_json(shapes.endpoint(row)), {"Location": f"/v1/webhook-endpoints/{row.id}"})


def _secret(services: Services, session: Session, project_id: str, endpoint_id: str) -> str | None:
    try:
        row = queries.get_endpoint(session, project_id, endpoint_id)
    except NotFound:  # a repeated request, and the endpoint was deleted in between
        return None
    return services.secret_box.open(row.secret_encrypted)


@router.get(
    "/webhook-endpoints",
    operation_id="listWebhookEndpoints",
    summary="List the endpoints, newest first",
    response_model=EndpointPage,
    responses=problems(*WITH_KEY, "invalid_request", "cursor_mismatch"),
)
def list_endpoints(
    request: Request, query: Annotated[EndpointQuery, Query()], principal: WebhooksManager, services: ServicesDep
) -> Response:
    """Deleted ones are left out."""
    now, limit = datetime.now(UTC).timestamp(), clamp_limit(query.limit)
    bound = {"list": "endpoints", "of": principal.project_id}
    after = services.cursors.open(query.cursor, bound, now)[0] if query.cursor else None
    with services.database.transaction() as session:
        rows = queries.list_endpoints(session, principal.project_id, limit=limit + 1, after=after)
    cursor = services.cursors.seal([rows[limit - 1].id], bound, now) if len(rows) > limit else None
    body = EndpointPage.model_construct(**page([shapes.endpoint(row) for row in rows[:limit]], cursor))
    return ok(body, link_header(request.url.path, request.query_params.multi_items(), cursor))


@router.get(
    "/webhook-endpoints/{endpoint_id}",
    operation_id="getWebhookEndpoint",
    summary="Look at an endpoint",
    response_model=Endpoint,
    responses=problems(*WITH_KEY, "not_found"),
)
def read_endpoint(endpoint_id: str, principal: WebhooksManager, services: ServicesDep) -> Response:
    """Without its secret."""
    with services.database.transaction() as session:
        return ok(shapes.endpoint(queries.get_endpoint(session, principal.project_id, endpoint_id)))


@router.patch(
    "/webhook-endpoints/{endpoint_id}",
    operation_id="changeWebhookEndpoint",
    summary="Change an endpoint, or switch it on or off",
    response_model=Endpoint,
    responses=problems(*WITH_KEY, *WITH_BODY, "not_found", "source_not_allowed"),
)
def change_endpoint(
    endpoint_id: str, body: ChangeEndpoint, principal: WebhooksManager, services: ServicesDep
) -> Response:
    """What is left out stays as it is."""
    if body.url is not None:
        check_address(services, body.url, "/url")
    with services.database.transaction() as session:
        row = queries.update_endpoint(
            session,
            principal.project_id,
            endpoint_id,
            url=body.url,
            events=body.events,
            description=body.description,
            active=None if body.state is None else body.state == "active",
        )
        changed = {"members": sorted(body.model_fields_set)}  # not their values: an address may hold a password
        audit.record(session, principal.project_id, principal.id, "webhook_endpoint.changed", endpoint_id, changed)
        return ok(shapes.endpoint(row))


@router.delete(
    "/webhook-endpoints/{endpoint_id}",
    operation_id="deleteWebhookEndpoint",
    summary="Unsubscribe an endpoint",
    status_code=204,
    responses=problems(*WITH_KEY, "not_found"),
)
def delete_endpoint(endpoint_id: str, principal: WebhooksManager, services: ServicesDep) -> Response:
    """What was on its way to it is not sent any more."""
    with services.database.transaction() as session:
        queries.delete_endpoint(session, principal.project_id, endpoint_id)
        audit.record(session, principal.project_id, principal.id, "webhook_endpoint.deleted", endpoint_id)
    return Response(status_code=204)


@router.post(
    "/webhook-endpoints/{endpoint_id}:ping",
    operation_id="pingWebhookEndpoint",
    summary="Send a test event",
    status_code=202,
    response_model=Delivery,
    responses=problems(*WITH_KEY, *IDEMPOTENT, "not_found", "not_retryable"),
)
def ping_endpoint(endpoint_id: str, principal: WebhooksManager, services: ServicesDep, key: IdempotencyKey) -> Response:
    """`webhook.ping`, to this endpoint alone, whatever it subscribed to."""
    operation = "POST /v1/webhook-endpoints/{id}:ping"
    once = Once(principal.project_id, operation, key, [endpoint_id], services.settings.idempotency_hours)
    with services.database.transaction() as session:
        return once.answer(
            session,
            lambda: _sent(session, principal.project_id, queries.ping(session, principal.project_id, endpoint_id)),
        ).response()


def _sent(session: Session, project_id: str, delivery: DeliveryRow) -> Answer:
    row, event, attempts = queries.get_delivery(session, project_id, delivery.id)
    return Answer(202, as_json(shapes.delivery(row, event, attempts)), {"Location": f"/v1/deliveries/{row.id}"})


@router.get(
    "/webhook-endpoints/{endpoint_id}/deliveries",
    operation_id="listDeliveries",
    summary="List what was sent to an endpoint, newest first",
    response_model=DeliveryPage,
    responses=problems(*WITH_KEY, "not_found", "invalid_request", "cursor_mismatch"),
)
def list_deliveries(
    request: Request,
    endpoint_id: str,
    query: Annotated[DeliveryQuery, Query()],
    principal: WebhooksManager,
    services: ServicesDep,
) -> Response:
    """Without the single attempts; those are with each delivery."""
    now, limit = datetime.now(UTC).timestamp(), clamp_limit(query.limit)
    bound = {**query.model_dump(mode="json", exclude={"limit", "cursor"}), "list": "deliveries", "of": endpoint_id}
    after = services.cursors.open(query.cursor, bound, now)[0] if query.cursor else None
    with services.database.transaction() as session:
        queries.get_endpoint(session, principal.project_id, endpoint_id)
        rows = queries.list_deliveries(
            session,
            principal.project_id,
            endpoint_id,
            state=query.state,
            event_type=query.event_type,
            limit=limit + 1,
            after=after,
        )
    cursor = services.cursors.seal([rows[limit - 1][0].id], bound, now) if len(rows) > limit else None
    body = DeliveryPage.model_construct(**page([shapes.delivery(row, event) for row, event in rows[:limit]], cursor))
    return ok(body, link_header(request.url.path, request.query_params.multi_items(), cursor))


@router.get(
    "/deliveries/{delivery_id}",
    operation_id="getDelivery",
    summary="Look at one delivery and its attempts",
    response_model=Delivery,
    responses=problems(*WITH_KEY, "not_found"),
)
def read_delivery(delivery_id: str, principal: WebhooksManager, services: ServicesDep) -> Response:
    """Every request with its status, latency and the start of the answer, or the class of the failure."""
    with services.database.transaction() as session:
        return ok(shapes.delivery(*queries.get_delivery(session, principal.project_id, delivery_id)))


@router.post(
    "/deliveries/{delivery_id}:redeliver",
    operation_id="redeliver",
    summary="Send an event again",
    status_code=202,
    response_model=Delivery,
    responses=problems(*WITH_KEY, *IDEMPOTENT, "not_found", "not_retryable"),
)
def redeliver(delivery_id: str, principal: WebhooksManager, services: ServicesDep, key: IdempotencyKey) -> Response:
    """A new delivery of the same event: same `webhook-id`, same bytes, a fresh signature."""
    operation = "POST /v1/deliveries/{id}:redeliver"
    once = Once(principal.project_id, operation, key, [delivery_id], services.settings.idempotency_hours)
    with services.database.transaction() as session:
        return once.answer(
            session,
            lambda: _sent(session, principal.project_id, queries.redeliver(session, principal.project_id, delivery_id)),
        ).response()
