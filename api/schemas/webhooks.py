"""Bodies of webhook endpoints, deliveries and the event feed."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, StringConstraints

from api.schemas.body import Id, RequestBody, ResponseBody, Text, Timestamp
from styleflow.webhooks.announce import TYPES, wants


def _matching(pattern: str) -> str:
    """Raises ValueError for a pattern that no event will ever match: a subscription to silence is a slip."""
    if not any(wants([pattern], type) for type in TYPES):
        raise ValueError(f"matches no event; choose from *, job.*, batch.*, export.*, {', '.join(sorted(TYPES))}")
    return pattern


EventPattern = Annotated[str, StringConstraints(max_length=64), AfterValidator(_matching)]
Address = Annotated[Text, StringConstraints(min_length=1, max_length=2048)]
Description = Annotated[Text, StringConstraints(max_length=256)]


class CreateEndpoint(RequestBody):
    """An address that wants to be told."""

    url: Address
    events: Annotated[list[EventPattern], Field(min_length=1, max_length=32)] = Field(default_factory=lambda: ["job.*"])
    description: Description = ""


class ChangeEndpoint(RequestBody):
    """What is left out stays. `state` `active` switches a disabled endpoint on again."""

    url: Address | None = None
    events: Annotated[list[EventPattern], Field(min_length=1, max_length=32)] | None = None
    description: Description | None = None
    state: Literal["active", "disabled"] | None = None


class Endpoint(ResponseBody):
    """`secret` is shown once, by the call that made the endpoint."""

    id: str
    object: Literal["webhook_endpoint"] = "webhook_endpoint"
    url: str
    events: list[str]
    description: str
    state: str
    disabled_reason: str | None
    secret: str | None = None
    created_at: Timestamp


class EndpointPage(ResponseBody):
    """Newest first."""

    data: list[Endpoint]
    next_cursor: str | None
    has_more: bool


class EndpointQuery(RequestBody):
    """The query of the list of endpoints."""

    limit: Annotated[int, Field(ge=1, description="At most 200; more is taken as 200.")] = 50
    cursor: Annotated[Text, StringConstraints(max_length=1024)] | None = None


class DeliveryAttempt(ResponseBody):
    """One request and what came back."""

    number: int
    started_at: Timestamp
    latency_ms: int | None
    status: int | None
    error: str | None
    response_excerpt: str | None


class Delivery(ResponseBody):
    """One event on its way to one endpoint. `event_id` is the `webhook-id` that the receiver sees."""

    id: str
    object: Literal["delivery"] = "delivery"
    endpoint_id: str
    event_id: str
    event_type: str
    job_id: str | None
    redelivery_of: str | None
    state: str
    attempt: int
    next_attempt_at: Timestamp | None
    created_at: Timestamp
    finished_at: Timestamp | None
    attempts: list[DeliveryAttempt] | None = None


class DeliveryPage(ResponseBody):
    """Newest first."""

    data: list[Delivery]
    next_cursor: str | None
    has_more: bool


class DeliveryQuery(RequestBody):
    """The query of an endpoint's deliveries."""

    state: Literal["pending", "delivered", "failed"] | None = None
    event_type: Annotated[Text, StringConstraints(max_length=64)] | None = None
    limit: Annotated[int, Field(ge=1, description="At most 200; more is taken as 200.")] = 50
    cursor: Annotated[Text, StringConstraints(max_length=1024)] | None = None


class Event(ResponseBody):
    """The same event that webhooks carry: `event` is their body."""

    id: str
    type: str
    job_id: str | None
    sequence: int
    created_at: Timestamp
    event: dict[str, Any]


class EventPage(ResponseBody):
    """Oldest first. Ask again with `after` set to the last id; an empty page means that nothing is new."""

    data: list[Event]
    has_more: bool


class EventQuery(RequestBody):
    """The query of the event feed."""

    after: Id | None = None
    limit: Annotated[int, Field(ge=1, description="At most 200; more is taken as 200.")] = 50


CREATE_EXAMPLES: dict[str, Any] = {
    "jobs": {
        "summary": "Everything about jobs",
        "value": {"url": "https://hooks.example.org/styleflow", "events": ["job.*"], "description": "moderation"},
    }
}
