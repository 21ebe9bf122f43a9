"""Which form of a list the caller's `Accept` asks for. Pure, by RFC 9110, section 12.5.1."""

from __future__ import annotations

import re
from collections.abc import Sequence

from styleflow.errors import NotAcceptable

JSON = "application/json"
NDJSON = "application/x-ndjson"
CSV = "text/csv"
PARQUET = "application/vnd.apache.parquet"
LIST_FORMS = (JSON, NDJSON, CSV, PARQUET)
"""What the lists of evidence are written in; the first when the caller does not mind."""

_RANGE = re.compile(r"(\*/\*|[\w!#$&^.+-]+/(?:\*|[\w!#$&^.+-]+))", re.ASCII)
_QUALITY = re.compile(r"q\s*=\s*(0(?:\.\d{0,3})?|1(?:\.0{0,3})?)", re.ASCII | re.IGNORECASE)


def choose(accept: str | None, offered: Sequence[str]) -> str:
    """The offered media type that the caller likes best; of equals, the first. Raises NotAcceptable when none will do.

    No header, or one that names no media range at all, means that anything will do.
    """
    ranges = _ranges(accept or "")
    if not ranges:
        return offered[0]
    liked = max(offered, key=lambda kind: _quality(kind, ranges))
    if _quality(liked, ranges) == 0:
        raise NotAcceptable(f"This list is written in {', '.join(offered)}.")
    return liked


def _ranges(accept: str) -> dict[str, float]:
    """Media range → quality from 0 to 1. Parameters other than `q` are not looked at; a wrong `q` counts as 1."""
    found: dict[str, float] = {}
    for part in accept.split(","):
        name, *parameters = (piece.strip() for piece in part.split(";"))
        if _RANGE.fullmatch(name):
            qualities = [match[1] for text in parameters if (match := _QUALITY.fullmatch(text))]
            found[name.lower()] = float(qualities[0]) if qualities else 1.0
    return found


def _quality(kind: str, ranges: dict[str, float]) -> float:
    """That of the most specific range that covers the type; 0 when none does."""
    for covering in (kind, f"{kind.partition('/')[0]}/*", "*/*"):
        if covering in ranges:
            return ranges[covering]
    return 0.0
