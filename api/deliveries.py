"""Deliveries: what was sent to an endpoint, and sending it again, one event or all of a span of time."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Body, Query, Request
from fastapi.responses import Response
from sqlalchemy.orm import Session

from api import shapes
from api.answers import Answer, Once, as_json, ok
from api.auth import WebhooksManager
from api.dependencies import JSON_ONLY, IdempotencyKey, ServicesDep
from api.documented import IDEMPOTENT, WITH_BODY, WITH_KEY, problems
from api.pages import clamp_limit, link_header, page
from api.schemas.webhooks import REPLAY_EXAMPLES, CreateReplay, Delivery, DeliveryPage, DeliveryQuery, Replay
from styleflow.webhook_tables import DeliveryRow
from styleflow.webhooks import endpoints, queries, replay

router = APIRouter(prefix="/v1", tags=["webhooks"], dependencies=[JSON_ONLY])


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
        endpoints.get_endpoint(session, principal.project_id, endpoint_id)
        rows = queries.list_deliveries(
            session,
            principal.project_id,
            endpoint_id,
            state=query.state,
            event_type=query.event_type,
            limit=limit + 1,
            after=after,
            newer_than=query.after,
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
            lambda: sent(session, principal.project_id, queries.redeliver(session, principal.project_id, delivery_id)),
        ).response()


def sent(session: Session, project_id: str, delivery: DeliveryRow) -> Answer:
    """202 with the delivery that was just made."""
    row, event, attempts = queries.get_delivery(session, project_id, delivery.id)
    return Answer(202, as_json(shapes.delivery(row, event, attempts)), {"Location": f"/v1/deliveries/{row.id}"})


@router.post(
    "/webhook-endpoints/{endpoint_id}:replay",
    operation_id="replayDeliveries",
    summary="Send again what happened in a span of time",
    status_code=202,
    response_model=Replay,
    responses=problems(*WITH_KEY, *WITH_BODY, *IDEMPOTENT, "not_found", "not_retryable"),
)
def replay_deliveries(
    endpoint_id: str,
    body: Annotated[CreateReplay, Body(openapi_examples=REPLAY_EXAMPLES)],
    principal: WebhooksManager,
    services: ServicesDep,
    key: IdempotencyKey,
) -> Response:
    """Each event whose latest delivery to this endpoint ended in one of `states` gets one new delivery, with the same
    `webhook-id`. They are made in the background, no faster than the endpoint takes them."""
    operation = "POST /v1/webhook-endpoints/{id}:replay"
    content = [endpoint_id, body.model_dump(mode="json")]
    once = Once(principal.project_id, operation, key, content, services.settings.idempotency_hours)

    def ordered(session: Session) -> Answer:
        endpoint = endpoints.get_endpoint(session, principal.project_id, endpoint_id, lock=True)
        row = replay.order_replay(
            session,
            endpoints.enabled(endpoint),
            from_time=body.from_,
            to_time=body.to,
            states=body.states,
            event_types=body.event_types,
        )
        return Answer(202, as_json(shapes.replay(row)), {"Location": f"/v1/replays/{row.id}"})

    with services.database.transaction() as session:
        return once.answer(session, lambda: ordered(session)).response()


@router.get(
    "/replays/{replay_id}",
    operation_id="getReplay",
    summary="Follow one replay",
    response_model=Replay,
    responses=problems(*WITH_KEY, "not_found"),
)
def read_replay(replay_id: str, principal: WebhooksManager, services: ServicesDep) -> Response:
    """How far it is. Its deliveries are listed with the endpoint's others, and carry its id."""
    with services.database.transaction() as session:
        return ok(shapes.replay(replay.get_replay(session, principal.project_id, replay_id)))
