"""Bodies of webhook endpoints, deliveries and the event feed."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, StringConstraints, WithJsonSchema

from api.schemas.body import Id, Moment, RequestBody, ResponseBody, Text, Timestamp, WebAddress, WholeNumber
from styleflow.webhooks.announce import ENDPOINT_TYPES, TYPES, wants
from styleflow.webhooks.endpoints import MAX_CONCURRENCY

PATTERNS = ["*", *sorted({f"{type.partition('.')[0]}.*" for type in TYPES} | TYPES)]
"""All that an endpoint can subscribe to."""
ALL_TYPES = sorted(TYPES | ENDPOINT_TYPES)
_ONE_TYPE = "|".join(ALL_TYPES).replace(".", r"\.")
_TYPE_LIST = rf"^({_ONE_TYPE})(, ?({_ONE_TYPE}))*$"


def _matching(pattern: str) -> str:
    """Raises ValueError for a pattern that no event will ever match: a subscription to silence is a slip."""
    if not any(wants([pattern], type) for type in TYPES):
        raise ValueError(f"matches no event; choose from {', '.join(PATTERNS)}")
    return pattern


def _known(type: str) -> str:
    if type not in ALL_TYPES:
        raise ValueError(f"is no type of event; choose from {', '.join(ALL_TYPES)}")
    return type


EventPattern = Annotated[
    str,
    StringConstraints(max_length=64),
    AfterValidator(_matching),
    WithJsonSchema({"type": "string", "enum": PATTERNS}),
]
EventType = Annotated[str, AfterValidator(_known), WithJsonSchema({"type": "string", "enum": ALL_TYPES})]
Description = Annotated[Text, StringConstraints(max_length=256)]


Events = Annotated[list[EventPattern], Field(min_length=1, max_length=32)]
SignatureKind = Literal["hmac", "ed25519"]
Payload = Literal["thin", "summary"]
RequestsPerSecond = Annotated[WholeNumber, Field(ge=1, le=1000)]
Concurrency = Annotated[WholeNumber, Field(ge=1, le=16)]


class CreateEndpoint(RequestBody):
    """An address that wants to be told."""

    url: WebAddress
    events: Events = Field(default_factory=lambda: ["job.*"])
    description: Description = ""
    signature: Annotated[
        SignatureKind, Field(description="`hmac`: one secret for both sides. `ed25519`: you hold a public key only.")
    ] = "hmac"
    payload: Annotated[
        Payload, Field(description="`thin` carries ids, `sequence` and links only; read the rest with your key.")
    ] = "summary"
    version: Annotated[Literal["1"], Field(description="Of the bodies; kept for as long as the endpoint is.")] = "1"
    max_rps: Annotated[
        RequestsPerSecond | None, Field(description="Requests a second at most; null: as fast as you answer.")
    ] = None
    max_concurrency: Annotated[Concurrency, Field(description="Requests open at a time at most.")] = MAX_CONCURRENCY


class ChangeEndpoint(RequestBody):
    """What is left out stays. `state` `active` switches a disabled endpoint on: it is `pending` until it answers a
    ping, as it is with a new `url`."""

    url: WebAddress | None = None
    events: Events | None = None
    description: Description | None = None
    payload: Payload | None = None
    version: Literal["1"] | None = None
    max_rps: RequestsPerSecond | None = None
    max_concurrency: Concurrency | None = None
    state: Literal["active", "disabled"] | None = None


class RotateSecret(RequestBody):
    """For how long the secret from before signs too, and whether the kind of signature changes."""

    overlap_hours: Annotated[
        float, Field(strict=True, ge=0, le=168, description="0 ends the old secret at once, as after a leak.")
    ] = 24.0
    signature: SignatureKind | None = None


class Endpoint(ResponseBody):
    """`secret` is shown once, by the call that made it; an ed25519 endpoint has a public key instead."""

    id: str
    object: Literal["webhook_endpoint"] = "webhook_endpoint"
    url: str
    events: list[str]
    description: str
    signature: str
    payload: str
    version: str
    max_rps: int | None
    max_concurrency: int
    state: Annotated[str, Field(description="`pending` until a ping was answered with 2xx, `active`, `disabled`.")]
    disabled_reason: Annotated[
        str | None, Field(description="`request`, `gone` (it answered 410), `no_success` (for five days).")
    ]
    failing: Annotated[
        str | None,
        Field(description="`config`: name, certificate or address is wrong, and only you can mend it. `delivery`."),
    ]
    failing_since: Timestamp | None
    public_key: str | None
    previous_public_key: str | None
    previous_secret_until: Annotated[
        Timestamp | None, Field(description="Until then messages are also signed with the secret from before.")
    ]
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
    replay_id: str | None
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
    after: Annotated[Id, Field(description="Id of a delivery: only those made after it.")] | None = None
    limit: Annotated[int, Field(ge=1, description="At most 200; more is taken as 200.")] = 50
    cursor: Annotated[Text, StringConstraints(max_length=1024)] | None = None


ReplayedState = Literal["failed", "delivered"]
_FAILED: list[ReplayedState] = ["failed"]


class CreateReplay(RequestBody):
    """A span of time, 30 days at most, and which of its events are sent again."""

    from_: Annotated[Moment, Field(alias="from")]
    to: Annotated[Moment, Field(description="Not included.")]
    states: Annotated[
        list[ReplayedState],
        Field(min_length=1, max_length=2, description="How the latest delivery of an event ended."),
    ] = Field(default_factory=lambda: _FAILED)
    event_types: Annotated[list[EventType], Field(min_length=1, max_length=32)] | None = None


class Replay(ResponseBody):
    """Events that are sent again, some hundred at a time. `deliveries` says how many were made so far."""

    id: str
    object: Literal["replay"] = "replay"
    endpoint_id: str
    from_: Annotated[Timestamp, Field(alias="from")]
    to: Timestamp
    states: list[str]
    event_types: list[str] | None
    state: Annotated[str, Field(description="`running`, `completed`, or `canceled` with its endpoint.")]
    deliveries: int
    created_at: Timestamp
    finished_at: Timestamp | None


class Event(ResponseBody):
    """The same event that webhooks carry: `event` is their body."""

    id: str
    type: str
    job_id: str | None
    subject_id: Annotated[str | None, Field(description="What it is about: a job, a batch or another thing.")]
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
    types: Annotated[
        str | None,
        StringConstraints(max_length=512),
        Field(
            description="Exact types, separated by commas. `job.progress` and `batch.progress` come only if named.",
            json_schema_extra={"pattern": _TYPE_LIST},
        ),
    ] = None
    limit: Annotated[int, Field(ge=1, description="At most 200; more is taken as 200.")] = 50


CREATE_EXAMPLES: dict[str, Any] = {
    "jobs": {
        "summary": "Everything about jobs",
        "value": {"url": "https://hooks.example.org/styleflow", "events": ["job.*"], "description": "moderation"},
    },
    "public key": {
        "summary": "Thin bodies, verified with a public key, ten a second",
        "value": {
            "url": "https://hooks.example.org/styleflow",
            "events": ["job.succeeded", "job.failed", "batch.*"],
            "signature": "ed25519",
            "payload": "thin",
            "max_rps": 10,
        },
    },
}
CHANGE_EXAMPLES: dict[str, Any] = {
    "slower": {"summary": "At most ten requests a second", "value": {"max_rps": 10}},
    "off": {"summary": "Switch it off", "value": {"state": "disabled"}},
}
ROTATE_EXAMPLES: dict[str, Any] = {
    "usual": {"summary": "Both secrets verify for a day", "value": {"overlap_hours": 24}},
    "leak": {"summary": "The old secret is worth nothing at once", "value": {"overlap_hours": 0}},
}
REPLAY_EXAMPLES: dict[str, Any] = {
    "outage": {
        "summary": "What failed during an outage",
        "value": {"from": "2026-11-20T08:00:00Z", "to": "2026-11-20T12:00:00Z", "states": ["failed"]},
    }
}
