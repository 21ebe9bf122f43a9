"""Bodies of `/v1/api-keys`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, StringConstraints

from api.schemas.body import Moment, RequestBody, ResponseBody, Text, Timestamp
from styleflow.key_grants import networks

MAX_OVERLAP_HOURS = 168

Scope = Literal[
    "jobs:write",
    "jobs:read",
    "evidence:read",
    "batches:write",
    "webhooks:manage",
    "reviews:decide",
    "models:admin",
    "keys:admin",
    "audit:read",
    "erasure:write",
]
Mode = Literal["live", "test"]


def _network(cidr: str) -> str:
    """In its usual form. Raises ValueError."""
    try:
        return str(networks([cidr])[0])
    except ValueError as error:
        raise ValueError("must be a network such as 203.0.113.0/24 or 2001:db8::/32, no bits beyond it") from error


Cidr = Annotated[
    Text,
    StringConstraints(min_length=2, max_length=64),
    AfterValidator(_network),
    Field(examples=["203.0.113.0/24"]),
]


class CreateKey(RequestBody):
    """A key hands on no more than it has; `expires_at` and `cidrs` that are left out are those of the calling key."""

    name: Annotated[Text, StringConstraints(min_length=1, max_length=128)]
    scopes: Annotated[list[Scope], Field(min_length=1, max_length=32)]
    expires_at: Moment | None = None
    cidrs: Annotated[list[Cidr], Field(min_length=1, max_length=32)] | None = None
    mode: Mode = "live"


class RotateKey(RequestBody):
    """For how long the secret until now stays good; 0 ends it at once."""

    overlap_hours: Annotated[float, Field(ge=0, le=MAX_OVERLAP_HOURS, strict=True)] = 24.0


class ApiKey(ResponseBody):
    """`secret` is shown once: by the call that made the key, or gave it a new one. It is the whole text to send."""

    id: str
    object: Literal["api_key"] = "api_key"
    begins_with: Annotated[str, Field(description="How the key's text begins, to recognise it by.")]
    name: str
    mode: str
    scopes: list[str]
    cidrs: list[str] | None
    state: Annotated[str, Field(description="`active`, `expired` or `revoked`.")]
    secret: str | None = None
    created_at: Timestamp
    expires_at: Timestamp | None
    revoked_at: Timestamp | None
    last_used_at: Annotated[Timestamp | None, Field(description="To the minute.")]
    rotated_at: Timestamp | None
    previous_secret_until: Annotated[
        Timestamp | None, Field(description="Until then the secret before the last rotation is good as well.")
    ]


class ApiKeyPage(ResponseBody):
    """Newest first, the expired and revoked among them."""

    data: list[ApiKey]
    next_cursor: str | None
    has_more: bool


class KeyQuery(RequestBody):
    """The query of the list of keys."""

    limit: Annotated[int, Field(ge=1, description="At most 200; more is taken as 200.")] = 50
    cursor: Annotated[Text, StringConstraints(max_length=1024)] | None = None


CREATE_EXAMPLES: dict[str, Any] = {
    "moderation": {
        "summary": "A key that submits and reads, from one network, for a year",
        "value": {
            "name": "moderation",
            "scopes": ["jobs:write", "jobs:read"],
            "expires_at": "2027-11-20T00:00:00Z",
            "cidrs": ["203.0.113.0/24"],
        },
    }
}
ROTATE_EXAMPLES: dict[str, Any] = {
    "a day": {"summary": "Both secrets are good for a day", "value": {"overlap_hours": 24}}
}
