"""How fast are many rows exported, and in how much memory? How fast is each filter of the list of jobs?

Run with `python -m benchmarks.exports [ROWS]` in a checkout with the extras service and embedded; 1,000,000 settled
jobs when it is not said, and about as many frames. A private PostgreSQL that syncs to disk, a local bucket, and the
exporter in a process of its own, as in the light worker; its resident memory is read every 50 ms.
"""

from __future__ import annotations

import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from sqlalchemy import event, text

from benchmarks.homes import temporary_home
from benchmarks.settled_jobs import PROJECT, add_frames, settle_jobs
from benchmarks.worker_memory import resident
from migrations.upgrade import upgrade
from styleflow.database import Database
from styleflow.embedded import start_postgres
from styleflow.export_tables import ExportRow
from styleflow.exports import queries
from styleflow.exports.columns import chosen
from styleflow.exports.state import Format, Rows
from styleflow.jobs.queries import JobFilters, list_jobs

ROWS = 1_000_000
FRAMES_OF_A_JOB = 300
READS = 20
CHILD = """
import sys
from pathlib import Path
from styleflow.database import Database
from styleflow.exports.exporter import Exporter
from styleflow.storage.local import LocalBucket

bucket = LocalBucket(Path(sys.argv[2]))
exporter = Exporter(database=Database(sys.argv[1], pool_size=1), bucket=bucket, bucket_named=None, owner="benchmark")
while exporter.export_once():
    pass
"""
console = Console(stderr=True)


@contextmanager
def installation() -> Iterator[tuple[Database, Path]]:
    with temporary_home() as folder:
        server = start_postgres(folder, options={"max_connections": "20", "max_wal_size": "4GB"})
        try:
            upgrade(server.url)
            database = Database(server.url)
            yield database, folder / "bucket"
            database.close()
        finally:
            server.stop()


def create(database: Database, format: Format, rows: Rows) -> str:
    new = queries.NewExport(
        project_id=PROJECT,
        rows=rows,
        format=format,
        fields=[column.name for column in chosen(rows, None)],
        csv_safe=True,
        query={},
        destination=None,
        request_id=None,
        keep_days=1,
    )
    with database.transaction() as session:
        return queries.create(session, new).id


def watched(database: Database, bucket: Path) -> tuple[float, int, int]:
    """Seconds until the exporter has nothing left, and its resident bytes: a third of the way, and the most."""
    begin = time.perf_counter()
    child = subprocess.Popen([sys.executable, "-c", CHILD, database.url, str(bucket)])
    seen: list[int] = []
    while child.poll() is None:
        seen.append(resident(child.pid))
        time.sleep(0.05)
    if child.returncode:
        raise subprocess.CalledProcessError(child.returncode, "the exporter")
    return time.perf_counter() - begin, seen[len(seen) // 3], max(seen)


def exporting(database: Database, bucket: Path, table: Table, rows: Rows) -> None:
    for format in Format:
        export = create(database, format, rows)
        seconds, early, most = watched(database, bucket)
        with database.transaction() as session:
            found = session.get_one(ExportRow, export)
        if found.state != "succeeded":
            raise RuntimeError(f"the export is {found.state}: {found.error}")
        table.add_row(
            f"{found.row_count:,} {rows} as {format}",
            f"{seconds:.1f} s, {found.row_count / seconds:,.0f} rows/s",
            f"{found.file_count} files, {found.byte_count / 1e6:,.0f} MB",
            f"{early / 1e6:.0f} / {most / 1e6:.0f} MB",
        )


def filters() -> dict[str, JobFilters]:
    middle = datetime.now(UTC) - timedelta(days=20)
    return {
        "no filter": JobFilters(),
        "state=failed (a tenth)": JobFilters(state="failed"),
        "state=queued (none)": JobFilters(state="queued"),
        "state=running (none)": JobFilters(state="running"),
        "outcome=inconclusive (a tenth)": JobFilters(outcome="inconclusive"),
        "verdict=no_evidence (most)": JobFilters(verdict="no_evidence"),
        "verdict=strong (one in 10,000)": JobFilters(verdict="strong"),
        "verdict=suspicious (none)": JobFilters(verdict="suspicious"),
        "batch_id (one in 100)": JobFilters(batch_id="bat_7"),
        "batch_id, state=failed": JobFilters(batch_id="bat_9", state="failed"),
        "client_ref (one)": JobFilters(client_ref="post-4711"),
        "tag (half of all)": JobFilters(tag=("queue", "politics")),
        "tag (one in 10,000)": JobFilters(tag=("queue", "rare")),
        "tag (none)": JobFilters(tag=("queue", "nothing")),
        "created_after": JobFilters(created_after=middle),
        "created_before": JobFilters(created_before=middle),
        "verdict=strong, tag (rare)": JobFilters(verdict="strong", tag=("queue", "rare")),
        "lane=realtime (none)": JobFilters(lane="realtime"),
    }


def listing(database: Database, table: Table) -> None:
    """Median and most of some reads of a first page of 51, newest first and oldest first, and the plan's index."""
    for name, wanted in filters().items():
        for oldest_first in (False, True):
            taken = []
            for _ in range(READS):
                begin = time.perf_counter()
                with database.transaction() as session:
                    list_jobs(session, PROJECT, wanted, 51, oldest_first=oldest_first)
                taken.append((time.perf_counter() - begin) * 1000)
            order = "oldest first" if oldest_first else "newest first"
            figures = f"{statistics.median(taken):.1f} / {max(taken):.1f} ms"
            table.add_row(name, order, figures, index_of(database, wanted, oldest_first))


def index_of(database: Database, wanted: JobFilters, oldest_first: bool) -> str:
    """Names of the indexes in the plan of the statement that is sent."""
    caught: list[Sequence[Any]] = []
    listener = ("before_cursor_execute", lambda *arguments: caught.append(arguments[2:4]))
    event.listen(database.engine, *listener)
    with database.transaction() as session:
        list_jobs(session, PROJECT, wanted, 51, oldest_first=oldest_first)
    event.remove(database.engine, *listener)
    statement, parameters = caught[-1]
    with database.engine.connect() as connection:
        plan = "\n".join(row[0] for row in connection.exec_driver_sql(f"explain {statement}", parameters))
    return ", ".join(re.findall(r"Index.*?(?:using|Scan on) (\w+)", plan)) or "none"


def main() -> int:
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else ROWS
    written = Table("what", "time", "files", "resident a third of the way / most", title=f"exports, {rows:,} jobs")
    listed = Table("filter", "order", "median / most", "indexes", title=f"first pages of {rows:,} jobs")
    with installation() as (database, bucket):
        begin = time.perf_counter()
        settle_jobs(database, rows)
        console.print(f"{rows:,} jobs made in {time.perf_counter() - begin:.0f} s")
        listing(database, listed)
        Console(width=140).print(listed)
        exporting(database, bucket, written, Rows.JOBS)
        add_frames(database, max(1, rows // FRAMES_OF_A_JOB), FRAMES_OF_A_JOB)
        exporting(database, bucket, written, Rows.FRAMES)
        with database.transaction() as session:
            size = session.scalar(text("select pg_size_pretty(pg_database_size(current_database()))"))
    written.caption = f"database of {size}, {os.cpu_count()} cores"
    Console(width=140).print(written)
    return 0


if __name__ == "__main__":
    sys.exit(main())
