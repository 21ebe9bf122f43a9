"""`/v1/uploads` with the local bucket, where the API plays the store's part."""

from __future__ import annotations

import hashlib
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from sqlalchemy import text

from styleflow.storage.bucket import Bucket
from tests.api.conftest import Office, Running, Tenant

VIDEO = b"not really a video" * 1000
SHA256 = hashlib.sha256(VIDEO).hexdigest()


def announce(tenant: Tenant, **changes: Any) -> dict[str, Any]:
    body = {"filename": "a.mp4", "size_bytes": len(VIDEO), "content_type": "video/mp4", **changes}
    answer = tenant.client.post("/v1/uploads", json=body)
    assert answer.status_code == 201, answer.text
    assert answer.headers["Location"] == f"/v1/uploads/{answer.json()['id']}"
    return dict(answer.json())


def put(upload: dict[str, Any], content: Any) -> httpx.Response:
    return httpx.put(upload["url"], content=content, headers={"Content-Type": "video/mp4"}, trust_env=False)


def stored(tenant: Tenant, upload: dict[str, Any]) -> list[str]:
    bucket = tenant.running.app.state.services.bucket
    return [found.key for found in bucket.list(f"uploads/{tenant.project_id}/{upload['id']}")]


def test_a_file_is_announced_sent_completed_and_submitted(tenant: Tenant) -> None:
    upload = announce(tenant, sha256=SHA256)
    assert (upload["state"], upload["method"], upload["mode"]) == ("pending", "PUT", "put")
    assert put(upload, VIDEO).status_code == 204
    complete = tenant.client.post(f"/v1/uploads/{upload['id']}:complete")
    assert (complete.status_code, complete.json()["state"], complete.json()["url"]) == (200, "complete", None)
    assert tenant.client.post(f"/v1/uploads/{upload['id']}:complete").status_code == 200
    job = tenant.post_job(source={"type": "upload", "upload_id": upload["id"]})
    assert job["source"]["upload_id"] == upload["id"]
    assert (job["source"]["sha256"], job["source"]["size_bytes"]) == (SHA256, len(VIDEO))
    assert job["source"]["key"] is None, "where our bucket keeps it is no business of callers"


def test_submitting_completes_an_upload_whose_bytes_have_arrived(tenant: Tenant) -> None:
    upload = announce(tenant)
    source = {"source": {"type": "upload", "upload_id": upload["id"]}}
    early = tenant.client.post("/v1/jobs", json=source)
    assert (early.status_code, early.json()["code"]) == (409, "upload_mismatch")
    assert tenant.client.post(f"/v1/uploads/{upload['id']}:complete").json()["code"] == "upload_mismatch"
    put(upload, VIDEO)
    assert tenant.client.post("/v1/jobs", json=source).status_code == 202
    late = put(upload, VIDEO)
    assert (late.status_code, late.json()["code"]) == (409, "upload_mismatch"), "bytes of a complete upload stay"


@pytest.mark.parametrize(("sent", "code"), [(VIDEO[:-1], "upload_mismatch"), (VIDEO[:-1] + b"X", "upload_mismatch")])
def test_bytes_that_are_not_those_announced_are_not_kept(tenant: Tenant, sent: bytes, code: str) -> None:
    upload = announce(tenant, sha256=SHA256)
    answer = put(upload, sent)
    assert (answer.status_code, answer.json()["code"]) == (409, code)
    assert stored(tenant, upload) == []


def test_a_body_that_announces_too_much_is_refused_before_it_is_read(tenant: Tenant) -> None:
    answer = put(announce(tenant), VIDEO + b"X")
    assert (answer.status_code, answer.json()["code"]) == (413, "payload_too_large")


def test_a_chunked_body_without_end_is_cut_off_at_the_announced_size(tenant: Tenant) -> None:
    upload = announce(tenant)
    sent = 0

    def endless() -> Iterator[bytes]:
        nonlocal sent
        while sent < 1 << 30:
            sent += 1 << 16
            yield bytes(1 << 16)

    with suppress(httpx.TransportError):  # the connection may be closed while we are still sending
        assert put(upload, endless()).status_code == 413
    assert sent < 64 << 20
    assert stored(tenant, upload) == []


def test_a_connection_that_ends_early_leaves_nothing(tenant: Tenant) -> None:
    upload = announce(tenant)
    parts = urlsplit(upload["url"])
    with socket.create_connection((str(parts.hostname), int(parts.port or 80))) as connection:
        head = f"PUT {parts.path}?{parts.query} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(VIDEO)}\r\n\r\n"
        connection.sendall(head.encode() + VIDEO[:100])
    assert tenant.client.post(f"/v1/uploads/{upload['id']}:complete").status_code == 409
    assert stored(tenant, upload) == []


@pytest.mark.parametrize("change", ["expires=1&", "signature=00&"])
def test_an_altered_or_expired_address_is_refused(tenant: Tenant, change: str) -> None:
    upload = announce(tenant)
    name = change.partition("=")[0]
    query = [pair for pair in urlsplit(upload["url"]).query.split("&") if not pair.startswith(f"{name}=")]
    url = upload["url"].partition("?")[0] + "?" + change + "&".join(query)
    answer = httpx.put(url, content=VIDEO, trust_env=False)
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")


def test_the_address_of_one_upload_does_not_open_another(tenant: Tenant) -> None:
    one, other = announce(tenant), announce(tenant)
    answer = httpx.put(one["url"].replace(one["id"], other["id"]), content=VIDEO, trust_env=False)
    assert answer.status_code == 401


def test_an_upload_larger_than_the_limit_is_refused_at_once(tenant: Tenant) -> None:
    body = {"filename": "a.mp4", "size_bytes": (8 << 20) + 1}
    answer = tenant.client.post("/v1/uploads", json=body)
    assert (answer.status_code, answer.json()["code"]) == (413, "payload_too_large")


def test_a_deleted_upload_is_gone_with_its_bytes(tenant: Tenant) -> None:
    upload = announce(tenant)
    put(upload, VIDEO)
    assert stored(tenant, upload)
    assert tenant.client.delete(f"/v1/uploads/{upload['id']}").status_code == 204
    assert stored(tenant, upload) == []
    assert tenant.client.get(f"/v1/uploads/{upload['id']}").status_code == 404
    assert put(upload, VIDEO).status_code == 404


def test_a_reader_sees_the_upload_but_not_where_to_write(office: Office, tenant: Tenant, running: Running) -> None:
    upload = announce(tenant)
    reader = office.tenant(scopes=("jobs:read",), project_id=tenant.project_id)
    assert reader.client.get(f"/v1/uploads/{upload['id']}").json()["url"] is None
    assert tenant.client.get(f"/v1/uploads/{upload['id']}").json()["url"].startswith(running.url)


def test_the_same_key_announces_one_upload(tenant: Tenant) -> None:
    body = {"filename": "a.mp4", "size_bytes": 3}
    first, again = (tenant.client.post("/v1/uploads", json=body, headers={"Idempotency-Key": "one"}) for _ in range(2))
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json()["id"] == again.json()["id"]
    assert first.headers["Location"] == again.headers["Location"]
    assert (first.headers.get("Idempotency-Replayed"), again.headers["Idempotency-Replayed"]) == (None, "true")


def test_a_repeated_announcement_tells_how_the_upload_stands_now(tenant: Tenant) -> None:
    def announced() -> httpx.Response:
        body = {"filename": "a.mp4", "size_bytes": len(VIDEO)}
        return tenant.client.post("/v1/uploads", json=body, headers={"Idempotency-Key": "one"})

    upload = announced().json()
    with tenant.running.database.transaction() as session:
        wanted = text("select body::text || headers::text from idempotency_keys where project_id = :id")
        kept = session.execute(wanted, {"id": tenant.project_id}).scalar_one()
    assert "signature" not in kept
    assert "a.mp4" not in kept
    assert put(announced().json(), VIDEO).status_code == 204, "the address of a repetition is a fresh one"
    tenant.client.post(f"/v1/uploads/{upload['id']}:complete")
    assert (announced().json()["state"], announced().json()["url"]) == ("complete", None)
    tenant.client.delete(f"/v1/uploads/{upload['id']}")
    assert (announced().status_code, announced().json()["code"]) == (410, "erased")


@pytest.mark.parametrize(("meanwhile", "status"), [("complete", 409), ("delete", 404)])
def test_bytes_that_come_too_late_change_nothing(tenant: Tenant, meanwhile: str, status: int) -> None:
    upload = announce(tenant)
    path = f"/v1/uploads/{upload['id']}"
    half_sent, go_on = threading.Event(), threading.Event()

    def late() -> Iterator[bytes]:
        yield b"X" * 1000
        half_sent.set()
        assert go_on.wait(20)
        yield b"X" * (len(VIDEO) - 1000)

    with ThreadPoolExecutor(1) as pool:
        sending = pool.submit(put, upload, late())
        assert half_sent.wait(20)
        assert put(upload, VIDEO).status_code == 204
        if meanwhile == "complete":
            assert tenant.client.post(f"{path}:complete").status_code == 200
        else:
            assert tenant.client.delete(path).status_code == 204
        go_on.set()
        assert sending.result(20).status_code == status
    bucket = tenant.running.app.state.services.bucket
    kept = [b"".join(chunks) for key in stored(tenant, upload) for chunks in [read(bucket, key)]]
    assert kept == ([VIDEO] if meanwhile == "complete" else [])


def test_bytes_that_come_while_an_upload_is_completed_are_the_ones_that_jobs_are_pinned_to(
    tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload = announce(tenant)
    put(upload, VIDEO)
    bucket = tenant.running.app.state.services.bucket
    head, again = bucket.head, [VIDEO[::-1]]

    def late_head(key: str, **more: Any) -> Any:
        facts = head(key, **more)
        if again:
            assert put(upload, again.pop()).status_code == 204
        return facts

    monkeypatch.setattr(bucket, "head", late_head)
    assert tenant.client.post(f"/v1/uploads/{upload['id']}:complete").status_code == 200
    job = tenant.post_job(source={"type": "upload", "upload_id": upload["id"]})
    assert job["source"]["etag"] == head(f"uploads/{tenant.project_id}/{upload['id']}").etag


def read(bucket: Bucket, key: str) -> list[bytes]:
    with bucket.open(key) as chunks:
        return list(chunks)


def test_a_body_that_stops_arriving_is_given_up(tenant: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.upload_bodies.STALL_SECONDS", 0.1)
    upload = announce(tenant)
    parts = urlsplit(upload["url"])
    with socket.create_connection((str(parts.hostname), int(parts.port or 80)), timeout=10) as connection:
        head = f"PUT {parts.path}?{parts.query} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(VIDEO)}\r\n\r\n"
        connection.sendall(head.encode() + VIDEO[:100])
        answer = b"".join(iter(lambda: connection.recv(4096), b""))
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"request_timeout" in answer
    assert stored(tenant, upload) == []
