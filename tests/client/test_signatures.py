"""A receiver believes exactly what the service signed."""

from __future__ import annotations

import base64
import sys
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from standardwebhooks import Webhook

from styleflow.client import verify_webhook
from styleflow.client.failures import BadArgument, SignatureRejected

SECRET = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
BODY = b'{"type":"job.succeeded","timestamp":"2023-11-14T22:13:20Z","data":{"job_id":"job_01JD0000000000000000000000"}}'
HEADERS = {
    "Webhook-Id": "evt_01JD0000000000000000000000",
    "webhook-timestamp": "1700000000",
    "webhook-signature": "v1,bP7Gwpklf+DuN7KbIc/IO23sVxfxyujy7gixL95rXQs=",
}
NOW = 1_700_000_000.0


def test_the_published_vector_is_accepted() -> None:
    event = verify_webhook(BODY, HEADERS, SECRET, now=NOW)

    assert (event.id, event.type) == ("evt_01JD0000000000000000000000", "job.succeeded")
    assert event.data == {"job_id": "job_01JD0000000000000000000000"}


def test_what_another_library_signs_is_accepted_while_secrets_are_exchanged() -> None:
    new = "whsec_" + base64.b64encode(b"n" * 32).decode()
    signature = Webhook(new).sign("evt_1", datetime.fromtimestamp(NOW, UTC), BODY.decode())
    headers = {**HEADERS, "Webhook-Id": "evt_1", "webhook-signature": f"v1,AAAA {signature}"}

    assert verify_webhook(BODY, headers, [SECRET, new], now=NOW).id == "evt_1"


@pytest.mark.parametrize("off", [-301.0, 301.0, float("nan")])
def test_a_message_of_another_time_is_rejected(off: float) -> None:
    with pytest.raises(SignatureRejected):
        verify_webhook(BODY, HEADERS, SECRET, now=NOW + off)


@pytest.mark.parametrize(
    ("body", "changes"),
    [
        (BODY + b" ", {}),
        (BODY, {"webhook-timestamp": "1700000001"}),
        (BODY, {"Webhook-Id": "evt_2"}),
        (BODY, {"webhook-signature": ""}),
        (BODY, {"webhook-signature": "v1a,bP7Gwpklf+DuN7KbIc/IO23sVxfxyujy7gixL95rXQs="}),
    ],
)
def test_whatever_was_altered_is_rejected(body: bytes, changes: dict[str, str]) -> None:
    with pytest.raises(SignatureRejected):
        verify_webhook(body, {**HEADERS, **changes}, SECRET, now=NOW)


def test_ed25519_is_checked_with_the_public_key() -> None:
    private = Ed25519PrivateKey.generate()
    public = "whpk_" + base64.b64encode(private.public_key().public_bytes_raw()).decode()
    signed = private.sign(b"evt_01JD0000000000000000000000.1700000000." + BODY)
    headers = {**HEADERS, "webhook-signature": "v1a," + base64.b64encode(signed).decode()}

    assert verify_webhook(BODY, headers, public, now=NOW).type == "job.succeeded"
    with pytest.raises(SignatureRejected):
        verify_webhook(BODY + b" ", headers, public, now=NOW)


@pytest.mark.parametrize("secret", ["", "whsec_short", "whpk_AAAA", []])
def test_what_is_no_secret_is_said_without_repeating_it(secret: str) -> None:
    with pytest.raises(BadArgument) as error:
        verify_webhook(BODY, HEADERS, secret, now=NOW)
    assert "short" not in str(error.value)


def test_without_cryptography_ed25519_says_what_to_install_and_hmac_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "cryptography"]:
        monkeypatch.setitem(sys.modules, name, None)
    public = "whpk_" + base64.b64encode(bytes(32)).decode()

    with pytest.raises(BadArgument, match="pip install cryptography"):
        verify_webhook(BODY, HEADERS, public, now=NOW)
    assert verify_webhook(BODY, HEADERS, SECRET, now=NOW).type == "job.succeeded"
