"""Calls about the caller's own project: what it may, what it used, and who changed what."""

from __future__ import annotations

from datetime import date, datetime

from styleflow.client.answers import AuditEvent, Record
from styleflow.client.calls import Call, reads
from styleflow.client.lists import Pages


def project() -> Call[Record]:
    """The project that the key belongs to, with its quotas and what is used of them."""
    return Call(method="GET", path="/v1/project", read=reads(Record))


def usage(*, first: date | None = None, until: date | None = None, group_by: str | None = None) -> Call[Record]:
    """What the project used from `first` to before `until`, days of UTC; the last thirty without. `group_by` is `day`,
    `model`, `day,model` or `none`."""
    query = {
        "from": None if first is None else first.isoformat(),
        "to": None if until is None else until.isoformat(),
        "group_by": group_by,
    }
    return Call(method="GET", path="/v1/usage", query=query, read=reads(Record))


def audit_events(
    *,
    action: str | None = None,
    target: str | None = None,
    created_after: datetime | None = None,
    created_before: datetime | None = None,
    page_size: int | None = None,
) -> Pages[AuditEvent]:
    """Who changed what, newest first."""
    span = {"created_after": created_after, "created_before": created_before}
    return Pages("/v1/audit-events", AuditEvent, {"action": action, "target": target, **span, "limit": page_size})
