"""Bodies of `/v1/project` and `/v1/usage`, and of quotas wherever they are shown."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from api.schemas.body import Day, RequestBody, ResponseBody, Timestamp
from styleflow.quotas import Standing, policy_name

MAX_USAGE_DAYS = 400


class Quota(ResponseBody):
    """One amount that the project may have. `policy` is what `violated-policies` of a refusal calls it."""

    policy: Annotated[str, Field(examples=["jobs-per-day"])]
    limit: Annotated[int | None, Field(description="null: no limit.")]
    used: int
    resets_at: Annotated[Timestamp | None, Field(description="null: given back piece by piece.")]


class Project(ResponseBody):
    """The project that the key belongs to."""

    id: str
    object: Literal["project"] = "project"
    name: str
    quotas: list[Quota]
    created_at: Timestamp


class UsageQuery(RequestBody):
    """Days are UTC's, `from` is in it and `to` is not; the last 30 days with today when nothing is said."""

    from_: Annotated[Day | None, Field(alias="from", description="First day.")] = None
    to: Annotated[Day | None, Field(description="The day after the last one.")] = None
    group_by: Annotated[
        Literal["day", "model", "day,model", "model,day", "none"], Field(description="`none` is one sum of all.")
    ] = "day"

    def span(self) -> tuple[date, date]:
        """First day, and the day after the last one."""
        until = self.to or datetime.now(UTC).date() + timedelta(days=1)
        return self.from_ or until - timedelta(days=30), until

    @model_validator(mode="after")
    def _readable(self) -> Self:
        """Raises ValueError."""
        try:
            first, until = self.span()
        except OverflowError as error:
            raise ValueError("to must lie after the first month of the year 1") from error
        if not timedelta(0) < until - first <= timedelta(days=MAX_USAGE_DAYS):
            raise ValueError(f"to must lie behind from, by at most {MAX_USAGE_DAYS} days")
        return self


class UsageRow(ResponseBody):
    """Jobs by what became of them on the day on which it did; `day` and `model` are null where not grouped by."""

    day: date | None
    model: Annotated[str | None, Field(description="Empty for what belongs to none, such as uploads.")]
    jobs_accepted: int
    jobs_succeeded: int
    jobs_failed: int
    jobs_canceled: int
    jobs_expired: int
    scored: Annotated[int, Field(description="Of the succeeded jobs, by outcome; with the next two.")]
    not_applicable: int
    inconclusive: int
    worker_seconds: Annotated[float, Field(description="For which attempts held workers, the failed among them.")]
    upload_bytes: Annotated[int, Field(description="Of uploads that were announced.")]


class Usage(ResponseBody):
    """In order of day and model; groups in which nothing happened are left out."""

    object: Literal["usage"] = "usage"
    from_: Annotated[date, Field(alias="from")]
    to: date
    group_by: str
    data: list[UsageRow]


def quota_body(one: Standing) -> Quota:
    return Quota(policy=policy_name(one.name), limit=one.limit or None, used=one.used, resets_at=one.resets_at)
