"""Calls of webhook endpoints, their deliveries, and the feed of events."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from styleflow.client.answers import Delivery, Endpoint, Event, Record
from styleflow.client.calls import Call, given, keyed, nothing, part, reads
from styleflow.client.lists import Pages

_ENDPOINTS = "/v1/webhook-endpoints"


def create(
    url: str,
    *,
    events: Sequence[str] | None = None,
    description: str | None = None,
    idempotency_key: str | None = None,
    **more: Any,
) -> Call[Endpoint]:
    """Subscribe an address. The answer shows its `secret`, this one time."""
    body = given(url=url, events=None if events is None else list(events), description=description, **more)
    headers = keyed(idempotency_key)
    return Call(method="POST", path=_ENDPOINTS, body=body, headers=headers, repeatable=True, read=reads(Endpoint))


def list_(*, page_size: int | None = None) -> Pages[Endpoint]:
    """The endpoints, newest first."""
    return Pages(_ENDPOINTS, Endpoint, {"limit": page_size})


def get(endpoint_id: str) -> Call[Endpoint]:
    """One endpoint, without its secret."""
    return Call(method="GET", path=f"{_ENDPOINTS}/{part(endpoint_id)}", read=reads(Endpoint))


def update(endpoint_id: str, *, if_match: str | None = None, **changes: Any) -> Call[Endpoint]:
    """Change `url`, `events`, `description` or `state`. `if_match` is the `etag` that was read."""
    headers = {} if if_match is None else {"If-Match": if_match}
    path = f"{_ENDPOINTS}/{part(endpoint_id)}"
    # With If-Match a repetition of what was done is refused, and would look like somebody else's change.
    repeatable = if_match is None
    return Call(method="PATCH", path=path, body=changes, headers=headers, repeatable=repeatable, read=reads(Endpoint))


def delete(endpoint_id: str) -> Call[None]:
    """Unsubscribe it."""
    return Call(method="DELETE", path=f"{_ENDPOINTS}/{part(endpoint_id)}", read=nothing)


def ping(endpoint_id: str, *, idempotency_key: str | None = None) -> Call[Delivery]:
    """Send it a test event."""
    path = f"{_ENDPOINTS}/{part(endpoint_id)}:ping"
    return Call(method="POST", path=path, headers=keyed(idempotency_key), repeatable=True, read=reads(Delivery))


def rotate_secret(
    endpoint_id: str, *, overlap_hours: float | None = None, idempotency_key: str | None = None
) -> Call[Endpoint]:
    """Give it a new secret, which the answer shows; the one before signs as well during the overlap."""
    path, body = f"{_ENDPOINTS}/{part(endpoint_id)}:rotate-secret", given(overlap_hours=overlap_hours)
    headers = keyed(idempotency_key)
    return Call(method="POST", path=path, body=body, headers=headers, repeatable=True, read=reads(Endpoint))


def enable(endpoint_id: str) -> Call[Endpoint]:
    """Switch a disabled one on again."""
    path = f"{_ENDPOINTS}/{part(endpoint_id)}:enable"
    return Call(method="POST", path=path, repeatable=True, read=reads(Endpoint))


def deliveries(
    endpoint_id: str, *, state: str | None = None, event_type: str | None = None, page_size: int | None = None
) -> Pages[Delivery]:
    """What was sent to it, newest first."""
    query = {"state": state, "event_type": event_type, "limit": page_size}
    return Pages(f"{_ENDPOINTS}/{part(endpoint_id)}/deliveries", Delivery, query)


def delivery(delivery_id: str) -> Call[Delivery]:
    """One delivery with its attempts."""
    return Call(method="GET", path=f"/v1/deliveries/{part(delivery_id)}", read=reads(Delivery))


def redeliver(delivery_id: str, *, idempotency_key: str | None = None) -> Call[Delivery]:
    """Send an event again."""
    path = f"/v1/deliveries/{part(delivery_id)}:redeliver"
    return Call(method="POST", path=path, headers=keyed(idempotency_key), repeatable=True, read=reads(Delivery))


def replay(
    endpoint_id: str,
    *,
    since: datetime,
    until: datetime,
    states: Sequence[str] = ("failed",),
    idempotency_key: str | None = None,
) -> Call[Record]:
    """Send again what happened in a span of time, its end not included."""
    path = f"{_ENDPOINTS}/{part(endpoint_id)}:replay"
    body = {"from": since, "to": until, "states": list(states)}
    headers = keyed(idempotency_key)
    return Call(method="POST", path=path, body=body, headers=headers, repeatable=True, read=reads(Record))


def get_replay(replay_id: str) -> Call[Record]:
    """How far a replay is."""
    return Call(method="GET", path=f"/v1/replays/{part(replay_id)}", read=reads(Record))


def events(*, after: str | None = None, page_size: int | None = None) -> Pages[Event]:
    """The feed of events, oldest first, until there is nothing new. `after` is the id of the last that you saw."""
    return Pages("/v1/events", Event, {"after": after, "limit": page_size}, after=True)
