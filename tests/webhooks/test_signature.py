from __future__ import annotations

import base64
import time
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook

from styleflow.webhooks import signature

SECRET = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
MESSAGE = "evt_01JD0000000000000000000000"
TIMESTAMP = 1_700_000_000
BODY = b'{"type":"job.succeeded","timestamp":"2023-11-14T22:13:20Z","data":{"job_id":"job_01JD0000000000000000000000"}}'
SIGNATURE = "v1,bP7Gwpklf+DuN7KbIc/IO23sVxfxyujy7gixL95rXQs="
HEADERS = {"webhook-id": MESSAGE, "webhook-timestamp": str(TIMESTAMP), "webhook-signature": SIGNATURE}

ids = st.from_regex(r"[a-zA-Z0-9_-]{1,40}", fullmatch=True)
timestamps = st.integers(1, 10**11)
bodies = st.binary(max_size=200)


def test_the_published_test_vector_is_reproduced() -> None:
    assert signature.sign(SECRET, MESSAGE, TIMESTAMP, BODY) == SIGNATURE
    assert signature.signed_headers(SECRET, MESSAGE, TIMESTAMP, BODY) == HEADERS
    assert signature.verify(SECRET, HEADERS, BODY, now=TIMESTAMP)


def test_the_reference_library_makes_the_same_signature() -> None:
    moment = datetime.fromtimestamp(TIMESTAMP, UTC)

    assert Webhook(SECRET).sign(MESSAGE, moment, BODY.decode()) == SIGNATURE


def test_the_reference_library_accepts_what_we_sign() -> None:
    secret, now = signature.new_secret(), int(time.time())

    headers = signature.signed_headers(secret, MESSAGE, now, BODY)

    assert Webhook(secret).verify(BODY, headers)["type"] == "job.succeeded"


@given(ids, timestamps, bodies)
def test_what_was_signed_verifies(message: str, timestamp: int, body: bytes) -> None:
    headers = signature.signed_headers(SECRET, message, timestamp, body)

    assert signature.verify(SECRET, headers, body, now=timestamp)


@given(ids, timestamps, st.binary(min_size=1, max_size=200), st.data())
def test_any_changed_byte_is_refused(message: str, timestamp: int, body: bytes, data: st.DataObject) -> None:
    headers = signature.signed_headers(SECRET, message, timestamp, body)
    parts = {name: value.encode() for name, value in headers.items()} | {"body": body}
    changed = data.draw(st.sampled_from(sorted(parts)))
    position = data.draw(st.integers(0, len(parts[changed]) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda value: value != parts[changed][position]))
    parts[changed] = parts[changed][:position] + bytes([byte]) + parts[changed][position + 1 :]
    received = {name: parts[name].decode("latin-1") for name in headers}

    # the tolerance is set so wide that a changed timestamp is refused for its signature, not its age
    assert not signature.verify(SECRET, received, parts["body"], now=timestamp, tolerance_seconds=1e15)


@given(st.binary(min_size=24, max_size=64))
def test_another_secret_does_not_verify(key: bytes) -> None:
    other = "whsec_" + base64.b64encode(key).decode()

    assert signature.verify(other, HEADERS, BODY, now=TIMESTAMP) == (other == SECRET)


@pytest.mark.parametrize(("age", "accepted"), [(0, True), (300, True), (301, False), (-300, True), (-301, False)])
def test_a_message_older_or_newer_than_five_minutes_is_refused(age: int, accepted: bool) -> None:
    assert signature.verify(SECRET, HEADERS, BODY, now=TIMESTAMP + age) == accepted


@pytest.mark.parametrize("name", sorted(HEADERS))
def test_a_missing_header_is_refused(name: str) -> None:
    headers = {key: value for key, value in HEADERS.items() if key != name}

    assert not signature.verify(SECRET, headers, BODY, now=TIMESTAMP)


@pytest.mark.parametrize(
    "timestamp", ["", " 1700000000", "+1700000000", "01700000000", "1_700_000_000", "١٧٠٠٠٠٠٠٠٠", "1.7e9"]
)
def test_a_timestamp_in_another_form_is_refused(timestamp: str) -> None:
    assert not signature.verify(SECRET, {**HEADERS, "webhook-timestamp": timestamp}, BODY, now=TIMESTAMP)


def test_one_fitting_signature_of_several_is_enough() -> None:
    headers = {**HEADERS, "webhook-signature": f"v1a,xyz v1,AAAA {SIGNATURE}"}

    assert signature.verify(SECRET, headers, BODY, now=TIMESTAMP)


def test_the_case_of_header_names_does_not_matter() -> None:
    headers = {name.title(): value for name, value in HEADERS.items()}

    assert signature.verify(SECRET, headers, BODY, now=TIMESTAMP)


def test_a_message_id_with_a_dot_is_not_signed() -> None:
    with pytest.raises(ValueError, match="dot"):
        signature.sign(SECRET, "evt.1", TIMESTAMP, BODY)


def test_new_secrets_differ_and_hold_32_bytes() -> None:
    first, second = signature.new_secret(), signature.new_secret()

    assert first != second
    assert len(signature.secret_bytes(first)) == 32


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_AAAA", "whsec_not base64!", "whsec_" + "A" * 120])
def test_a_malformed_secret_is_refused_without_being_repeated(secret: str) -> None:
    with pytest.raises(ValueError, match="a webhook secret") as raised:
        signature.secret_bytes(secret)
    assert secret not in str(raised.value) or secret in ("", "whsec_")
