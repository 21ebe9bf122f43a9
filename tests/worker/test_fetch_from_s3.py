"""Jobs whose source lies in S3, over HTTP against a running server: pinned to what was accepted, or retried."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
from sqlalchemy import text

from api.dependencies import Services
from api.schemas.jobs import S3Source
from api.submission import prepare
from styleflow.storage.s3 import S3Bucket
from tests.object_store import CREDENTIALS, FaultyProxy, faulty, make_bucket, moto_server, s3_client
from tests.worker.conftest import Bench
from worker.execution import Execution
from worker.fetch import FetchedVideo

VIDEO = b"a video " * 100


@pytest.fixture(scope="module")
def proxy() -> Iterator[FaultyProxy]:
    with moto_server() as store, faulty(store) as proxy:
        yield proxy


@dataclass
class Shelf:
    """A bucket of the customer's, on the allow-list, and a worker that reads from it through the proxy."""

    bench: Bench
    proxy: FaultyProxy
    name: str
    seen: list[bytes]

    @property
    def execution(self) -> Execution:
        bucket = S3Bucket(self.name, endpoint_url=self.proxy.url)
        sources = replace(self.bench.execution.sources, bucket_named=lambda name: bucket, max_bytes=1 << 20)
        return replace(self.bench.execution, sources=sources)

    def put(self, body: bytes, key: str = "a.mp4") -> str | None:
        """The version's id."""
        answer = s3_client(self.proxy.store).put_object(Bucket=self.name, Key=key, Body=body)
        return answer.get("VersionId")

    def accepted(self, version_id: str | None = None) -> dict[str, Any]:
        """The source as the API stores it when it accepts the job."""
        own = S3Bucket("another", endpoint_url=self.proxy.store)
        there = S3Bucket(self.name, endpoint_url=self.proxy.store)
        services = object.__new__(Services)
        object.__setattr__(services, "bucket", own)
        object.__setattr__(services, "open_source", lambda name: there)
        asked = S3Source(type="s3", bucket=self.name, key="a.mp4", version_id=version_id)
        return prepare(services, "prj", asked).accepted()

    def run(self, source: dict[str, Any]) -> Any:
        """The job's row after one attempt."""
        job_id = self.bench.submit(source=source)
        self.execution.run(job_id=job_id)
        return self.bench.job(job_id)


@pytest.fixture(params=[False, True], ids=["unversioned", "versioned"])
def shelf(request: pytest.FixtureRequest, bench: Bench, proxy: FaultyProxy, monkeypatch: pytest.MonkeyPatch) -> Shelf:
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("styleflow.storage.s3.TOTAL_ATTEMPTS", 2)
    proxy.faults, proxy.asked, proxy.method = [], [], "GET"
    seen: list[bytes] = []

    def look(video: FetchedVideo) -> None:
        seen.append(video.path.read_bytes())

    bench.analyzer.act = look
    return Shelf(bench, proxy, make_bucket(proxy.store, versioned=request.param), seen)


def test_what_was_overwritten_since_is_read_in_its_version_or_not_at_all(
    shelf: Shelf, request: pytest.FixtureRequest
) -> None:
    version = shelf.put(VIDEO)
    source = shelf.accepted()
    assert (source["version_id"], source["size_bytes"]) == (version, len(VIDEO))
    shelf.put(b"X" * len(VIDEO))

    job = shelf.run(source)

    if version is None:
        assert (job.state, job.error["code"], shelf.seen) == ("failed", "source_changed", [])
    else:
        assert (job.state, shelf.seen) == ("succeeded", [VIDEO])
        assert job.media["sha256"] == hashlib.sha256(VIDEO).hexdigest()


def test_a_version_that_was_asked_for_is_the_one_that_is_read(shelf: Shelf) -> None:
    version = shelf.put(VIDEO)
    shelf.put(b"newer")

    job = shelf.run(shelf.accepted(version_id=version))

    assert (job.state, shelf.seen) == ("succeeded", [VIDEO if version else b"newer"])


def test_a_file_that_was_deleted_since_is_not_found(shelf: Shelf) -> None:
    shelf.put(VIDEO)
    source = {**shelf.accepted(), "version_id": None}
    s3_client(shelf.proxy.store).delete_object(Bucket=shelf.name, Key="a.mp4")

    job = shelf.run(source)

    assert (job.state, job.error["code"]) == ("failed", "source_not_found")


@pytest.mark.parametrize("fault", ["refuse", "reset", "cut"])
def test_what_the_store_does_not_give_is_tried_again_by_the_job_and_never_judged_by_half(
    shelf: Shelf, fault: Any
) -> None:
    shelf.put(VIDEO)
    source = shelf.accepted()
    shelf.proxy.faults = [fault] * 100

    job = shelf.run(source)

    assert (job.state, job.attempt, shelf.seen) == ("queued", 1, [])
    assert job.run_at > job.created_at, "later"
    shelf.proxy.faults = []
    with shelf.bench.database.transaction() as session:
        session.execute(text("update jobs set run_at = now()"))
    assert shelf.execution.run(job_id=job.id)
    assert (shelf.bench.job(job.id).state, shelf.seen) == ("succeeded", [VIDEO])


@pytest.mark.parametrize("faults", [["refuse"], ["reset"], ["cut", "cut"]])
def test_a_bad_moment_costs_no_attempt(shelf: Shelf, faults: list[Any]) -> None:
    shelf.put(VIDEO)
    source = shelf.accepted()
    shelf.proxy.faults = list(faults)

    job = shelf.run(source)

    assert (job.state, job.attempt, shelf.seen) == ("succeeded", 1, [VIDEO])


def test_other_bytes_of_the_same_length_than_were_announced_are_never_judged(shelf: Shelf) -> None:
    """As after an upload in parts, of which no store knows the hash of the whole."""
    shelf.put(b"X" * len(VIDEO))
    source = {**shelf.accepted(), "sha256": hashlib.sha256(VIDEO).hexdigest()}

    job = shelf.run(source)

    assert (job.state, job.error["code"], shelf.seen) == ("failed", "source_changed", [])
