from __future__ import annotations

import json
import time

import httpx
import pytest

from styleflow.cli.receiver import Receiver, listening
from styleflow.webhooks.signature import new_secret, signed_headers


def message(secret: str, job_id: str = "job_1", kind: str = "job.succeeded") -> tuple[dict[str, str], bytes]:
    body = json.dumps({"type": kind, "data": {"job_id": job_id}}).encode()
    return signed_headers(secret, f"evt_{job_id}", int(time.time()), body), body


def test_a_signed_event_is_heard() -> None:
    with listening() as receiver:
        receiver.secret = new_secret()
        headers, body = message(receiver.secret)
        assert httpx.post(receiver.url, content=body, headers=headers, trust_env=False).status_code == 204
        receiver.await_all({"job_1": "job.succeeded"}, 5, interrupted=lambda: False)
        assert receiver.heard("job_1", "job.succeeded")
        assert not receiver.heard("job_1", "job.failed")
        assert receiver.refused == 0


@pytest.mark.parametrize("flaw", ["other secret", "changed body", "no secret yet"])
def test_what_is_not_signed_rightly_is_refused_and_counted(flaw: str) -> None:
    receiver = Receiver()
    receiver.secret = "" if flaw == "no secret yet" else new_secret()
    headers, body = message(new_secret() if flaw == "other secret" else receiver.secret or new_secret())
    assert not receiver.accept(headers, body + b" " if flaw == "changed body" else body)
    assert receiver.refused == (flaw != "no secret yet"), "the first ping may be faster than its secret"
    assert not receiver.heard("job_1", "job.succeeded")


def test_waiting_ends_when_it_is_interrupted() -> None:
    receiver = Receiver()
    receiver.await_all({"job_1": "job.succeeded"}, 3600, interrupted=lambda: True)
    assert not receiver.heard("job_1", "job.succeeded")
