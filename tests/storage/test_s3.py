from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import boto3
import httpx
import pytest
from moto.server import ThreadedMotoServer

from styleflow.errors import SourceChanged, SourceForbidden, SourceNotFound, StorageUnavailable
from styleflow.storage.s3 import S3Bucket

CONTENT = bytes(range(256)) * 4096


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def name(moto: str) -> str:
    name = f"bucket-{uuid4().hex}"
    boto3.client("s3", endpoint_url=moto, region_name="us-east-1").create_bucket(Bucket=name)
    return name


@dataclass
class Store:
    """A store with one object that breaks off as often as it is told, or answers with a fixed refusal."""

    url: str = ""
    break_offs: int = 0
    refusals: list[int] = field(default_factory=list)
    etag: str = '"one"'
    ranges: list[str | None] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        self.ranges.append(request.headers["Range"])
        self.paths.append(request.path)
        if self.refusals:
            self.refuse(request, self.refusals.pop(0))
        elif (request.headers["If-Match"] or self.etag) != self.etag:
            self.refuse(request, 412)
        else:
            self.send(request)

    def refuse(self, request: BaseHTTPRequestHandler, status: int) -> None:
        request.send_response(status)
        request.send_header("Content-Length", "0")
        request.end_headers()

    def send(self, request: BaseHTTPRequestHandler) -> None:
        start = int((request.headers["Range"] or "bytes=0-").removeprefix("bytes=").removesuffix("-"))
        body = CONTENT[start:]
        request.send_response(206 if start else 200)
        request.send_header("Content-Length", str(len(body)))
        request.send_header("ETag", self.etag)
        request.end_headers()
        if self.break_offs:
            self.break_offs -= 1
            body = body[: len(body) // 2]
            request.close_connection = True
        request.wfile.write(body)


@contextmanager
def serving(store: Store) -> Iterator[S3Bucket]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            store.answer(self)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield S3Bucket("bucket", endpoint_url=f"http://127.0.0.1:{server.server_port}")
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_download_that_breaks_off_is_taken_up_where_it_broke() -> None:
    store = Store(break_offs=2)

    with serving(store) as bucket, bucket.open("clip.mp4") as chunks:
        digest = hashlib.sha256(b"".join(chunks)).digest()

    assert digest == hashlib.sha256(CONTENT).digest()
    assert store.ranges == [None, f"bytes={len(CONTENT) // 2}-", f"bytes={len(CONTENT) * 3 // 4}-"]


def test_a_download_is_not_taken_up_with_another_object_s_bytes() -> None:
    store = Store(break_offs=1)

    with serving(store) as bucket, bucket.open("clip.mp4") as chunks:
        store.etag = '"two"'
        with pytest.raises(SourceChanged):
            b"".join(chunks)


def test_a_store_that_always_breaks_off_is_unavailable() -> None:
    store = Store(break_offs=100)

    with serving(store) as bucket, bucket.open("clip.mp4") as chunks, pytest.raises(StorageUnavailable):
        b"".join(chunks)
    assert len(store.ranges) < 10


def test_a_store_that_is_busy_for_a_moment_is_asked_again() -> None:
    store = Store(refusals=[503])

    with serving(store) as bucket, bucket.open("clip.mp4") as chunks:
        assert b"".join(chunks) == CONTENT


@pytest.mark.parametrize(("status", "error"), [(403, SourceForbidden), (401, SourceForbidden), (404, SourceNotFound)])
def test_a_refusal_is_permanent_and_not_repeated(status: int, error: type[Exception]) -> None:
    store = Store(refusals=[status])

    with serving(store) as bucket, pytest.raises(error), bucket.open("clip.mp4"):
        pass
    assert len(store.ranges) == 1


def test_the_client_s_patience_is_what_the_design_says() -> None:
    config = S3Bucket("bucket", endpoint_url="http://127.0.0.1:1")._client.meta.config

    assert config.retries == {"mode": "standard", "total_max_attempts": 5}
    assert (config.connect_timeout, config.read_timeout) == (5, 30)


def test_a_presigned_put_signs_length_type_and_checksum(moto: str, name: str) -> None:
    bucket = S3Bucket(name, endpoint_url=moto)

    signed = bucket.presign_put("uploads/a", 5, hashlib.sha256(b"12345").hexdigest(), "video/mp4", 60)

    query = parse_qs(urlsplit(signed.url).query)
    assert set(query["X-Amz-SignedHeaders"][0].split(";")) == {
        "content-length",
        "content-type",
        "host",
        "x-amz-checksum-sha256",
    }
    assert query["X-Amz-Expires"] == ["60"]


def test_bytes_sent_to_a_presigned_put_are_read_from_a_presigned_get(moto: str, name: str) -> None:
    bucket = S3Bucket(name, endpoint_url=moto)
    signed = bucket.presign_put("uploads/a", 5, hashlib.sha256(b"12345").hexdigest(), "video/mp4", 60)

    answer = httpx.request(signed.method, signed.url, content=b"12345", headers=signed.headers, trust_env=False)

    assert answer.status_code == 200
    assert httpx.get(bucket.presign_get("uploads/a", 60), trust_env=False).content == b"12345"
    facts = bucket.head("uploads/a")
    assert facts is not None
    assert facts.size_bytes == 5


def test_presigned_addresses_name_the_public_endpoint(moto: str, name: str) -> None:
    bucket = S3Bucket(name, endpoint_url=moto, public_endpoint_url="https://objects.example.test")

    assert bucket.presign_get("a", 60).startswith(f"https://objects.example.test/{name}/a?")
    assert bucket.head("a") is None


def test_more_objects_than_fit_one_request_are_listed_and_deleted(moto: str, name: str) -> None:
    client = boto3.client("s3", endpoint_url=moto, region_name="us-east-1")
    keys = [f"many/{number:04}" for number in range(1001)]
    for key in keys:
        client.put_object(Bucket=name, Key=key, Body=b"")
    bucket = S3Bucket(name, endpoint_url=moto)

    assert sorted(found.key for found in bucket.list("many/")) == keys
    bucket.delete(keys)
    assert list(bucket.list("")) == []


def test_a_version_is_read_while_a_newer_one_exists(moto: str, name: str) -> None:
    boto3.client("s3", endpoint_url=moto, region_name="us-east-1").put_bucket_versioning(
        Bucket=name, VersioningConfiguration={"Status": "Enabled"}
    )
    bucket = S3Bucket(name, endpoint_url=moto)
    first = bucket.put("a", b"first", "text/plain")
    bucket.put("a", b"other", "text/plain")

    assert first.version_id is not None
    with bucket.open("a", version_id=first.version_id) as chunks:
        assert b"".join(chunks) == b"first"


def test_erasing_leaves_no_version_and_no_marker_where_deleting_does(moto: str, name: str) -> None:
    client = boto3.client("s3", endpoint_url=moto, region_name="us-east-1")
    client.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    bucket = S3Bucket(name, endpoint_url=moto)
    for key in ("a/1", "a/2", "b", "b-and-more"):
        for data in (b"first", b"second"):
            bucket.put(key, data, "text/plain")
    bucket.delete(["a/1", "b"])

    def left() -> set[str]:
        found = client.list_object_versions(Bucket=name)
        return {version["Key"] for version in (*found.get("Versions", []), *found.get("DeleteMarkers", []))}

    assert left() == {"a/1", "a/2", "b", "b-and-more"}
    bucket.erase(["a/", "b"])
    assert left() == {"b-and-more"}


@pytest.mark.parametrize(("status", "asks_for_versions"), [(501, False), (403, True)])
def test_a_store_without_versions_is_not_asked_for_any_and_one_that_does_not_say_is(
    status: int, asks_for_versions: bool
) -> None:
    store = Store(refusals=[status, 404])

    with serving(store) as bucket, pytest.raises(SourceNotFound):
        bucket.erase(["evidence/job/"])

    assert ("versions" in store.paths[-1]) == asks_for_versions
