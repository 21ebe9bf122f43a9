"""A real service with a stub worker."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest

from styleflow.database import Database, psycopg_url
from styleflow.embedded import Server
from tests.journeys.conftest import make_key, packs
from tests.stack import Stack, answers, eventually, free_port, settings_of

__all__ = ["packs", "service"]


@dataclass
class Running:
    """Where the service is, with keys of two projects."""

    url: str
    key: str
    foreign_key: str


@pytest.fixture(scope="module")
def service(
    tmp_path_factory: pytest.TempPathFactory, postgres: Server, redis_server: Server, packs: Path
) -> Iterator[Running]:
    home = tmp_path_factory.mktemp("client")
    name = f"client_{uuid4().hex}"
    with psycopg.connect(psycopg_url(postgres.url).replace("/styleflow?", "/postgres?"), autocommit=True) as connection:
        connection.execute(f'create database "{name}" template styleflow')
    database_url, port = postgres.url.replace("/styleflow?", f"/{name}?"), free_port()
    url = f"http://127.0.0.1:{port}"
    environment = settings_of(
        database_url, f"{redis_server.url}?virtual_host=5", home, public_url=url, packs_directory=str(packs),
        lease_seconds="6", poll_seconds="1", rescue_seconds="1",
    )  # fmt: skip
    stack = Stack(home, environment)
    database = Database(database_url, pool_size=2)
    try:
        stack.spawn("-m", "uvicorn", "api.main:create_app", "--factory", "--port", str(port), "--log-level", "warning")
        stack.spawn("-m", "worker.duties")
        stack.spawn("-m", "tests.stub_worker")
        key, foreign = make_key(database, environment, "ours"), make_key(database, environment, "theirs")
        eventually(lambda: answers(f"{url}/livez"), seconds=60, explain=stack.logs)
        yield Running(url, key, foreign)
    finally:
        database.close()
        stack.stop()
