"""For receivers of webhooks: is it from the service, unaltered, and of now. Standard Webhooks 1.0.0. Pure."""

from __future__ import annotations

import base64
import binascii
import hmac
import json
import re
from collections.abc import Callable, Mapping, Sequence
from time import time

from pydantic import ValidationError

from styleflow.client.answers import WebhookEvent
from styleflow.client.failures import BadArgument, SignatureRejected

_TIMESTAMP = re.compile(r"[0-9]{1,12}", re.ASCII)
_SECRET_BYTES = range(24, 65)
_KEY_BYTES = 32
_HMAC_PREFIX, _PUBLIC_PREFIX = "whsec_", "whpk_"
Check = Callable[[bytes, bytes], bool]
"""Of a text and a signature."""


def verify_webhook(
    body: bytes,
    headers: Mapping[str, str],
    secret: str | Sequence[str],
    *,
    tolerance: float = 300,
    now: float | None = None,
) -> WebhookEvent:
    """The event that a webhook carries, once it is sure that the service sent it.

    `body` is the bytes as they arrived, before anything has parsed them; names of headers in any case. `secret` is
    `whsec_…`, or `whpk_…` for ed25519, which takes the `cryptography` package; several while one is being replaced.
    `tolerance` and `now` are seconds, `now` since 1970. A message may arrive twice: drop an `id` that you have seen.

    Raises SignatureRejected when none of the secrets fits or the message is too old or too new, and BadArgument for
    what is no secret, or a body that was parsed already.
    """
    if not isinstance(body, bytes | bytearray | memoryview):
        raise BadArgument("the body is the bytes as they arrived, not what was parsed of them")
    checks = [_check_of(one) for one in ([secret] if isinstance(secret, str) else secret)]
    if not checks:
        raise BadArgument("there is no secret")
    found = {name.lower(): value for name, value in headers.items()}
    message_id, timestamp = found.get("webhook-id", ""), found.get("webhook-timestamp", "")
    if not message_id or not message_id.isascii() or "." in message_id:
        raise SignatureRejected("the message has no webhook-id")
    if not _TIMESTAMP.fullmatch(timestamp):
        raise SignatureRejected("the message has no webhook-timestamp")
    if not abs((time() if now is None else now) - int(timestamp)) <= tolerance:
        raise SignatureRejected("the message is too old or too new")
    text = f"{message_id}.{timestamp}.".encode() + bytes(body)
    given = [_split(entry) for entry in found.get("webhook-signature", "").split(" ")]
    if not any(version == wanted and check(text, sent) for wanted, check in checks for version, sent in given):
        raise SignatureRejected("no signature of the message fits")
    return _event(message_id, bytes(body))


def _check_of(secret: str) -> tuple[str, Check]:
    """The version of the signatures that a secret checks, and how. Raises BadArgument, which does not repeat it."""
    if secret.startswith(_PUBLIC_PREFIX):
        return "v1a", _ed25519(_decoded(secret.removeprefix(_PUBLIC_PREFIX)))
    key = _decoded(secret.removeprefix(_HMAC_PREFIX))
    if key is None or len(key) not in _SECRET_BYTES:
        raise BadArgument("a webhook secret is whsec_ or whpk_ and base64")
    return "v1", lambda text, sent: hmac.compare_digest(hmac.digest(key, text, "sha256"), sent)


def _ed25519(key: bytes | None) -> Check:
    if key is None or len(key) != _KEY_BYTES:
        raise BadArgument("a webhook's public key is whpk_ and the base64 of 32 bytes")
    try:
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    except ImportError as error:
        raise BadArgument("ed25519 signatures need the `cryptography` package: pip install cryptography") from error
    public = Ed25519PublicKey.from_public_bytes(key)

    def check(text: bytes, sent: bytes) -> bool:
        try:
            public.verify(sent, text)
        except InvalidSignature:
            return False
        return True

    return check


def _decoded(text: str) -> bytes | None:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None


def _split(entry: str) -> tuple[str, bytes]:
    version, _, text = entry.partition(",")
    return version, _decoded(text) or b""


def _event(message_id: str, body: bytes) -> WebhookEvent:
    try:
        return WebhookEvent.model_validate({**json.loads(body), "id": message_id})
    except (ValueError, TypeError, ValidationError, RecursionError) as error:
        raise SignatureRejected("the message is signed, but is no event") from error
