"""How fast is a batch's list read into items, fed into jobs, counted and paged?

Run with `python -m benchmarks.batch_expansion [LINES]` in a checkout with the extras service and embedded; 100,000
lines when it is not said. One process, a private PostgreSQL that syncs to disk, manifests in a local bucket.
Each figure is of a whole run; reading is timed beside it without a database, so that one sees which half is slow.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.table import Table

from benchmarks.homes import temporary_home
from migrations.upgrade import upgrade
from styleflow.batches import queries
from styleflow.batches.expansion import Expander
from styleflow.batches.feeding import Feeder
from styleflow.batches.items import Rules
from styleflow.batches.listing import Shelves, entries
from styleflow.database import Database
from styleflow.embedded import start_postgres
from styleflow.jobs import batch_counts
from styleflow.storage.local import LocalBucket
from styleflow.tables import ProjectRow

LINES = 100_000
FED = 5_000
READS = 200
PROJECT = "prj_benchmark"
TEMPLATE = {
    "model": "styleflow@default",
    "lane": "bulk",
    "options": {},
    "tags": {},
    "metadata": {},
    "callback_endpoint_id": None,
}
WRITERS = {
    "jsonl": lambda number: (
        f'{{"bucket":"videos","key":"2026/11/clip-{number:09}.mp4","client_ref":"post-{number}"}}\n'
    ),
    "csv": lambda number: f"videos,2026/11/clip-{number:09}.mp4,post-{number}\n",
}


@contextmanager
def installation() -> Iterator[tuple[Database, LocalBucket]]:
    with temporary_home() as folder:
        server = start_postgres(folder, options={"max_connections": "20"})
        try:
            upgrade(server.url)
            database = Database(server.url)
            with database.transaction() as session:
                session.add(ProjectRow(id=PROJECT, name="benchmark"))
            yield database, LocalBucket(folder / "bucket")
            database.close()
        finally:
            server.stop()


def write_manifest(bucket: LocalBucket, format: str, lines: int) -> dict[str, str]:
    header = "bucket,key,client_ref\n" if format == "csv" else ""
    data = header + "".join(WRITERS[format](number) for number in range(lines))
    bucket.put(f"manifests/{format}", data.encode(), "application/x-ndjson")
    return {"type": "manifest", "bucket": bucket.name, "key": f"manifests/{format}", "format": format}


def create(database: Database, source: dict[str, str], in_flight: int = 1) -> str:
    new = queries.NewBatch(
        project_id=PROJECT, name="b", source=source, template=TEMPLATE, max_in_flight=in_flight, keep_days=1
    )
    with database.transaction() as session:
        return queries.create(session, new).id


def timed(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def until_done(step: Callable[[], int]) -> None:
    while step():
        pass


def quantiles(database: Database, read: Callable[..., object]) -> str:
    """p50 and p99 of one read in a transaction of its own."""
    taken = []
    for _ in range(READS):
        with database.transaction() as session:
            taken.append(timed(lambda: read(session)) * 1000)
    cuts = statistics.quantiles(taken, n=100)
    return f"{statistics.median(taken):.1f} / {cuts[98]:.1f} ms"


def main() -> int:
    lines = int(sys.argv[1]) if len(sys.argv) > 1 else LINES
    table = Table("what", "figure", title=f"{lines:,} lines")
    rules = Rules(check_bucket=len, check_url=len, own_bucket="bucket")
    with installation() as (database, bucket):
        shelves = Shelves(bucket_named=lambda _: bucket, rules=rules)
        expander = Expander(database=database, shelves=shelves, owner="benchmark")
        for format in WRITERS:
            source = write_manifest(bucket, format, lines)
            reading = timed(lambda source=source: sum(1 for _ in entries(source, {}, shelves)))  # type: ignore[misc]
            batch = create(database, source, FED)
            whole = timed(lambda: until_done(expander.expand_once))
            table.add_row(f"{format}: read and checked only", f"{lines / reading:,.0f} items/s")
            table.add_row(f"{format}: expanded into rows", f"{lines / whole:,.0f} items/s ({whole:.1f} s)")
            with database.transaction() as session:
                assert queries.counts(session, batch)["listed"] == lines
        feeder = Feeder(database=database, max_queued=10**9, max_attempts=1, keep_days=1)
        fed = timed(lambda: until_done(feeder.feed_once))
        table.add_row("fed into jobs", f"{len(WRITERS) * min(FED, lines) / fed:,.0f} jobs/s")
        table.add_row("counts before folding, p50 / p99", quantiles(database, lambda s: queries.counts(s, batch)))
        with database.transaction() as session:
            until_done(lambda: batch_counts.fold(session))
        table.add_row("counts after folding, p50 / p99", quantiles(database, lambda s: queries.counts(s, batch)))
        middle = lines // 2
        page = lambda state: lambda s: queries.list_items(s, batch, state, 51, middle)  # noqa: E731
        table.add_row("page of items in the middle, p50 / p99", quantiles(database, page(None)))
        table.add_row("page of waiting items in the middle, p50 / p99", quantiles(database, page("listed")))
    Console().print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
