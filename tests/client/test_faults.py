"""Whatever a server or a proxy does, the caller meets an error of the tree, in time."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from styleflow.client import AsyncStyleFlow, Retries, StyleFlow
from styleflow.client.failures import (
    BadArgument,
    NotFound,
    QuotaExceeded,
    ServiceUnreachable,
    Unavailable,
    UnreadableAnswer,
)
from tests.web_server import serving

FAST = Retries(base_seconds=0.01)
JOB = b'{"id":"job_1","state":"queued","a_member_of_tomorrow":1}'
Script = list[Callable[[BaseHTTPRequestHandler], None]]


def say(status: int, body: bytes = JOB, **headers: str) -> Callable[[BaseHTTPRequestHandler], None]:
    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(status)
        for name, value in {"Content_Length": str(len(body)), **headers}.items():
            request.send_header(name.replace("_", "-"), value)
        request.end_headers()
        request.wfile.write(body)
        request.close_connection = True

    return answer


def reset(request: BaseHTTPRequestHandler) -> None:
    request.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    request.connection.close()
    request.close_connection = True


@contextmanager
def scripted(*script: Callable[[BaseHTTPRequestHandler], None]) -> Iterator[tuple[str, list[Any]]]:
    """A server that plays the script, its last line for ever; and the headers of what it was asked."""
    asked: list[Any] = []

    def route(request: BaseHTTPRequestHandler) -> None:
        request.rfile.read(int(request.headers.get("content-length") or 0))
        asked.append(dict(request.headers))
        script[min(len(asked), len(script)) - 1](request)

    with serving(route) as port:
        yield f"http://127.0.0.1:{port}", asked


@pytest.mark.parametrize(
    "fault", [reset, say(503), say(429, Retry_After="0"), say(502, b"<html>"), say(200, JOB, Content_Length="999")]
)
def test_a_submission_is_repeated_with_its_key_until_it_is_answered(fault: Any) -> None:
    with scripted(fault, fault, say(202)) as (url, asked), StyleFlow(url, "key", retries=FAST) as client:
        job = client.jobs.create({"type": "url", "url": "https://a.example/b"})

    assert (job.id, job.model_extra) == ("job_1", {"a_member_of_tomorrow": 1})
    assert len(asked) == 3
    assert len({headers["Idempotency-Key"] for headers in asked}) == 1


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (say(200, b"<html>proxy</html>"), UnreadableAnswer),
        (say(200, b"{}"), UnreadableAnswer),
        (say(200, b"[" * 100_000), UnreadableAnswer),
        (say(302, b"", Location="/login"), UnreadableAnswer),
        (say(200, b"not gzip", Content_Encoding="gzip"), UnreadableAnswer),
        (say(404, b"<html>"), NotFound),
        (say(503, b"", Retry_After="3600"), Unavailable),
        (reset, ServiceUnreachable),
    ],
)
def test_both_clients_raise_an_error_of_the_tree(answer: Any, error: type[Exception]) -> None:
    async def ask(url: str) -> None:
        async with AsyncStyleFlow(url, "key", retries=FAST) as client:
            await client.jobs.get("job_1")

    with scripted(answer) as (url, _):
        with StyleFlow(url, "key", retries=FAST) as client, pytest.raises(error):
            client.jobs.get("job_1")
        with pytest.raises(error):
            asyncio.run(ask(url))


def test_nothing_is_slept_past_the_time_of_a_call() -> None:
    with scripted(say(429, b"{}", Retry_After="30")) as (url, asked), StyleFlow(url, "key", call_seconds=2) as client:
        started = client._context.clock()
        with pytest.raises(QuotaExceeded) as refused:
            client.jobs.get("job_1")
        assert client._context.clock() - started < 1
    assert refused.value.retry_after == 30
    assert len(asked) == 1


def test_a_retry_after_that_is_a_date_is_waited_for_under_the_same_key() -> None:
    def busy(request: BaseHTTPRequestHandler) -> None:
        say(503, b"{}", Retry_After=formatdate(time.time() + 2, usegmt=True))(request)

    with scripted(busy, say(202)) as (url, asked), StyleFlow(url, "key", retries=FAST) as client:
        started = time.monotonic()
        client.jobs.create({"type": "url", "url": "https://a.example/b"})
    # A date has whole seconds: of two there is left between one and two.
    assert 0.9 < time.monotonic() - started < 10
    assert len(asked) == 2
    assert len({headers["Idempotency-Key"] for headers in asked}) == 1


@pytest.mark.parametrize("client_of", [StyleFlow, AsyncStyleFlow])
def test_a_stream_that_forgot_what_was_missed_is_left_for_a_look_at_the_job(client_of: Any) -> None:
    first = say(200, b"id: 1\nevent: job.running\ndata: {}\n\n", Content_Type="text/event-stream")
    gap = say(200, b'id: 90\nevent: gap\ndata: {"from":2}\n\n', Content_Type="text/event-stream")
    done = say(200, b'{"id":"job_1","state":"succeeded"}')

    async def wait(url: str) -> str:
        async with AsyncStyleFlow(url, "key", retries=FAST) as client:
            return (await client.wait("job_1", 60, poll="events")).state

    with scripted(first, gap, done) as (url, asked):
        if client_of is AsyncStyleFlow:
            assert asyncio.run(wait(url)) == "succeeded"
        else:
            with StyleFlow(url, "key", retries=FAST) as client:
                assert client.wait("job_1", 60, poll="events").state == "succeeded"
    assert [headers.get("Last-Event-ID") for headers in asked] == [None, "1", None]


@pytest.mark.parametrize("client_of", [StyleFlow, AsyncStyleFlow])
def test_bytes_are_sent_anew_after_a_fault_and_the_key_never_goes_to_the_store(client_of: Any, tmp_path: Path) -> None:
    file, seen = tmp_path / "clip.mp4", []
    file.write_bytes(b"0123456789" * 100_000)

    def store(request: BaseHTTPRequestHandler) -> None:
        body = request.rfile.read(int(request.headers["content-length"]))
        seen.append(({name.lower() for name in request.headers}, body))
        say(503 if len(seen) == 1 else 200, b"")(request)

    async def send(url: str) -> str:
        async with AsyncStyleFlow(url, "key", retries=FAST) as client:
            return (await client.upload_file(file)).state

    with serving(store) as port:
        place = f'{{"id":"upl_1","state":"pending","method":"POST","url":"http://127.0.0.1:{port}/put"}}'.encode()
        with scripted(say(201, place), say(200, b'{"id":"upl_1","state":"complete"}')) as (url, asked):
            if client_of is AsyncStyleFlow:
                state = asyncio.run(send(url))
            else:
                with StyleFlow(url, "key", retries=FAST) as client:
                    state = client.upload_file(file).state

    assert state == "complete"
    assert [body for _, body in seen] == [file.read_bytes()] * 2
    assert not any({"authorization", "x-api-key"} & names for names, _ in seen)
    assert all(headers["Authorization"] == "Bearer key" for headers in asked)


@pytest.mark.parametrize("size", [1, 4, 5, 9])
def test_a_large_file_goes_in_parts_that_make_up_the_file(size: int, tmp_path: Path) -> None:
    file, parts, told = tmp_path / "film.mkv", {}, []
    file.write_bytes(bytes(range(size)))

    def service(request: BaseHTTPRequestHandler) -> None:
        body = request.rfile.read(int(request.headers.get("content-length") or 0))
        if request.path.startswith("/store/"):
            parts[int(request.path[7:])] = body
            return say(200, b"", ETag=f'"{request.path[7:]}"')(request)
        if request.path.endswith("/parts"):
            numbers = json.loads(body)["numbers"]
            data = [{"n": n, "url": f"/store/{n}", "method": "POST", "headers": {}} for n in numbers]
            return say(200, json.dumps({"data": data}).encode())(request)
        if request.path.endswith(":complete"):
            told.extend(json.loads(body)["parts"])
            return say(200, b'{"id":"upl_1","state":"complete","mode":"multipart"}')(request)
        return say(201, b'{"id":"upl_1","state":"pending","mode":"multipart","part_size":4}')(request)

    with serving(service) as port, StyleFlow(f"http://127.0.0.1:{port}", "key") as client:
        assert client.upload_file(file, multipart=True).state == "complete"

    assert b"".join(parts[n] for n in sorted(parts)) == file.read_bytes()
    assert told == [{"n": n, "etag": f'"{n}"'} for n in sorted(parts)]


def test_rows_that_break_off_are_no_whole_list() -> None:
    row = b'{"track_id":"t","frame_index":1,"t_ms":1}\n'
    answer = say(200, row, Content_Length="999", Content_Type="application/x-ndjson")
    with scripted(answer) as (url, _), StyleFlow(url, "key") as client:
        rows = client.jobs.frames("job_1")
        assert next(rows).frame_index == 1
        with pytest.raises(ServiceUnreachable, match="after 1"):
            next(rows)


@pytest.mark.parametrize("job_id", ["", "..", "."])
def test_an_id_that_would_name_another_address_is_not_sent(job_id: str) -> None:
    with StyleFlow("http://127.0.0.1:9", "key") as client, pytest.raises(BadArgument):
        client.jobs.delete(job_id)


def test_the_client_is_imported_with_the_bare_install_alone() -> None:
    blocked = ("sqlalchemy", "fastapi", "torch", "cryptography", "celery", "redis", "boto3", "numpy", "psycopg")
    program = f"import sys\nfor name in {blocked}: sys.modules[name] = None\nimport styleflow.client"

    assert subprocess.run([sys.executable, "-c", program], cwd=Path(__file__).parents[2]).returncode == 0
