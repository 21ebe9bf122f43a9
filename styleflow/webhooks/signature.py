"""Standard Webhooks 1.0.0 signatures: made by us, checked by whoever receives. Pure.

Either HMAC-SHA256 (`v1,`) with a secret `whsec_…` that both sides hold, or ed25519 (`v1a,`) with a key `whsk_…` that
only we hold and a public one, `whpk_…`, for the receiver. The receiver checks the raw bytes of the body, before
parsing, and then drops ids that it has seen.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import re
import secrets
from collections.abc import Mapping, Sequence
from typing import Literal

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

Kind = Literal["hmac", "ed25519"]
ID_HEADER = "webhook-id"
TIMESTAMP_HEADER = "webhook-timestamp"
SIGNATURE_HEADER = "webhook-signature"
TOLERANCE_SECONDS = 300.0

_PREFIX, _PRIVATE, _PUBLIC = "whsec_", "whsk_", "whpk_"
_ED25519_BYTES = 32
_SECRET_BYTES = range(24, 65)
_TIMESTAMP = re.compile(r"[0-9]{1,12}", re.ASCII)


def new_secret(kind: Kind = "hmac") -> str:
    """A fresh secret: `whsec_` (hmac) or `whsk_` (ed25519), and the base64 of 32 random bytes."""
    prefix = _PREFIX if kind == "hmac" else _PRIVATE
    return prefix + base64.b64encode(secrets.token_bytes(32)).decode()


def secret_bytes(secret: str) -> bytes:
    """The key inside a `whsec_…` text, 24 to 64 bytes. Raises ValueError, which does not repeat the secret."""
    key = _decoded(secret.removeprefix(_PREFIX))
    if len(key) not in _SECRET_BYTES:
        raise ValueError("a webhook secret holds 24 to 64 bytes")
    return key


def public_key(secret: str) -> str | None:
    """The `whpk_…` that goes with a `whsk_…`; None for a `whsec_…`, which has none. Raises ValueError."""
    if not secret.startswith(_PRIVATE):
        return None
    raw = _private(secret).public_key().public_bytes_raw()
    return _PUBLIC + base64.b64encode(raw).decode()


def sign(secret: str, message_id: str, timestamp: int, body: bytes) -> str:
    """One signature of `id.timestamp.body`: `v1,` or, with a `whsk_…`, `v1a,`, and base64. Whole Unix seconds."""
    if "." in message_id or not message_id.isascii():
        raise ValueError("a message id is ASCII without a dot")  # a dot would make the signed text ambiguous
    signed = f"{message_id}.{timestamp}.".encode() + body
    if secret.startswith(_PRIVATE):
        return f"v1a,{base64.b64encode(_private(secret).sign(signed)).decode()}"
    return f"v1,{base64.b64encode(hmac.digest(secret_bytes(secret), signed, 'sha256')).decode()}"


def signed_headers(secret: str | Sequence[str], message_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """The three headers that go with a body: one signature for each secret, separated by spaces."""
    each = [secret] if isinstance(secret, str) else secret
    return {
        ID_HEADER: message_id,
        TIMESTAMP_HEADER: str(timestamp),
        SIGNATURE_HEADER: " ".join(sign(one, message_id, timestamp, body) for one in each),
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

    `secret` is a `whsec_…`, or the `whpk_…` of an ed25519 endpoint. Header names in any case; several signatures,
    separated by spaces, are allowed and one must fit. `now` is Unix seconds. Compares in constant time. Raises
    ValueError for a malformed secret only.
    """
    found = {name.lower(): value for name, value in headers.items()}
    message_id, timestamp = found.get(ID_HEADER, ""), found.get(TIMESTAMP_HEADER, "")
    if not _TIMESTAMP.fullmatch(timestamp) or abs(now - int(timestamp)) > tolerance_seconds:
        return False
    if not message_id or "." in message_id or not message_id.isascii() or str(int(timestamp)) != timestamp:
        return False
    given = [text.encode("utf-8", "replace") for text in found.get(SIGNATURE_HEADER, "").split(" ")]
    if secret.startswith(_PUBLIC):
        return _verified(secret, f"{message_id}.{timestamp}.".encode() + body, given)
    expected = sign(secret, message_id, int(timestamp), body).encode()
    return any(hmac.compare_digest(expected, text) for text in given)


def _verified(public: str, signed: bytes, given: Sequence[bytes]) -> bool:
    raw = _decoded(public.removeprefix(_PUBLIC))
    if len(raw) != _ED25519_BYTES:
        raise ValueError("an ed25519 key holds 32 bytes")
    key = Ed25519PublicKey.from_public_bytes(raw)
    for text in given:
        version, _, encoded = text.partition(b",")
        try:
            if version == b"v1a":
                key.verify(base64.b64decode(encoded, validate=True), signed)
                return True
        except (InvalidSignature, binascii.Error, ValueError):
            continue
    return False


def _private(secret: str) -> Ed25519PrivateKey:
    raw = _decoded(secret.removeprefix(_PRIVATE))
    if len(raw) != _ED25519_BYTES:
        raise ValueError("an ed25519 key holds 32 bytes")
    return Ed25519PrivateKey.from_private_bytes(raw)


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("a webhook secret is a prefix and base64") from None
