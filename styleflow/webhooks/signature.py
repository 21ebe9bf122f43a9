"""Standard Webhooks 1.0.0 signatures, HMAC-SHA256: made by us, checked by whoever receives. Pure.

A receiver checks the raw bytes of the body, before parsing, and then drops ids that it has seen.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import re
import secrets
from collections.abc import Mapping

ID_HEADER = "webhook-id"
TIMESTAMP_HEADER = "webhook-timestamp"
SIGNATURE_HEADER = "webhook-signature"
TOLERANCE_SECONDS = 300.0

_PREFIX = "whsec_"
_SECRET_BYTES = range(24, 65)
_TIMESTAMP = re.compile(r"[0-9]{1,12}", re.ASCII)


def new_secret() -> str:
    """A fresh secret: `whsec_` and the base64 of 32 random bytes."""
    return _PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


def secret_bytes(secret: str) -> bytes:
    """The key inside a `whsec_…` text, 24 to 64 bytes. Raises ValueError, which does not repeat the secret."""
    try:
        key = base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("a webhook secret is whsec_ and base64") from None
    if len(key) not in _SECRET_BYTES:
        raise ValueError("a webhook secret holds 24 to 64 bytes")
    return key


def sign(secret: str, message_id: str, timestamp: int, body: bytes) -> str:
    """One signature, `v1,` and base64, of `id.timestamp.body`. `timestamp` is whole Unix seconds."""
    if "." in message_id or not message_id.isascii():
        raise ValueError("a message id is ASCII without a dot")  # a dot would make the signed text ambiguous
    digest = hmac.digest(secret_bytes(secret), f"{message_id}.{timestamp}.".encode() + body, "sha256")
    return f"v1,{base64.b64encode(digest).decode()}"


def signed_headers(secret: str, message_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """The three headers that go with a body."""
    return {
        ID_HEADER: message_id,
        TIMESTAMP_HEADER: str(timestamp),
        SIGNATURE_HEADER: sign(secret, message_id, timestamp, body),
    }


def verify(
    secret: str,
    headers: Mapping[str, str],
    body: bytes,
    *,
    now: float,
    tolerance_seconds: float = TOLERANCE_SECONDS,
) -> bool:
    """Whether the message is from whoever holds the secret, unaltered, and not older or newer than the tolerance.

    Header names in any case; several signatures, separated by spaces, are allowed and one must fit. `now` is Unix
    seconds. Compares in constant time. Raises ValueError for a malformed secret only.
    """
    found = {name.lower(): value for name, value in headers.items()}
    message_id, timestamp = found.get(ID_HEADER, ""), found.get(TIMESTAMP_HEADER, "")
    if not _TIMESTAMP.fullmatch(timestamp) or abs(now - int(timestamp)) > tolerance_seconds:
        return False
    if not message_id or "." in message_id or not message_id.isascii() or str(int(timestamp)) != timestamp:
        return False
    expected = sign(secret, message_id, int(timestamp), body).encode()
    given = [text.encode("utf-8", "replace") for text in found.get(SIGNATURE_HEADER, "").split(" ")]
    return any(hmac.compare_digest(expected, text) for text in given)
