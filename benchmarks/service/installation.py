"""A private PostgreSQL that syncs to disk, a Redis, an API process and a light worker, for the time of a benchmark."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from benchmarks.homes import temporary_home
from benchmarks.service.load import Server
from migrations.upgrade import upgrade
from styleflow import api_keys
from styleflow.database import Database
from styleflow.embedded import start_postgres, start_redis
from styleflow.storage.local import LocalBucket
from tests.api.conftest import SCOPES, write_pack
from tests.stack import Stack, answers, eventually, free_port, settings_of


@dataclass(frozen=True)
class Installation:
    """What the phases of the benchmark need of it."""

    server: Server
    database: Database
    redis_url: str
    bucket: LocalBucket
    project_id: str
    secret_key: str


@contextmanager
def installed() -> Iterator[Installation]:
    """Started, migrated, with a key of all scopes; everything ends with the block."""
    with temporary_home() as home, ExitStack() as stopping:
        postgres = start_postgres(home, options={"max_connections": "100"})
        stopping.callback(postgres.stop)
        redis = start_redis(home)
        stopping.callback(redis.stop)
        upgrade(postgres.url)
        write_pack(home / "packs")
        more = {"packs_directory": str(home / "packs"), "log_format": "json", "max_queued_jobs": str(10**9)}
        stack = Stack(home, settings_of(postgres.url, redis.url, home, **more))
        stopping.callback(stack.stop)
        database = Database(postgres.url)
        stopping.callback(database.close)
        with database.transaction() as session:
            project = api_keys.ensure_project(session, "benchmark")
            secret = stack.environment["STYLEFLOW_SECRET_KEY"]
            _, key = api_keys.create(session, secret, project.id, "b", SCOPES)
        url = _serve(stack)
        bucket = LocalBucket(home / "bucket")
        yield Installation(Server(url, key), database, redis.url, bucket, project.id, secret)


def _serve(stack: Stack) -> str:
    """The API as one process, as it is deployed, and the light worker."""
    port = free_port()
    stack.spawn("-m", "uvicorn", "api.main:create_app", "--factory", "--port", str(port), "--no-access-log")
    stack.spawn("-m", "worker.duties")
    url = f"http://127.0.0.1:{port}"
    eventually(lambda: answers(f"{url}/readyz"), explain=stack.logs)
    return url
