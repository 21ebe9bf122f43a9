"""Files on their way out: whole or not at all, whatever the store does."""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from styleflow.client import AsyncStyleFlow, Retries, StyleFlow
from styleflow.client.answers import Export, Job
from styleflow.client.failures import BadArgument, Conflict, NotFound, ServiceUnreachable, UnreadableAnswer
from tests.client.conftest import Running
from tests.web_server import serving

FAST = Retries(base_seconds=0.01)
BYTES = bytes(range(256)) * 4000


def settled(client: StyleFlow, folder: Path) -> Job:
    path = folder / "clip.mp4"
    path.write_text(f"0.1 {folder}")
    return client.wait(client.submit_file(path).id, 60)


def exported(client: StyleFlow, **wanted: Any) -> Export:
    export = client.exports.create("jsonl", **wanted)
    until = time.monotonic() + 60
    while not export.is_settled:
        assert time.monotonic() < until
        time.sleep(0.2)
        export = client.exports.get(export.id)
    return export


def test_the_report_behind_a_result_is_stored_as_it_was_written(service: Running, tmp_path: Path) -> None:
    counts: list[int] = []
    with StyleFlow(service.url, service.key) as client:
        job = settled(client, tmp_path)
        (report,) = client.jobs.artifacts(job.id)
        path = client.jobs.download(job.id, report.id, tmp_path / "report.json", progress=counts.append)
        stored = json.loads(path.read_bytes())
        assert stored == client.jobs.report(job.id).model_dump(mode="json")
        with pytest.raises(NotFound):
            client.jobs.download(job.id, "nothing", tmp_path / "nothing")

    assert counts[-1] == report.size_bytes == path.stat().st_size
    assert sorted(one.name for one in tmp_path.iterdir()) == ["clip.mp4", "report.json"]


def test_the_files_of_an_export_are_stored_and_only_what_is_wrong_is_fetched_again(
    service: Running, tmp_path: Path
) -> None:
    with StyleFlow(service.url, service.key) as client:
        job = settled(client, tmp_path)
        export = exported(client)
        rows, manifest = client.exports.download(export.id, tmp_path / "out")
        assert job.id in {json.loads(line)["job_id"] for line in rows.read_text().splitlines()}
        (named,) = json.loads(manifest.read_bytes())["files"]
        assert named["sha256"] == hashlib.sha256(rows.read_bytes()).hexdigest()

        kept = rows.stat().st_mtime_ns
        client.exports.download(export.id, tmp_path / "out")
        assert rows.stat().st_mtime_ns == kept
        rows.write_bytes(b"something else")
        client.exports.download(export.id, tmp_path / "out")
        assert named["sha256"] == hashlib.sha256(rows.read_bytes()).hexdigest()


def test_an_export_that_is_not_done_has_no_files_yet(service: Running, tmp_path: Path) -> None:
    with StyleFlow(service.url, service.key) as client:
        export = client.exports.create("csv")
        client.exports.cancel(export.id)
        with pytest.raises(Conflict, match="result_not_ready"):
            client.exports.download(export.id, tmp_path / "out")


def test_the_asynchronous_client_stores_the_same(service: Running, tmp_path: Path) -> None:
    async def journey(job_id: str, export_id: str) -> list[bytes]:
        async with AsyncStyleFlow(service.url, service.key) as client:
            report = await client.jobs.download(job_id, "report", tmp_path / "there.json")
            rows, _ = await client.exports.download(export_id, tmp_path / "there")
            return [report.read_bytes(), rows.read_bytes()]

    with StyleFlow(service.url, service.key) as client:
        job, export = settled(client, tmp_path), exported(client)
        report = client.jobs.download(job.id, "report", tmp_path / "here.json")
        rows, _ = client.exports.download(export.id, tmp_path / "here")

    assert asyncio.run(journey(job.id, export.id)) == [report.read_bytes(), rows.read_bytes()]


Store = Callable[[BaseHTTPRequestHandler, int], None]


@contextmanager
def led_to(store: Store) -> Iterator[tuple[str, list[dict[str, str]]]]:
    """A service that leads every address to a store on another port; the headers of what the store was asked."""
    asked: list[dict[str, str]] = []

    def answer(request: BaseHTTPRequestHandler) -> None:
        asked.append({name.lower(): text for name, text in request.headers.items()})
        request.close_connection = True
        store(request, len(asked))

    with serving(answer) as store_port:

        def lead(request: BaseHTTPRequestHandler) -> None:
            request.send_response(303)
            request.send_header("Location", f"http://127.0.0.1:{store_port}/object?signature=s")
            request.send_header("Content-Length", "0")
            request.end_headers()

        with serving(lead) as port:
            yield f"http://127.0.0.1:{port}", asked


def give(request: BaseHTTPRequestHandler, *, upto: int = len(BYTES), ranges: bool = True) -> None:
    """The bytes, from where they are asked for; they break off at `upto`."""
    wanted = request.headers.get("range") if ranges else None
    start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted else 0
    request.send_response(206 if wanted else 200)
    if wanted:
        request.send_header("Content-Range", f"bytes {start}-{len(BYTES) - 1}/{len(BYTES)}")
    request.send_header("Content-Length", str(len(BYTES) - start))
    request.end_headers()
    request.wfile.write(BYTES[start:upto])


def test_bytes_that_break_off_are_asked_for_from_where_they_ended_and_the_key_stays_here(tmp_path: Path) -> None:
    def store(request: BaseHTTPRequestHandler, turn: int) -> None:
        give(request, upto=300_000 * turn if turn < 4 else len(BYTES))

    with led_to(store) as (url, asked), StyleFlow(url, "the-key", retries=FAST) as client:
        path = client.jobs.download("job_1", "report", tmp_path / "file")

    assert path.read_bytes() == BYTES
    assert [headers.get("range") for headers in asked] == [None, "bytes=300000-", "bytes=600000-", "bytes=900000-"]
    assert not any("authorization" in headers for headers in asked)


def test_a_store_without_ranges_is_read_from_the_start_again(tmp_path: Path) -> None:
    def store(request: BaseHTTPRequestHandler, turn: int) -> None:
        give(request, upto=1000 if turn == 1 else len(BYTES), ranges=False)

    with led_to(store) as (url, _), StyleFlow(url, "the-key", retries=FAST) as client:
        assert client.jobs.download("job_1", "report", tmp_path / "file").read_bytes() == BYTES


def test_a_break_behind_the_last_byte_is_the_end(tmp_path: Path) -> None:
    def store(request: BaseHTTPRequestHandler, turn: int) -> None:
        if turn > 1:
            request.send_response(416)
            request.send_header("Content-Range", f"bytes */{len(BYTES)}")
            request.send_header("Content-Length", "0")
            request.end_headers()
            return
        request.send_response(200)
        request.send_header("Content-Length", str(len(BYTES) + 1))
        request.end_headers()
        request.wfile.write(BYTES)

    with led_to(store) as (url, _), StyleFlow(url, "the-key", retries=FAST) as client:
        assert client.jobs.download("job_1", "report", tmp_path / "file").read_bytes() == BYTES


def test_what_never_comes_whole_leaves_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("before")

    with (
        led_to(lambda request, _: give(request, upto=10, ranges=False)) as (url, asked),
        StyleFlow(url, "the-key", retries=FAST) as client,
        pytest.raises(ServiceUnreachable, match="broke off"),
    ):
        client.jobs.download("job_1", "report", tmp_path / "file")

    assert (tmp_path / "file").read_text() == "before"
    assert [one.name for one in tmp_path.iterdir()] == ["file"]
    assert len(asked) == FAST.attempts


@contextmanager
def listing(**file: Any) -> Iterator[str]:
    """A service whose export has this one file, and gives BYTES for it."""
    named = {"name": "part-00001.csv", "size_bytes": len(BYTES), "url": "/v1/exports/exp_1/files/part-00001.csv"}
    body = json.dumps({"data": [{**named, **file}], "next_cursor": None}).encode()

    def route(request: BaseHTTPRequestHandler) -> None:
        said = body if request.path.endswith("/files") else BYTES
        request.send_response(200)
        request.send_header("Content-Length", str(len(said)))
        request.end_headers()
        request.wfile.write(said)

    with serving(route) as port:
        yield f"http://127.0.0.1:{port}"


@pytest.mark.parametrize(
    ("file", "error"),
    [
        ({"sha256": "00" * 32}, UnreadableAnswer),
        ({"sha256": hashlib.sha256(BYTES).hexdigest(), "size_bytes": 7}, UnreadableAnswer),
        ({"sha256": "00" * 32, "name": "../../outside.csv"}, UnreadableAnswer),
        ({"sha256": "00" * 32, "url": None, "key": "ours/part-00001.csv"}, BadArgument),
    ],
)
def test_a_file_that_does_not_fit_or_would_lie_elsewhere_is_not_stored(
    tmp_path: Path, file: dict[str, Any], error: type[Exception]
) -> None:
    with listing(**file) as url, StyleFlow(url, "the-key", retries=FAST) as client, pytest.raises(error):
        client.exports.download("exp_1", tmp_path / "out")

    assert list((tmp_path / "out").iterdir()) == []
