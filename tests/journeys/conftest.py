"""The whole service as processes: API, light worker, worker with the detector, on real PostgreSQL and Redis."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import psycopg
import pytest

from styleflow import api_keys
from styleflow.database import Database, psycopg_url
from styleflow.embedded import Server
from tests.journeys.receiver import Received, listening
from tests.stack import Stack, answers, eventually, free_port, settings_of

SAMPLES = Path(__file__).parent.parent.parent / "samples"
TERMINAL = {"succeeded", "failed", "canceled", "expired"}


@dataclass
class Service:
    """A running installation, as its customer sees it, and the processes behind it."""

    stack: Stack
    client: httpx.Client
    database: Database
    receiver: Received
    worker: subprocess.Popen[bytes]
    base_url: str

    def upload(self, content: bytes, filename: str = "clip.mp4") -> str:
        """Announce and send bytes as a customer does; returns the upload's id."""
        announced = self.client.post(
            "/v1/uploads", json={"filename": filename, "size_bytes": len(content), "content_type": "video/mp4"}
        )
        assert announced.status_code == 201, announced.text
        upload = announced.json()
        sent = httpx.request(upload["method"], upload["url"], headers=upload["headers"], content=content)
        assert sent.is_success, sent.text
        return str(upload["id"])

    def submit(self, content: bytes, **more: Any) -> dict[str, Any]:
        body = {"source": {"type": "upload", "upload_id": self.upload(content)}, **more}
        answer = self.client.post("/v1/jobs", json=body)
        assert answer.status_code == 202, answer.text
        return dict(answer.json())

    def settled(self, job_id: str, seconds: float = 90.0) -> dict[str, Any]:
        """The job once it is in a terminal state, found by waiting requests."""
        found: dict[str, Any] = {}

        def is_terminal() -> bool:
            found.update(self.client.get(f"/v1/jobs/{job_id}", headers={"Prefer": "wait=10"}).json())
            return found["state"] in TERMINAL

        eventually(is_terminal, seconds=seconds, explain=lambda: f"{found}\n{self.stack.logs()}")
        return found


@pytest.fixture(scope="module")
def service(
    tmp_path_factory: pytest.TempPathFactory, postgres: Server, redis_server: Server, packs: Path
) -> Iterator[Service]:
    home = tmp_path_factory.mktemp("service")
    name = f"journeys_{uuid4().hex}"
    with psycopg.connect(psycopg_url(postgres.url).replace("/styleflow?", "/postgres?"), autocommit=True) as connection:
        connection.execute(f'create database "{name}" template styleflow')
    database_url = postgres.url.replace("/styleflow?", f"/{name}?")
    port = free_port()
    base_url = f"http://127.0.0.1:{port}"
    environment = settings_of(
        database_url,
        f"{redis_server.url}?virtual_host=3",
        home,
        packs_directory=str(packs),
        public_url=base_url,
        egress_allow_loopback="true",
        egress_allow_http="true",
        lease_seconds="6",
        poll_seconds="3",
        rescue_seconds="1",
    )
    with listening() as receiver:
        stack = Stack(home, environment)
        try:
            stack.spawn(
                "-m", "uvicorn", "api.main:create_app", "--factory", "--port", str(port), "--log-level", "warning"
            )
            stack.spawn("-m", "worker.duties")
            worker = stack.spawn("-m", "worker")
            database = Database(database_url, pool_size=2)
            key = make_key(database, environment)
            eventually(lambda: answers(f"{base_url}/livez"), seconds=60, explain=stack.logs)
            with httpx.Client(base_url=base_url, headers={"Authorization": f"Bearer {key}"}, timeout=30) as client:
                yield Service(stack, client, database, receiver, worker, base_url)
            database.close()
        finally:
            stack.stop()


@pytest.fixture(scope="session")
def packs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the random compact pack."""
    from styleflow.models.sizes import COMPACT
    from styleflow.models.weights import write_random_pack

    folder = tmp_path_factory.mktemp("packs")
    write_random_pack(folder, COMPACT, seed=0, default=True)
    return folder


def make_key(database: Database, environment: Mapping[str, str], project: str = "journeys") -> str:
    with database.transaction() as session:
        owner = api_keys.ensure_project(session, project)
        pepper = environment["STYLEFLOW_SECRET_KEY"]
        return api_keys.create(session, pepper, owner.id, "test", sorted(api_keys.SCOPES), None)[1]


def decoder_children(worker_pid: int) -> list[int]:
    """Process ids of the decoders that a worker is running (Linux)."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rpartition(")")[2].split()
            command = (status.parent / "cmdline").read_bytes()
        except OSError:
            continue
        if int(fields[1]) == worker_pid and b"sandbox_child" in command:
            found.append(int(status.parent.name))
    return found


def kill(pid: int) -> None:
    os.kill(pid, 9)
