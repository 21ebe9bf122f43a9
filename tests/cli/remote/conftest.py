"""A whole service for the commands to speak to: API, light worker, and a worker that only pretends to judge."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from typer.testing import CliRunner, Result

from styleflow import api_keys
from styleflow.cli.main import app
from styleflow.database import Database, psycopg_url
from styleflow.embedded import Server
from tests.api.conftest import write_pack
from tests.journeys.receiver import Received, listening
from tests.stack import Stack, answers, eventually, free_port, settings_of


@dataclass
class Installation:
    """Where it is, and what stands behind it."""

    url: str
    database: Database
    stack: Stack
    receiver: Received
    bucket: Path

    def key(self, project: str, scopes: frozenset[str] | set[str] = api_keys.SCOPES) -> str:
        with self.database.transaction() as session:
            owner = api_keys.ensure_project(session, project)
            secret = self.stack.environment["STYLEFLOW_SECRET_KEY"]
            return api_keys.create(session, secret, owner.id, "test", sorted(scopes), None)[1]


@dataclass
class Caller:
    """Somebody with a key of a project of their own, at a command line."""

    installation: Installation
    project: str
    home: Path
    environment: dict[str, str] = field(default_factory=dict)

    def run(self, *arguments: str, stdin: str | None = None, **variables: str) -> Result:
        told = {**self.environment, **variables}
        done = CliRunner().invoke(app, list(arguments), env=told, input=stdin)
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        return done

    def json(self, *arguments: str, code: int = 0, stdin: str | None = None) -> list[dict[str, Any]]:
        """The objects that `--json` writes, a line each."""
        done = self.run(*arguments, "--json", stdin=stdin)
        assert done.exit_code == code, done.output
        return [json.loads(line) for line in done.stdout.splitlines()]

    def video(self, name: str = "clip.mp4", seconds: float = 0.05) -> Path:
        """A file at which the worker looks for so long. Each is another one."""
        path = self.home / name
        path.write_text(f"{seconds} {uuid4()}")
        return path


@pytest.fixture(scope="session")
def installation(
    tmp_path_factory: pytest.TempPathFactory, postgres: Server, redis_server: Server
) -> Iterator[Installation]:
    home = tmp_path_factory.mktemp("remote")
    write_pack(home / "packs")
    name, port = f"remote_{uuid4().hex}", free_port()
    with psycopg.connect(psycopg_url(postgres.url).replace("/styleflow?", "/postgres?"), autocommit=True) as connection:
        connection.execute(f'create database "{name}" template styleflow')
    database_url = postgres.url.replace("/styleflow?", f"/{name}?")
    environment = settings_of(
        database_url,
        f"{redis_server.url}?virtual_host=5",
        home,
        packs_directory=str(home / "packs"),
        public_url=f"http://127.0.0.1:{port}",
        egress_allow_loopback="true",
        egress_allow_http="true",
        source_buckets="[]",
        heartbeat_seconds="0.3",
        nudge_repair_seconds="2",
    )
    stack, database = Stack(home, environment), Database(database_url, pool_size=2)
    try:
        serve = ("-m", "uvicorn", "api.main:create_app", "--factory", "--port", str(port), "--log-level", "warning")
        stack.spawn(*serve)
        stack.spawn("-m", "worker.duties")
        stack.spawn("-m", "tests.stub_worker")
        url = f"http://127.0.0.1:{port}"
        eventually(lambda: answers(f"{url}/livez"), seconds=60, explain=stack.logs)
        with listening() as receiver:
            yield Installation(url, database, stack, receiver, home / "bucket")
    finally:
        stack.stop()
        database.close()


@pytest.fixture
def newcomer(installation: Installation, tmp_path: Path) -> Callable[..., Caller]:
    """Makes callers."""

    def make(**more: Any) -> Caller:
        project = f"project-{uuid4().hex}"
        told = {
            "STYLEFLOW_URL": installation.url,
            "STYLEFLOW_API_KEY": installation.key(project, **more),
            "STYLEFLOW_HOME": str(tmp_path / "no-home"),
        }
        return Caller(installation, project, tmp_path, told)

    return make


@pytest.fixture
def caller(newcomer: Callable[..., Caller]) -> Caller:
    return newcomer()
