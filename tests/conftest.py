"""Real services for every test that needs them: one PostgreSQL and one Redis a session, one fresh database a test."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from hypothesis import settings
from redis import Redis

from migrations.upgrade import upgrade
from styleflow.database import Database, psycopg_url
from styleflow.embedded import Server, socket_folder, start_postgres, start_redis

HOME_PREFIX = "styleflow-tests-"

# Read when torch is first loaded: its idle threads sleep, instead of taking a core from the servers beside them.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# A busy machine is no fault of the code: no property is held to a time.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


@pytest.fixture(scope="session")
def services_home() -> Iterator[Path]:
    """Gone afterwards. A run that is killed leaves its own, hundred megabytes of it, until the next run begins."""
    for lock in Path(tempfile.gettempdir()).glob(f"{HOME_PREFIX}*.lock"):
        with suppress(OSError), lock.open("r+b") as left:
            if time.time() - lock.stat().st_mtime > 60:  # one that begins in this moment may not hold its lock yet
                fcntl.flock(left, fcntl.LOCK_EX | fcntl.LOCK_NB)
                forget_home(lock.with_suffix(""))
    home = Path(tempfile.mkdtemp(prefix=HOME_PREFIX))
    with home.with_name(f"{home.name}.lock").open("wb") as lock_of_home:
        fcntl.flock(lock_of_home, fcntl.LOCK_EX)
        yield home
        forget_home(home)


def forget_home(home: Path) -> None:
    shutil.rmtree(socket_folder(home), ignore_errors=True)
    shutil.rmtree(home, ignore_errors=True)
    home.with_name(f"{home.name}.lock").unlink(missing_ok=True)


@pytest.fixture(scope="session")
def postgres(services_home: Path) -> Iterator[Server]:
    """A PostgreSQL whose database `styleflow` is migrated and serves as the template of every test's own."""
    server = start_postgres(services_home, options={"fsync": "off", "max_connections": "200"})
    upgrade(server.url)
    yield server
    server.stop()


@pytest.fixture
def database_url(postgres: Server) -> Iterator[str]:
    """A migrated database of the test's own."""
    name = f"test_{uuid4().hex}"
    administration = psycopg_url(postgres.url).replace("/styleflow?", "/postgres?")
    with psycopg.connect(administration, autocommit=True) as connection:
        connection.execute(f'create database "{name}" template styleflow')
        yield postgres.url.replace("/styleflow?", f"/{name}?")
        connection.execute(f'drop database "{name}" with (force)')


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    database = Database(database_url)
    yield database
    database.close()


@pytest.fixture(scope="session")
def redis_server(services_home: Path) -> Iterator[Server]:
    server = start_redis(services_home)
    yield server
    server.stop()


@pytest.fixture
def redis_url(redis_server: Server) -> Iterator[str]:
    """An empty Redis."""
    client = Redis(unix_socket_path=redis_server.url.removeprefix("redis+socket://"))
    client.flushall()
    yield redis_server.url
    client.close()
