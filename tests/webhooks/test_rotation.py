"""Keys: of either kind, and changed while messages are under way."""

from __future__ import annotations

import json
import time
from threading import Event, Thread

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from standardwebhooks import Webhook, WebhookVerificationError

from styleflow.webhooks import endpoints, payload, signature
from tests.webhooks.office import Message, Office, Receiver
from tests.webhooks.test_signature import BODY, MESSAGE, TIMESTAMP

SEED = "whsk_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="


def verified(secret: str, message: Message) -> bool:
    return signature.verify(secret, message.headers, message.body, now=time.time())


def test_an_ed25519_signature_verifies_with_the_public_key_alone() -> None:
    public = signature.public_key(SEED)
    assert public is not None
    headers = signature.signed_headers(SEED, MESSAGE, TIMESTAMP, BODY)
    version, _, encoded = headers["webhook-signature"].partition(",")

    raw = signature.base64.b64decode(public.removeprefix("whpk_"))
    signed = f"{MESSAGE}.{TIMESTAMP}.".encode() + BODY
    Ed25519PublicKey.from_public_bytes(raw).verify(signature.base64.b64decode(encoded), signed)

    assert version == "v1a"
    assert signature.verify(public, headers, BODY, now=TIMESTAMP)
    assert not signature.verify(public, headers, BODY + b" ", now=TIMESTAMP)
    other = signature.public_key(signature.new_secret("ed25519"))
    assert other is not None
    assert not signature.verify(other, headers, BODY, now=TIMESTAMP)


def test_an_endpoint_with_a_public_key_is_signed_to_with_the_private_one(office: Office, receiver: Receiver) -> None:
    endpoint, _ = office.endpoint(receiver.url("/hook"), signature="ed25519")
    office.event(endpoint)
    office.deliver()

    public = office.endpoint_row(endpoint).public_key
    assert public is not None
    assert public.startswith("whpk_")
    assert verified(public, receiver.messages[0])


def test_a_rotation_under_load_fails_no_verification_with_either_key(office: Office, receiver: Receiver) -> None:
    endpoint, old = office.endpoint(receiver.url("/hook"))
    done = Event()

    def load() -> None:
        for _ in range(60):
            office.event(endpoint)
        done.set()

    def deliver() -> None:
        while not done.is_set() or office.deliver():
            office.deliver()

    threads = [Thread(target=load), Thread(target=deliver)]
    for thread in threads:
        thread.start()
    assert receiver.wait_for("/hook", 10)
    new = office.on_endpoint(
        endpoint, lambda session, row: endpoints.rotate_secret(session, office.secrets, row, overlap_hours=1, kind=None)
    )
    rotated_after = len(receiver.messages)
    for thread in threads:
        thread.join()

    assert len(receiver.messages) == 60
    assert [message for message in receiver.messages if not verified(old, message)] == []
    both = receiver.messages[rotated_after + 2 :]
    assert both
    for message in both:
        assert len(message.headers["webhook-signature"].split(" ")) == 2
        assert verified(new, message)
        Webhook(new).verify(message.body, message.headers)
        Webhook(old).verify(message.body, message.headers)


def test_after_the_overlap_the_old_secret_is_worth_nothing(office: Office, receiver: Receiver) -> None:
    endpoint, old = office.endpoint(receiver.url("/hook"))
    new = office.on_endpoint(
        endpoint, lambda session, row: endpoints.rotate_secret(session, office.secrets, row, overlap_hours=1, kind=None)
    )
    office.run("update webhook_endpoints set previous_secret_until = now()")
    office.event(endpoint)
    office.deliver()

    (message,) = receiver.messages
    assert verified(new, message)
    try:
        Webhook(old).verify(message.body, message.headers)
    except WebhookVerificationError:
        return
    raise AssertionError("the old secret still verifies")


def test_a_leaked_secret_can_be_ended_at_once_and_the_kind_changed(office: Office, receiver: Receiver) -> None:
    endpoint, old = office.endpoint(receiver.url("/hook"))
    office.on_endpoint(
        endpoint,
        lambda session, row: endpoints.rotate_secret(session, office.secrets, row, overlap_hours=0, kind="ed25519"),
    )
    office.event(endpoint)
    office.deliver()

    row = office.endpoint_row(endpoint)
    assert (row.signature, row.previous_secret_encrypted) == ("ed25519", None)
    assert row.public_key is not None
    assert verified(row.public_key, receiver.messages[0])
    assert not verified(old, receiver.messages[0])


def test_a_thin_body_holds_nothing_but_what_leads_on(office: Office, receiver: Receiver) -> None:
    data = {
        "job_id": "job_1",
        "verdict": "strong",
        "sequence": 3,
        "links": {"self": "/v1/jobs/job_1"},
        "tags": {"a": 1},
    }
    body = json.dumps({"type": "job.succeeded", "timestamp": "2026-11-20T12:31:00Z", "data": data})
    endpoint, secret = office.endpoint(receiver.url("/hook"), payload="thin")
    office.event(endpoint, body=body)
    office.deliver()

    (message,) = receiver.messages
    assert verified(secret, message)
    assert json.loads(message.body)["data"] == {
        "job_id": "job_1",
        "sequence": 3,
        "links": {"self": "/v1/jobs/job_1"},
    }
    assert payload.as_sent(body, "thin") == message.body.decode(), "the same bytes every time"
    assert payload.as_sent(body, "summary") == body
