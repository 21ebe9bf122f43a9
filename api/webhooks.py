"""Webhook endpoints: who is told, what about, and how it is signed. Deliveries are in deliveries.py."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Body, Header, Query, Request
from fastapi.responses import Response
from sqlalchemy.orm import Session

from api import shapes
from api.answers import Answer, Once, as_json, ok
from api.auth import WebhooksManager
from api.deliveries import sent
from api.dependencies import JSON_ONLY, IdempotencyKey, Services, ServicesDep
from api.documented import IDEMPOTENT, WITH_BODY, WITH_KEY, problems
from api.pages import clamp_limit, link_header, page
from api.schemas.webhooks import (
    CHANGE_EXAMPLES,
    CREATE_EXAMPLES,
    ROTATE_EXAMPLES,
    ChangeEndpoint,
    CreateEndpoint,
    Delivery,
    Endpoint,
    EndpointPage,
    EndpointQuery,
    RotateSecret,
)
from api.submission import check_address
from styleflow import audit
from styleflow.api_keys import Principal
from styleflow.errors import NotFound, PreconditionFailed, PreconditionRequired
from styleflow.quotas import accept_endpoint
from styleflow.webhook_tables import WebhookEndpointRow
from styleflow.webhooks import endpoints

_USUAL = RotateSecret()
_TAGGED: dict[str, Any] = {"headers": {"ETag": {"description": "For `If-Match`.", "schema": {"type": "string"}}}}

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
    """The `secret` in this answer verifies every delivery; it is not shown again. The endpoint is `pending`, and a
    signed `webhook.ping` is on its way; with the first 2xx it is `active`, and gets what has happened meanwhile."""
    content = body.model_dump(mode="json", exclude_unset=True)
    once = Once(principal.project_id, "POST /v1/webhook-endpoints", key, content, services.settings.idempotency_hours)
    with services.database.transaction() as session:
        answer = once.answer(session, lambda: _created(services, session, principal, body))
        secret = _secret(services, session, principal.project_id, answer.body["id"])
    return Answer(answer.status, {**answer.body, "secret": secret}, answer.headers).response()


def _created(services: Services, session: Session, principal: Principal, body: CreateEndpoint) -> Answer:
    """Without the secret, because this is what an Idempotency-Key keeps, and secrets are kept encrypted only."""
    check_address(services, body.url, "/url")
    new = endpoints.NewEndpoint(**body.model_dump())
    row, _ = endpoints.create_endpoint(session, services.secret_box, principal.project_id, new)
    accept_endpoint(session, principal.project_id, services.quotas)
    audit.record(session, principal.project_id, principal.id, "webhook_endpoint.created", row.id)
    location = f"/v1/webhook-endpoints/{row.id}"
    return Answer(201, as_json(shapes.endpoint(row)), {"Location": location, "ETag": _etag(row)})


def _etag(row: WebhookEndpointRow) -> str:
    return f'"{row.id}.{row.revision}"'


def _secret(services: Services, session: Session, project_id: str, endpoint_id: str) -> str | None:
    """What receivers verify with, if it is to be shown: of an ed25519 key they hold the public half only."""
    try:
        row = endpoints.get_endpoint(session, project_id, endpoint_id)
    except NotFound:  # a repeated request, and the endpoint was deleted in between
        return None
    return services.secret_box.open(row.secret_encrypted) if row.signature == "hmac" else None


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
        rows = endpoints.list_endpoints(session, principal.project_id, limit=limit + 1, after=after)
    cursor = services.cursors.seal([rows[limit - 1].id], bound, now) if len(rows) > limit else None
    body = EndpointPage.model_construct(**page([shapes.endpoint(row) for row in rows[:limit]], cursor))
    return ok(body, link_header(request.url.path, request.query_params.multi_items(), cursor))


@router.get(
    "/webhook-endpoints/{endpoint_id}",
    operation_id="getWebhookEndpoint",
    summary="Look at an endpoint",
    response_model=Endpoint,
    responses={**problems(*WITH_KEY, "not_found"), 200: _TAGGED},
)
def read_endpoint(endpoint_id: str, principal: WebhooksManager, services: ServicesDep) -> Response:
    """Without its secret. The `ETag` is what `PATCH` wants in `If-Match`."""
    with services.database.transaction() as session:
        row = endpoints.get_endpoint(session, principal.project_id, endpoint_id)
        return ok(shapes.endpoint(row), {"ETag": _etag(row)})


@router.patch(
    "/webhook-endpoints/{endpoint_id}",
    operation_id="changeWebhookEndpoint",
    summary="Change an endpoint, or switch it on or off",
    response_model=Endpoint,
    responses={
        **problems(
            *WITH_KEY, *WITH_BODY, "not_found", "source_not_allowed", "precondition_failed", "precondition_required"
        ),
        200: _TAGGED,
    },
)
def change_endpoint(
    endpoint_id: str,
    body: Annotated[ChangeEndpoint, Body(openapi_examples=CHANGE_EXAMPLES)],
    principal: WebhooksManager,
    services: ServicesDep,
    if_match: Annotated[str | None, Header(description="The `ETag` of the endpoint that you saw.")] = None,
) -> Response:
    """What is left out stays as it is. `If-Match` is required, so that two changes do not undo each other."""
    with services.database.transaction() as session:
        row = endpoints.get_endpoint(session, principal.project_id, endpoint_id, lock=True)
        _check_unchanged(if_match, row)
        if body.url is not None:
            check_address(services, body.url, "/url")
        endpoints.update_endpoint(session, row, _changes(body))
        changed = {"members": sorted(body.model_fields_set)}  # not their values: an address may hold a password
        audit.record(session, principal.project_id, principal.id, "webhook_endpoint.changed", endpoint_id, changed)
        return ok(shapes.endpoint(row), {"ETag": _etag(row)})


def _check_unchanged(if_match: str | None, row: WebhookEndpointRow) -> None:
    """Raises PreconditionRequired without `If-Match`, PreconditionFailed when none of its tags is the row's."""
    if if_match is None or not if_match.strip():
        raise PreconditionRequired("Send the endpoint's ETag in If-Match.")
    tags = [tag.strip() for tag in if_match.split(",")]
    if "*" not in tags and _etag(row) not in tags:  # a weak tag never matches (RFC 9110, section 13.1.1)
        raise PreconditionFailed("The endpoint was changed since you read it; read it again.")


def _changes(body: ChangeEndpoint) -> dict[str, Any]:
    """Columns and their new values. Only `max_rps` can be null, which takes the limit away."""
    given = body.model_dump(exclude_unset=True)
    return {name: value for name, value in given.items() if value is not None or name == "max_rps"}


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
        endpoints.delete_endpoint(session, principal.project_id, endpoint_id)
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

    def pinged(session: Session) -> Answer:
        row = endpoints.get_endpoint(session, principal.project_id, endpoint_id, lock=True)
        return sent(session, principal.project_id, endpoints.ping(session, row))

    with services.database.transaction() as session:
        return once.answer(session, lambda: pinged(session)).response()


@router.post(
    "/webhook-endpoints/{endpoint_id}:enable",
    operation_id="enableWebhookEndpoint",
    summary="Switch a disabled endpoint on again",
    response_model=Endpoint,
    responses={**problems(*WITH_KEY, "not_found"), 200: _TAGGED},
)
def enable_endpoint(endpoint_id: str, principal: WebhooksManager, services: ServicesDep) -> Response:
    """It is `pending` until it answers a ping, and then gets what has waited for it. An active one stays as it is."""
    with services.database.transaction() as session:
        row = endpoints.get_endpoint(session, principal.project_id, endpoint_id, lock=True)
        endpoints.enable(session, row)
        audit.record(session, principal.project_id, principal.id, "webhook_endpoint.enabled", endpoint_id)
        return ok(shapes.endpoint(row), {"ETag": _etag(row)})


@router.post(
    "/webhook-endpoints/{endpoint_id}:rotate-secret",
    operation_id="rotateWebhookSecret",
    summary="Give an endpoint a new secret",
    response_model=Endpoint,
    responses={**problems(*WITH_KEY, *WITH_BODY, *IDEMPOTENT, "not_found"), 200: _TAGGED},
)
def rotate_secret(
    endpoint_id: str,
    principal: WebhooksManager,
    services: ServicesDep,
    key: IdempotencyKey,
    body: Annotated[RotateSecret, Body(openapi_examples=ROTATE_EXAMPLES)] = _USUAL,
) -> Response:
    """During the overlap every message carries both signatures, so that either secret verifies it. The new `secret` is
    shown by this answer alone; a second rotation within the overlap ends the oldest secret."""
    operation = "POST /v1/webhook-endpoints/{id}:rotate-secret"
    content = [endpoint_id, body.model_dump(mode="json")]
    once = Once(principal.project_id, operation, key, content, services.settings.idempotency_hours)

    def rotated(session: Session) -> Answer:
        row = endpoints.get_endpoint(session, principal.project_id, endpoint_id, lock=True)
        endpoints.rotate_secret(
            session, services.secret_box, row, overlap_hours=body.overlap_hours, kind=body.signature
        )
        audit.record(session, principal.project_id, principal.id, "webhook_endpoint.rotated", endpoint_id)
        return Answer(200, as_json(shapes.endpoint(row)), {"ETag": _etag(row)})

    with services.database.transaction() as session:
        answer = once.answer(session, lambda: rotated(session))
        secret = _secret(services, session, principal.project_id, endpoint_id)
    return Answer(answer.status, {**answer.body, "secret": secret}, answer.headers).response()
