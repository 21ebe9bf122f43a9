"""Rows by the million: queued jobs straight into their tables, and a manifest of as many lines in the bucket."""

from __future__ import annotations

from sqlalchemy import text

from styleflow.database import Database
from styleflow.storage.local import LocalBucket

LINES_AT_ONCE = 100_000

_JOBS = text(
    "insert into jobs (id, project_id, state, lane, run_at, source, model, options, tags, metadata, max_attempts,"
    " event_sequence, client_ref, created_at, expires_at)"
    " select 'job_' || lpad(n::text, 26, '0'), :project, 'queued', 'bulk', now() - interval '1 hour',"
    " jsonb_build_object('type', 's3', 'bucket', 'videos', 'key', '2026/11/clip-' || n || '.mp4'),"
    " 'styleflow@default', '{}', '{}', '{}', 5, 1, 'post-' || n,"
    " now() - interval '1 hour' + n * interval '1 millisecond', now() + interval '400 days'"
    " from generate_series(cast(:first as bigint), cast(:last as bigint)) as n"
)
_NUDGES = text(
    "insert into outbox (job_id, lane, project_id, run_at)"
    " select 'job_' || lpad(n::text, 26, '0'), 'bulk', :project, now() - interval '1 hour'"
    " from generate_series(cast(:first as bigint), cast(:last as bigint)) as n"
)


def queue_jobs(database: Database, project_id: str, rows: int) -> None:
    """`rows` queued jobs of one project in the lane `bulk`, each with its nudge, as if accepted in the last hour."""
    for first in range(1, rows + 1, LINES_AT_ONCE):
        span = {"project": project_id, "first": first, "last": min(rows, first + LINES_AT_ONCE - 1)}
        with database.transaction() as session:
            session.execute(_JOBS, span)
            session.execute(_NUDGES, span)
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("analyze"))


def write_manifest(bucket: LocalBucket, key: str, lines: int) -> None:
    """JSON lines that name one object each, none twice."""
    data = "".join(f'{{"bucket":"{bucket.name}","key":"2026/11/clip-{number:09}.mp4"}}\n' for number in range(lines))
    bucket.put(key, data.encode(), "application/x-ndjson")
