"""S3 over HTTP on its bad days: 503s, resets and answers that break off, from a proxy in front of a running server."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import pytest

from styleflow.errors import StorageUnavailable
from styleflow.storage.multiparts import MIN_PART_BYTES, Part
from styleflow.storage.s3 import S3Bucket
from tests.object_store import CREDENTIALS, Fault, FaultyProxy, faulty, make_bucket, moto_server

CONTENT = bytes(range(256)) * 16384


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)


@pytest.fixture(scope="module")
def proxy() -> Iterator[FaultyProxy]:
    with moto_server() as store, faulty(store) as proxy:
        yield proxy


@pytest.fixture
def bucket(proxy: FaultyProxy) -> S3Bucket:
    """An empty one; the proxy is well until the test says otherwise."""
    proxy.faults, proxy.asked, proxy.method = [], [], "GET"
    return S3Bucket(make_bucket(proxy.store), endpoint_url=proxy.url)


def read(bucket: S3Bucket, key: str = "clip.mp4") -> bytes:
    with bucket.open(key) as chunks:
        return b"".join(chunks)


@pytest.mark.parametrize("faults", [["refuse"], ["reset"], ["refuse", "reset"]])
def test_a_store_that_fails_for_a_moment_is_asked_again(
    proxy: FaultyProxy, bucket: S3Bucket, faults: list[Fault]
) -> None:
    bucket.put("clip.mp4", CONTENT, "video/mp4")
    proxy.faults = list(faults)

    assert hashlib.sha256(read(bucket)).digest() == hashlib.sha256(CONTENT).digest()
    assert proxy.faults == []


def test_an_answer_that_breaks_off_twice_is_taken_up_each_time_where_it_broke(
    proxy: FaultyProxy, bucket: S3Bucket
) -> None:
    bucket.put("clip.mp4", CONTENT, "video/mp4")
    proxy.faults, proxy.asked = ["cut", "cut"], []

    assert hashlib.sha256(read(bucket)).digest() == hashlib.sha256(CONTENT).digest()
    ranges = [ranged for method, ranged in proxy.asked if method == "GET"]
    assert ranges[0] is None
    starts = [int(ranged.removeprefix("bytes=").removesuffix("-")) for ranged in ranges[1:] if ranged]
    assert len(starts) == 2
    assert 0 < starts[0] < starts[1] < len(CONTENT)


@pytest.mark.parametrize("fault", ["refuse", "reset"])
def test_what_is_put_arrives_whole_though_the_store_fails_for_a_moment(
    proxy: FaultyProxy, bucket: S3Bucket, fault: Fault
) -> None:
    proxy.method, proxy.faults = "PUT", [fault]

    bucket.put("clip.mp4", CONTENT, "video/mp4", if_absent=True)

    assert read(bucket) == CONTENT


@pytest.mark.parametrize("fault", ["refuse", "reset"])
def test_parts_are_joined_though_the_store_fails_for_a_moment(
    proxy: FaultyProxy, bucket: S3Bucket, fault: Fault
) -> None:
    multipart_id = bucket.multiparts.begin("film", "video/mp4")
    data = [bytes(MIN_PART_BYTES), b"rest"]
    parts = [
        Part(number=number, etag=bucket.multiparts.put("film", multipart_id, number, part))
        for number, part in enumerate(data, start=1)
    ]
    proxy.method, proxy.faults = "POST", [fault]

    bucket.multiparts.complete("film", multipart_id, parts)

    assert read(bucket, "film") == b"".join(data)


@pytest.mark.parametrize("fault", ["refuse", "reset", "cut"])
def test_a_store_that_keeps_failing_is_unavailable_and_gives_no_half_file(
    proxy: FaultyProxy, monkeypatch: pytest.MonkeyPatch, bucket: S3Bucket, fault: Fault
) -> None:
    bucket.put("clip.mp4", CONTENT, "video/mp4")
    monkeypatch.setattr("styleflow.storage.s3.TOTAL_ATTEMPTS", 2)
    hasty = S3Bucket(bucket.name, endpoint_url=proxy.url)
    proxy.faults, proxy.asked = [fault] * 100, []

    with pytest.raises(StorageUnavailable):
        read(hasty)
    assert len(proxy.asked) < 20
