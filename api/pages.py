"""Long lists in pages: a signed cursor says where the next page starts and which query it belongs to."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from styleflow.errors import CursorMismatch

CURSOR_SECONDS = 24 * 3600
DEFAULT_LIMIT = 50
MAX_LIMIT = 200
_SIGNATURE_BYTES = 16


def derive_key(secret: str, purpose: str) -> bytes:
    """32 bytes for one use of the installation's secret, so that a signature made for one is worthless for another."""
    return hmac.digest(secret.encode(), f"styleflow/{purpose}".encode(), "sha256")


class Cursors:
    """Makes and reads cursors. They are opaque to callers, signed, bound to the query and gone after a day."""

    def __init__(self, secret: str) -> None:
        self._key = derive_key(secret, "cursor")

    def seal(self, position: Sequence[Any], query: Mapping[str, Any], now: float) -> str:
        """`position` is JSON values; `query` is everything that the pages of one list share."""
        payload = {"p": list(position), "q": _fingerprint(query), "x": int(now) + CURSOR_SECONDS}
        text = json.dumps(payload, separators=(",", ":")).encode()
        return base64.urlsafe_b64encode(self._sign(text) + text).rstrip(b"=").decode()

    def open(self, cursor: str, query: Mapping[str, Any], now: float) -> list[Any]:
        """The position. Raises CursorMismatch when altered, older than a day, or made for another query."""
        try:
            raw = base64.urlsafe_b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4))
        except (ValueError, binascii.Error, UnicodeEncodeError) as error:
            raise CursorMismatch("The cursor is not one that this service made.") from error
        signature, text = raw[:_SIGNATURE_BYTES], raw[_SIGNATURE_BYTES:]
        if not hmac.compare_digest(signature, self._sign(text)):
            raise CursorMismatch("The cursor is not one that this service made.")
        payload = json.loads(text)
        if payload["q"] != _fingerprint(query):
            raise CursorMismatch("The cursor was made for another query; keep the other parameters as they were.")
        if payload["x"] < now:
            raise CursorMismatch("The cursor is older than a day; start again without one.")
        return list(payload["p"])

    def _sign(self, text: bytes) -> bytes:
        return hmac.digest(self._key, text, "sha256")[:_SIGNATURE_BYTES]


def _fingerprint(query: Mapping[str, Any]) -> str:
    text = json.dumps(query, sort_keys=True, default=str, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def clamp_limit(limit: int, most: int = MAX_LIMIT) -> int:
    """A page that asks for too much gets the most there is; nothing is refused for its size."""
    return min(limit, most)


def page(data: Sequence[Any], next_cursor: str | None) -> dict[str, Any]:
    """The body of every list."""
    return {"data": list(data), "next_cursor": next_cursor, "has_more": next_cursor is not None}


def link_header(path: str, parameters: Sequence[tuple[str, str]], next_cursor: str | None) -> dict[str, str]:
    """RFC 8288 `next`, with the caller's own parameters kept; nothing on the last page."""
    if next_cursor is None:
        return {}
    kept = [(name, value) for name, value in parameters if name != "cursor"]
    return {"Link": f'<{path}?{urlencode([*kept, ("cursor", next_cursor)])}>; rel="next"'}
