"""The body as an endpoint asked for it. Pure."""

from __future__ import annotations

import json
from typing import Any

THIN_MEMBERS = ("sequence", "links")


def as_sent(body: str, payload: str) -> str:
    """The stored body for `summary`; for `thin` only what leads to it: type, time, ids, sequence and links.

    The same stored body gives the same bytes every time, so that a redelivery is the same message.
    """
    if payload != "thin":
        return body
    event: dict[str, Any] = json.loads(body)
    data = event.get("data", {})
    thin = {name: value for name, value in data.items() if name.endswith("_id") or name in THIN_MEMBERS}
    return json.dumps({**event, "data": thin}, separators=(",", ":"), ensure_ascii=False)
