"""Uploads and artifacts where the bucket is S3: over HTTP against a running server, sent and read by a plain client.

The server enforces nothing that is signed, so what binds a caller is read off the addresses, and what got past it is
found by `:complete`.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from styleflow.settings import Settings
from styleflow.storage.multiparts import PART_BYTES
from styleflow.storage.s3 import S3Bucket
from tests.api.conftest import Office, Running, Tenant, make_scored, serve
from tests.object_store import CREDENTIALS, make_bucket, moto_server, s3_client, signed_headers

VIDEO = b"not really a video" * 1000
SHA256 = hashlib.sha256(VIDEO).hexdigest()


@pytest.fixture(scope="module")
def store() -> Iterator[str]:
    with moto_server() as url:
        yield url


@pytest.fixture(scope="module", params=[False, True], ids=["unversioned", "versioned"])
def running(request: pytest.FixtureRequest, api_settings: Callable[..., Settings], store: str) -> Iterator[Running]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in CREDENTIALS.items():
            patch.setenv(name, value)
        bucket = make_bucket(store, versioned=request.param)
        settings = api_settings(bucket_url=f"s3://{bucket}", s3_endpoint_url=store, max_upload_bytes=64 << 20)
        with serve(settings) as running:
            yield running


@pytest.fixture
def tenant(office: Office) -> Tenant:
    return office.tenant()


def announce(tenant: Tenant, **changes: Any) -> dict[str, Any]:
    body = {"filename": "a.mp4", "size_bytes": len(VIDEO), "content_type": "video/mp4", **changes}
    answer = tenant.client.post("/v1/uploads", json=body)
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def put(address: dict[str, Any], content: bytes) -> httpx.Response:
    answer = httpx.request(
        address["method"], address["url"], content=content, headers=address["headers"], trust_env=False
    )
    assert answer.is_success, answer.text
    return answer


def complete(tenant: Tenant, upload: dict[str, Any], **body: Any) -> httpx.Response:
    return tenant.client.post(f"/v1/uploads/{upload['id']}:complete", json=body)


def key_of(tenant: Tenant, upload: dict[str, Any]) -> str:
    return f"uploads/{tenant.project_id}/{upload['id']}"


def own_bucket(tenant: Tenant) -> S3Bucket:
    bucket = tenant.running.app.state.services.bucket
    assert isinstance(bucket, S3Bucket)
    return bucket


def test_an_address_binds_length_type_and_hash_and_ends_after_an_hour(tenant: Tenant) -> None:
    upload = announce(tenant, sha256=SHA256)

    assert signed_headers(upload["url"]) == {"host", "content-length", "content-type", "x-amz-checksum-sha256"}
    assert upload["headers"] == {
        "Content-Length": str(len(VIDEO)),
        "Content-Type": "video/mp4",
        "x-amz-checksum-sha256": base64.b64encode(bytes.fromhex(SHA256)).decode(),
    }
    assert parse_qs(urlsplit(upload["url"]).query)["X-Amz-Expires"] == ["3600"]


def test_a_file_is_sent_by_a_plain_client_completed_and_pinned(tenant: Tenant) -> None:
    upload = announce(tenant, sha256=SHA256)
    put(upload, VIDEO)
    assert complete(tenant, upload).json()["state"] == "complete"

    job = tenant.post_job(source={"type": "upload", "upload_id": upload["id"]})

    facts = own_bucket(tenant).head(key_of(tenant, upload))
    assert facts is not None
    assert (job["source"]["etag"], job["source"]["version_id"]) == (facts.etag, facts.version_id)
    # The address still works: what is sent to it now is another version, or has another ETag.
    put(upload, b"X" * len(VIDEO))
    assert complete(tenant, upload).status_code == 200
    later = tenant.post_job(source={"type": "upload", "upload_id": upload["id"]})
    assert later["source"] == job["source"]


def test_bytes_of_another_length_than_announced_do_not_complete(tenant: Tenant) -> None:
    upload = announce(tenant)
    s3_client(tenant.running.settings.s3_endpoint_url or "").put_object(
        Bucket=own_bucket(tenant).name, Key=key_of(tenant, upload), Body=VIDEO[:-1]
    )
    answer = complete(tenant, upload)
    assert (answer.status_code, answer.json()["code"]) == (409, "upload_mismatch")
    put(upload, VIDEO)
    assert complete(tenant, upload).status_code == 200


def test_bytes_whose_hash_the_store_knows_to_be_another_do_not_complete(tenant: Tenant) -> None:
    upload = announce(tenant, sha256=SHA256)
    s3_client(tenant.running.settings.s3_endpoint_url or "").put_object(
        Bucket=own_bucket(tenant).name,
        Key=key_of(tenant, upload),
        Body=b"X" * len(VIDEO),
        ChecksumAlgorithm="SHA256",
    )
    facts = own_bucket(tenant).head(key_of(tenant, upload), with_sha256=True)
    assert facts is not None
    assert facts.sha256 == hashlib.sha256(b"X" * len(VIDEO)).hexdigest()

    answer = complete(tenant, upload)

    assert (answer.status_code, answer.json()["code"]) == (409, "upload_mismatch")


def test_a_large_file_is_sent_in_parts_at_once_and_completed(tenant: Tenant) -> None:
    data = bytes(PART_BYTES) + VIDEO
    upload = announce(tenant, size_bytes=len(data), multipart=True)
    asked = tenant.client.post(f"/v1/uploads/{upload['id']}/parts", json={"numbers": [1, 2]}).json()["data"]
    assert all("content-length" in signed_headers(part["url"]) for part in asked)
    assert [part["headers"]["Content-Length"] for part in asked] == [str(PART_BYTES), str(len(VIDEO))]

    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(put, asked, (data[:PART_BYTES], data[PART_BYTES:])))
    etags = [{"n": number, "etag": answer.headers["ETag"]} for number, answer in enumerate(answers, start=1)]
    listed = tenant.client.get(f"/v1/uploads/{upload['id']}/parts").json()["data"]
    assert [{"n": part["n"], "etag": part["etag"]} for part in listed] == etags

    wrong = complete(tenant, upload, parts=[etags[0], {**etags[1], "etag": etags[0]["etag"]}])
    assert (wrong.status_code, wrong.json()["code"]) == (409, "upload_mismatch")
    assert complete(tenant, upload, parts=etags).json()["state"] == "complete"
    assert complete(tenant, upload, parts=etags).json()["state"] == "complete", "again"

    with own_bucket(tenant).open(key_of(tenant, upload)) as chunks:
        assert hashlib.sha256(b"".join(chunks)).digest() == hashlib.sha256(data).digest()


def test_a_part_of_another_length_is_named_before_anything_is_joined(tenant: Tenant) -> None:
    upload = announce(tenant, size_bytes=PART_BYTES + 9, multipart=True)
    first, second = tenant.client.post(f"/v1/uploads/{upload['id']}/parts", json={"numbers": [1, 2]}).json()["data"]
    etags = [put(first, bytes(PART_BYTES)).headers["ETag"]]
    short = httpx.put(second["url"], content=b"8 bytes.", trust_env=False)  # a real store would refuse it

    answer = complete(tenant, upload, parts=[{"n": 1, "etag": etags[0]}, {"n": 2, "etag": short.headers["ETag"]}])

    assert (answer.status_code, answer.json()["code"]) == (409, "upload_mismatch")
    assert "Part 2 has 8 bytes, 9 were announced." in answer.json()["detail"]
    again = put(second, b"9 bytes!!").headers["ETag"]
    assert complete(tenant, upload, parts=[{"n": 1, "etag": etags[0]}, {"n": 2, "etag": again}]).status_code == 200


def test_an_aborted_upload_leaves_nothing_in_the_bucket(tenant: Tenant) -> None:
    upload = announce(tenant, size_bytes=PART_BYTES + 9, multipart=True)
    (second,) = tenant.client.post(f"/v1/uploads/{upload['id']}/parts", json={"numbers": [2]}).json()["data"]
    put(second, b"9 bytes!!")
    bucket = own_bucket(tenant)
    assert list(bucket.multiparts.list_open(key_of(tenant, upload)))

    assert tenant.client.delete(f"/v1/uploads/{upload['id']}").status_code == 204

    assert list(bucket.multiparts.list_open(key_of(tenant, upload))) == []
    assert bucket.head(key_of(tenant, upload)) is None


def test_evidence_is_read_by_a_plain_client_from_the_store_itself(tenant: Tenant, store: str) -> None:
    job = tenant.post_job()["id"]
    key = f"evidence/{job}/1/report.json"
    own_bucket(tenant).put(key, b'{"report":1}', "application/json")
    tenant.settle_as(job, key)

    answer = tenant.client.get(f"/v1/jobs/{job}/artifacts/report")

    assert answer.status_code == 303
    assert answer.headers["Location"].startswith(store)
    assert parse_qs(urlsplit(answer.headers["Location"]).query)["X-Amz-Expires"] == ["900"]
    read = httpx.get(answer.headers["Location"], trust_env=False)
    assert (read.json(), read.headers["Content-Type"]) == ({"report": 1}, "application/json")
    ranged = tenant.client.get(f"/v1/jobs/{job}/artifacts/report?redirect=false", headers={"Range": "bytes=2-7"})
    assert (ranged.status_code, ranged.content) == (206, b"report")


def test_a_crop_is_listed_and_read_from_the_store_itself(tenant: Tenant, store: str) -> None:
    job = tenant.post_job()["id"]
    own_bucket(tenant).put(f"crops/{job}/1/crop-1.jpg", b"a picture", "image/jpeg")
    tenant.settle_as(job, f"evidence/{job}/1/report.json", make_scored(crops=1))

    (crop,) = tenant.client.get(f"/v1/jobs/{job}/artifacts").json()["data"]
    address = tenant.client.get(crop["url"]).headers["Location"]

    assert (crop["id"], crop["size_bytes"], address.startswith(store)) == ("crop-1", 9, True)
    assert parse_qs(urlsplit(address).query)["X-Amz-Expires"] == ["900"]
    read = httpx.get(address, trust_env=False)
    assert (read.content, read.headers["Content-Type"]) == (b"a picture", "image/jpeg")
