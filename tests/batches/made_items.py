"""Lines, items and rules that tests put in."""

from __future__ import annotations

import json
from typing import Any

from styleflow.batches.items import Rules
from styleflow.errors import InvalidRequest, SourceNotAllowed
from styleflow.storage.keys import checked


def check_bucket(name: str) -> None:
    if name not in ("videos", "bucket"):
        raise SourceNotAllowed("This bucket is not on the allow-list.")


def check_url(url: str) -> None:
    if not url.startswith("https://"):
        raise InvalidRequest("only https")


def check_key(bucket: str, key: str) -> None:
    if bucket == "bucket":
        checked(key)


RULES = Rules(check_bucket=check_bucket, check_url=check_url, own_bucket="bucket", check_key=check_key)


def jsonl(*lines: Any) -> bytes:
    """Each as a line of its own; text stays as it is."""
    return b"".join((line if isinstance(line, str) else json.dumps(line)).encode() + b"\n" for line in lines)


def keyed(count: int, start: int = 0) -> list[dict[str, str]]:
    return [{"bucket": "videos", "key": f"clip-{number}.mp4"} for number in range(start, start + count)]
