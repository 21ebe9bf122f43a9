"""What a process of the API makes of large bodies, honest or not: it stays as small as it was."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import httpx
import psycopg
import pytest

from styleflow.database import Database, psycopg_url
from styleflow.embedded import Server
from tests.api.conftest import write_pack
from tests.heavy_bodies import Answered, peak_growth, send
from tests.journeys.conftest import make_key
from tests.stack import Stack, answers, eventually, free_port, settings_of

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

SIZE = 200 << 20
LIMIT = 8 << 20
"""Bytes by which the process may grow for a body that is streamed to disk."""
JSON_LIMIT = 2 << 20


@dataclass
class Process:
    """One API process with a local bucket."""

    client: httpx.Client
    pid: int
    key: str
    bucket: Path

    def announce(self, **changes: Any) -> dict[str, Any]:
        answer = self.client.post("/v1/uploads", json={"filename": "a.mp4", "size_bytes": SIZE, **changes})
        assert answer.status_code == 201, answer.text
        return dict(answer.json())

    def place(self, url: str) -> str:
        parts = urlsplit(url)
        return f"{self.client.base_url}".rstrip("/") + f"{parts.path}?{parts.query}"

    def left(self) -> list[str]:
        """Half-written files."""
        return [path.name for path in (self.bucket / ".scratch").iterdir()]


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory, postgres: Server, redis_server: Server) -> Iterator[Process]:
    home = tmp_path_factory.mktemp("memory")
    write_pack(home / "packs")
    name = f"memory_{uuid4().hex}"
    with psycopg.connect(psycopg_url(postgres.url).replace("/styleflow?", "/postgres?"), autocommit=True) as connection:
        connection.execute(f'create database "{name}" template styleflow')
    database_url = postgres.url.replace("/styleflow?", f"/{name}?")
    environment = settings_of(database_url, redis_server.url, home, packs_directory=str(home / "packs"))
    stack, port = Stack(home, environment), free_port()
    try:
        child = stack.spawn("-m", "uvicorn", "api.main:create_app", "--factory", "--port", str(port))
        database = Database(database_url, pool_size=1)
        key = make_key(database, environment, "memory")
        database.close()
        url = f"http://127.0.0.1:{port}"
        eventually(lambda: answers(f"{url}/readyz"), seconds=60, explain=stack.logs)
        with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=60) as client:
            process = Process(client, child.pid, key, home / "bucket")
            # What a first body makes the process import and allocate for good is not what is measured.
            send(process.place(process.announce()["url"]), size=4 << 20, content_length=SIZE, hang_up=True)
            yield process
    finally:
        stack.stop()


def status(answer: Answered | None) -> int | None:
    return None if answer is None else answer.status


def test_an_honest_body_goes_to_disk_and_not_to_memory(process: Process) -> None:
    upload = process.announce()

    with peak_growth(process.pid) as growth:
        answer = send(process.place(upload["url"]), size=SIZE, content_length=SIZE)
        grown = growth()

    assert status(answer) == 204
    assert grown < LIMIT
    assert process.client.post(f"/v1/uploads/{upload['id']}:complete").status_code == 200
    assert process.client.delete(f"/v1/uploads/{upload['id']}").status_code == 204


@pytest.mark.parametrize(
    ("said", "sent", "wanted"),
    [(SIZE + 1, SIZE + 1, 413), (SIZE - 1, SIZE, 409), (None, 2 * SIZE, 413), (None, 1 << 20, 409)],
    ids=["says more", "says less", "says nothing and sends more", "says nothing and sends less"],
)
def test_a_body_that_lies_about_its_length_is_refused_in_flat_memory(
    process: Process, said: int | None, sent: int, wanted: int
) -> None:
    upload = process.announce()

    with peak_growth(process.pid) as growth:
        answer = send(process.place(upload["url"]), size=sent, content_length=said)
        grown = growth()

    assert status(answer) == wanted
    assert grown < LIMIT
    assert answer is not None
    if said is not None:
        assert answer.sent < 64 << 20, "refused before it was read"
    assert process.left() == []
    assert process.client.post(f"/v1/uploads/{upload['id']}:complete").status_code == 409


def test_a_body_that_ends_before_its_length_leaves_nothing(process: Process) -> None:
    upload = process.announce()

    with peak_growth(process.pid) as growth:
        send(process.place(upload["url"]), size=SIZE // 2, content_length=SIZE, hang_up=True)
        eventually(lambda: process.left() == [])
        grown = growth()

    assert grown < LIMIT
    assert process.client.post(f"/v1/uploads/{upload['id']}:complete").status_code == 409


@pytest.mark.parametrize("said", [10 << 30, None], ids=["Content-Length of 10 GiB", "chunked"])
def test_a_body_of_json_that_is_too_long_costs_less_than_two_mebibytes(process: Process, said: int | None) -> None:
    headers = f"Authorization: Bearer {process.key}\r\nContent-Type: application/json\r\n"
    url = f"{process.client.base_url}".rstrip("/") + "/v1/jobs"
    send(url, size=SIZE, content_length=None, method="POST", headers=headers)

    with peak_growth(process.pid) as growth:
        answer = send(url, size=SIZE, content_length=said, method="POST", headers=headers)
        grown = growth()

    assert status(answer) == 413
    assert answer is not None
    assert "payload_too_large" in answer.body
    assert answer.sent < 64 << 20
    assert grown < JSON_LIMIT
