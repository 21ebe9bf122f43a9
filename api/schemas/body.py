"""What every body has in common: requests name no unknown member, times are UTC with milliseconds."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    StringConstraints,
)

LAST_MOMENT = datetime(9999, 1, 1, tzinfo=UTC)


def as_rfc3339(moment: datetime) -> str:
    """UTC, milliseconds, `Z`: `2026-11-20T12:31:00.000Z`."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _storable(value: Any) -> Any:
    """PostgreSQL holds no NUL in text, and UTF-8 no half of a surrogate pair."""
    if isinstance(value, str) and "\x00" in value:
        raise ValueError("must not hold a NUL character")
    if isinstance(value, str) and any("\ud800" <= character <= "\udfff" for character in value):
        raise ValueError("must hold whole characters")
    return value


def _written_out(value: Any) -> Any:
    """Seconds since 1970 are no time of RFC 3339, although they could be read as one."""
    if isinstance(value, int | float) or (isinstance(value, str) and "-" not in value[1:]):
        raise ValueError("must be a time such as 2026-11-20T12:31:00Z")
    return value


def _on_the_calendar(moment: datetime) -> datetime:
    """In UTC. A year's distance from the last one keeps it readable in every time zone."""
    try:
        in_utc = moment.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("must lie before the year 9999") from error
    if in_utc >= LAST_MOMENT:
        raise ValueError("must lie before the year 9999")
    return in_utc


Timestamp = Annotated[datetime, PlainSerializer(as_rfc3339, return_type=str)]
Day = Annotated[date, BeforeValidator(_written_out)]
Moment = Annotated[AwareDatetime, AfterValidator(_on_the_calendar), BeforeValidator(_written_out)]
Text = Annotated[str, BeforeValidator(_storable)]
WebAddress = Annotated[
    Text,
    StringConstraints(min_length=1, max_length=2048),
    Field(json_schema_extra={"pattern": r"^https?://[a-z0-9]([a-z0-9.-]*[a-z0-9])?/[A-Za-z0-9/_.~?=&:-]*$"}),
]
"""What egress makes of it decides; the pattern in the description is what it surely takes."""
WholeNumber = Annotated[int, Field(strict=True)]
"""In a body: `true` and `"1"` are no numbers, and `1.0` is none that we would guess at."""
Id = Annotated[Text, StringConstraints(min_length=1, max_length=64)]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Milliseconds = Annotated[int, Field(ge=0, le=7 * 24 * 3600 * 1000)]


class RequestBody(BaseModel):
    """A misspelt member is an error, never a default."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, frozen=True)


class ResponseBody(BaseModel):
    """Members may be added in later versions; enumerations are open: treat a word you do not know as unknown."""

    model_config = ConfigDict(frozen=True, ser_json_inf_nan="null")


class Problem(ResponseBody):
    """RFC 9457, with a stable `code`."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    code: Annotated[str, Field(description="Stable; docs/api/errors.md lists them.")]
    request_id: str
    retryable: Annotated[bool, Field(description="Whether the same request may succeed later.")]
    errors: Annotated[list[FieldProblem], Field(description="One entry for each member that does not fit.")]


class FieldProblem(ResponseBody):
    """Which member, and what about it."""

    in_: Annotated[str, Field(alias="in", description="`body`, `query`, `path` or `header`.")]
    pointer: Annotated[str, Field(description="JSON pointer (RFC 6901) within it.")]
    code: str
    message: str
