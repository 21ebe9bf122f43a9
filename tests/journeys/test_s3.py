"""The whole service as processes with S3 for a bucket: upload, job, result, evidence; and a customer's own bucket."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import httpx
import psycopg
import pytest

from styleflow.database import Database, psycopg_url
from styleflow.embedded import Server
from styleflow.storage.multiparts import PART_BYTES
from tests.api.conftest import write_pack
from tests.journeys.conftest import TERMINAL, make_key
from tests.object_store import CREDENTIALS, make_bucket, moto_server, s3_client
from tests.stack import Stack, answers, eventually, free_port, settings_of

VIDEO = b"0.0 seconds is what the stub takes for this video"


@dataclass
class OnS3:
    """A running installation whose bucket is in S3, and a customer's bucket that it may read."""

    client: httpx.Client
    stack: Stack
    store: str
    own: str
    customers: str

    def settled(self, source: dict[str, Any]) -> dict[str, Any]:
        answer = self.client.post("/v1/jobs", json={"source": source})
        assert answer.status_code == 202, answer.text
        found = dict(answer.json())

        def is_over() -> bool:
            found.update(self.client.get(f"/v1/jobs/{found['id']}", headers={"Prefer": "wait=10"}).json())
            return found["state"] in TERMINAL

        eventually(is_over, seconds=60, explain=lambda: f"{found}\n{self.stack.logs()}")
        return found

    def evidence(self, job: dict[str, Any]) -> dict[str, Any]:
        """The whole report, as somebody without a key reads it from the store."""
        answer = self.client.get(f"/v1/jobs/{job['id']}/artifacts/report")
        assert answer.headers["Location"].startswith(f"{self.store}/{self.own}/evidence/{job['id']}/")
        return dict(httpx.get(answer.headers["Location"], trust_env=False).json())


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, postgres: Server, redis_server: Server) -> Iterator[OnS3]:
    home = tmp_path_factory.mktemp("on-s3")
    write_pack(home / "packs")
    name, port = f"s3_{uuid4().hex}", free_port()
    with psycopg.connect(psycopg_url(postgres.url).replace("/styleflow?", "/postgres?"), autocommit=True) as connection:
        connection.execute(f'create database "{name}" template styleflow')
    database_url = postgres.url.replace("/styleflow?", f"/{name}?")
    with moto_server() as store:
        own, customers = make_bucket(store), make_bucket(store, versioned=True)
        environment = settings_of(
            database_url,
            f"{redis_server.url}?virtual_host=5",
            home,
            bucket_url=f"s3://{own}",
            s3_endpoint_url=store,
            source_buckets=f'["{customers}"]',
            packs_directory=str(home / "packs"),
            default_model="tiny@1",
            poll_seconds="0.5",
        )
        stack = Stack(home, {**environment, **CREDENTIALS})
        try:
            stack.spawn("-m", "uvicorn", "api.main:create_app", "--factory", "--port", str(port))
            stack.spawn("-m", "worker.duties")
            stack.spawn("-m", "tests.stub_worker")
            database = Database(database_url, pool_size=1)
            key = make_key(database, environment)
            database.close()
            url = f"http://127.0.0.1:{port}"
            eventually(lambda: answers(f"{url}/livez"), seconds=60, explain=stack.logs)
            with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=30) as client:
                yield OnS3(client, stack, store, own, customers)
        finally:
            stack.stop()


def test_an_upload_becomes_a_job_a_result_and_evidence(service: OnS3) -> None:
    sha256 = hashlib.sha256(VIDEO).hexdigest()
    body = {"filename": "a.mp4", "size_bytes": len(VIDEO), "content_type": "video/mp4", "sha256": sha256}
    upload = service.client.post("/v1/uploads", json=body).json()
    assert upload["url"].startswith(f"{service.store}/{service.own}/uploads/")
    sent = httpx.put(upload["url"], content=VIDEO, headers=upload["headers"], trust_env=False)
    assert sent.status_code == 200
    assert service.client.post(f"/v1/uploads/{upload['id']}:complete").json()["state"] == "complete"

    job = service.settled({"type": "upload", "upload_id": upload["id"]})

    assert (job["state"], job["outcome"], job["reason"]) == ("succeeded", "not_applicable", "no_face")
    assert service.client.get(f"/v1/jobs/{job['id']}/result").json()["media"]["sha256"] == sha256
    assert service.evidence(job) == service.client.get(f"/v1/jobs/{job['id']}/report").json()


def test_an_upload_in_parts_whose_hash_was_announced_wrongly_is_never_judged(service: OnS3) -> None:
    """No store tells the SHA-256 of an object that came in parts: the worker finds it out before it looks."""
    data = VIDEO + bytes(PART_BYTES)
    body = {"filename": "a.mp4", "size_bytes": len(data), "sha256": "00" * 32, "multipart": True}
    upload = service.client.post("/v1/uploads", json=body).json()
    path = f"/v1/uploads/{upload['id']}"
    addresses = service.client.post(f"{path}/parts", json={"numbers": [1, 2]}).json()["data"]
    pieces = (data[:PART_BYTES], data[PART_BYTES:])
    etags = [
        httpx.put(address["url"], content=piece, trust_env=False).headers["ETag"]
        for address, piece in zip(addresses, pieces, strict=True)
    ]
    parts = [{"n": number, "etag": etag} for number, etag in enumerate(etags, start=1)]
    assert service.client.post(f"{path}:complete", json={"parts": parts}).json()["state"] == "complete"

    job = service.settled({"type": "upload", "upload_id": upload["id"]})

    assert (job["state"], job["error"]["code"], job["score"]) == ("failed", "source_changed", None)


def test_an_object_in_a_customer_s_bucket_is_judged_in_the_version_that_was_accepted(service: OnS3) -> None:
    client = s3_client(service.store)
    version = client.put_object(Bucket=service.customers, Key="2026/a.mp4", Body=VIDEO)["VersionId"]

    job = service.settled({"type": "s3", "bucket": service.customers, "key": "2026/a.mp4"})

    assert (job["state"], job["source"]["version_id"]) == ("succeeded", version)
    client.put_object(Bucket=service.customers, Key="2026/a.mp4", Body=b"another one, longer than an hour")
    again = service.client.post(f"/v1/jobs/{job['id']}:retry")
    assert again.status_code == 409, "what succeeded is not tried again"
    old = service.settled({"type": "s3", "bucket": service.customers, "key": "2026/a.mp4", "version_id": version})
    assert service.evidence(old)["media"]["sha256"] == hashlib.sha256(VIDEO).hexdigest()


def test_a_bucket_that_is_not_on_the_list_is_refused(service: OnS3) -> None:
    answer = service.client.post("/v1/jobs", json={"source": {"type": "s3", "bucket": "others", "key": "a.mp4"}})
    assert (answer.status_code, answer.json()["code"]) == (403, "source_not_allowed")


def test_uploads_are_items_of_a_batch(service: OnS3) -> None:
    body = {"filename": "a.mp4", "size_bytes": len(VIDEO)}
    upload = service.client.post("/v1/uploads", json=body).json()
    httpx.put(upload["url"], content=VIDEO, headers=upload["headers"], trust_env=False)
    service.client.post(f"/v1/uploads/{upload['id']}:complete")
    items = [{"source": {"type": "upload", "upload_id": identity}} for identity in (upload["id"], "upl_made_up")]
    order = {"name": "b", "source": {"type": "inline", "items": items}}
    batch = service.client.post("/v1/batches", json=order, headers={"Idempotency-Key": uuid4().hex}).json()

    def counts() -> dict[str, int]:
        found = service.client.get(f"/v1/batches/{batch['id']}").json()["counts"]
        return {name: count for name, count in found.items() if count}

    eventually(lambda: counts() == {"succeeded": 1, "failed": 1}, seconds=60, explain=service.stack.logs)
    (failed,) = service.client.get(f"/v1/batches/{batch['id']}/items?state=failed").json()["data"]
    assert failed["error"]["code"] == "source_not_found"
