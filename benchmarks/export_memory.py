"""Does the API's memory stay flat while a million rows go through it?

Run with `python -m benchmarks.export_memory` in a checkout with the extras service, embedded and dev. One job of 64
faces with 16,384 frames each, 1,048,576 rows, and exports of them; all are read whole from a real uvicorn over HTTP.
Printed are the resident memory of its process before, its highest, read every 20 ms, and how long it took.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import httpx
from rich.console import Console
from rich.table import Table
from sqlalchemy import text

from benchmarks.homes import temporary_home
from benchmarks.worker_memory import resident
from migrations.upgrade import upgrade
from styleflow import api_keys
from styleflow.database import Database
from styleflow.embedded import start_postgres, start_redis
from tests.api.conftest import SCOPES, write_pack
from tests.stack import Stack, answers, eventually, free_port, settings_of

FACES, FRAMES = 64, 16_384
FORMS = {"NDJSON": "application/x-ndjson", "CSV": "text/csv", "Parquet": "application/vnd.apache.parquet"}
JOB = "job_00000000000000000000000001"
_JOB = text(
    "insert into jobs (id, project_id, state, lane, source, model, options, tags, metadata, max_attempts, outcome,"
    " reason) values (:job, :project, 'succeeded', 'bulk', '{}', 'm', '{}', '{}', '{}', 5, 'inconclusive',"
    " 'coverage_too_thin')"
)
_RESULT = text("insert into results (job_id, token, report, report_key) values (:job, 1, '{}', 'evidence/none')")
_TRACKS = text(
    """
    insert into tracks (job_id, track_id, position, summary, frame_index, time_seconds, box, detection_confidence,
        score, flow_coarse, flow_middle, flow_fine, attention)
    select :job, 'trk_' || n, n, jsonb_build_object('clips', '[]'::jsonb), f.i, f.t, f.b, f.s, f.s, f.s, f.s, f.s, f.s
    from generate_series(1, :faces) as n,
        (select array_agg(i::int) as i, array_agg(i / 25.0::float8) as t, array_agg((i % 97 / 97.0)::real) as s,
        (select array_agg((e % 640)::real) from generate_series(1, 4 * :frames) as e) as b
        from generate_series(0, :frames - 1) as i) as f
    """
)


@contextmanager
def installation() -> Iterator[tuple[httpx.Client, Database, int]]:
    """A client with a key, the database, and the process id of the API; a light worker runs beside it."""
    with temporary_home() as home, ExitStack() as stopping:
        postgres = start_postgres(home, options={"max_connections": "60"})
        stopping.callback(postgres.stop)
        redis = start_redis(home)
        stopping.callback(redis.stop)
        upgrade(postgres.url)
        write_pack(home / "packs")
        port = free_port()
        url = f"http://127.0.0.1:{port}"  # files of exports are fetched where it says that it is
        settings = settings_of(postgres.url, redis.url, home, packs_directory=str(home / "packs"), public_url=url)
        stack = Stack(home, settings)
        stopping.callback(stack.stop)
        database = Database(postgres.url)
        stopping.callback(database.close)
        with database.transaction() as session:
            project = api_keys.ensure_project(session, "benchmark").id
            secret = stack.environment["STYLEFLOW_SECRET_KEY"]
            _, key = api_keys.create(session, secret, project, "b", SCOPES)
            for statement in (_JOB, _RESULT, _TRACKS):
                values = {"job": JOB, "project": project, "faces": FACES, "frames": FRAMES}
                session.execute(statement, {name: values[name] for name in statement.compile().params})
        served = stack.spawn("-m", "uvicorn", "api.main:create_app", "--factory", "--port", str(port))
        stack.spawn("-m", "worker.duties")
        eventually(lambda: answers(f"{url}/readyz"), seconds=180, explain=stack.logs)
        headers = {"Authorization": f"Bearer {key}"}
        client = stopping.enter_context(httpx.Client(base_url=url, headers=headers, timeout=120, trust_env=False))
        yield client, database, served.pid


def highest(pid: int, done: threading.Event, found: list[int]) -> None:
    while not done.wait(0.02):
        found[0] = max(found[0], resident(pid))


def read(client: httpx.Client, pid: int, address: str, accept: str) -> tuple[int, int, int, float]:
    """Bytes that came, resident bytes before and at their highest, and seconds."""
    before, done = resident(pid), threading.Event()
    found = [before]
    watcher = threading.Thread(target=highest, args=(pid, done, found))
    watcher.start()
    begin, size = time.perf_counter(), 0
    try:
        with client.stream("GET", address, headers={"Accept": accept}, follow_redirects=True) as answer:
            answer.raise_for_status()
            for chunk in answer.iter_raw():
                size += len(chunk)
    finally:
        done.set()
        watcher.join()
    return size, before, found[0], time.perf_counter() - begin


def exported(client: httpx.Client, format: str) -> list[str]:
    """Addresses of the files of an export of all frames."""
    body = {"rows": "frames", "format": format}
    export = client.post("/v1/exports", json=body).raise_for_status().json()["id"]
    path = f"/v1/exports/{export}"
    eventually(lambda: client.get(path).json()["state"] == "succeeded", seconds=300)
    return [str(file["url"]) for file in client.get(path).json()["files"]]


def main() -> int:
    table = Table(
        "what", "MB", "seconds", "resident before", "highest", title=f"{FACES * FRAMES:,} rows through the API"
    )

    def add(name: str, address: str, accept: str) -> None:
        size, before, most, seconds = read(client, pid, address, accept)
        megabytes = (f"{value / 1e6:,.0f}" for value in (before, most))
        table.add_row(name, f"{size / 1e6:,.0f}", f"{seconds:.1f}", *(f"{value} MB" for value in megabytes))

    with installation() as (client, _, pid):
        for form, accept in FORMS.items():
            for time_of_it in ("first", "second"):
                add(f"/frames as {form}, {time_of_it}", f"/v1/jobs/{JOB}/frames", accept)
        for format in ("csv", "parquet"):
            for address in exported(client, format):
                add(f"file of an export, {format}", address, "*/*")
    Console(width=120).print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
