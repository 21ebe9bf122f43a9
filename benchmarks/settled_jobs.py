"""Settled jobs by the million, straight into their tables: of ten, seven scored, one without a face, one undecided, one
failed. Rare things are rare: every ten-thousandth is `strong` and has the tag `queue: rare`."""

from __future__ import annotations

from sqlalchemy import text

from styleflow.database import Database
from styleflow.tables import ProjectRow

PROJECT = "prj_benchmark"
AT_ONCE = 100_000

_JOBS = text(
    """
    insert into jobs (id, project_id, state, lane, run_at, batch_id, batch_position, source, model, options,
        client_ref, tags, metadata, max_attempts, attempt, outcome, reason, verdict, score, probability, media,
        pipeline, error, event_sequence, created_at, started_at, finished_at, expires_at)
    select 'job_' || lpad(n::text, 26, '0'), :project, case kind when 9 then 'failed' else 'succeeded' end, 'bulk', at,
        'bat_' || n % 100, n,
        jsonb_build_object('type', 's3', 'bucket', 'videos', 'key', '2026/11/clip-' || n || '.mp4'),
        'styleflow@default', '{}', 'post-' || n,
        jsonb_build_object('queue', case when rare then 'rare' when n % 2 = 0 then 'politics' else 'sport' end),
        jsonb_build_object('uploader', 'u_' || n % 1000), 5, 1,
        case when kind < 7 then 'scored' when kind = 7 then 'not_applicable' when kind = 8 then 'inconclusive' end,
        case kind when 7 then 'no_face' when 8 then 'coverage_too_thin' end,
        case when rare then 'strong' when kind = 0 then 'weak' when kind < 7 then 'no_evidence' end,
        case when kind < 7 then ln((n % 997 + 1) / 998.0) end, case when kind < 7 then (n % 997) / 997.0 end,
        case when kind < 9 then jsonb_build_object('container', 'mov,mp4', 'codec', 'h264', 'width', 1280,
            'height', 720, 'duration_seconds_from_header', 12.5, 'size_bytes', 4500000 + n,
            'sha256', md5(n::text) || md5((n + 1)::text)) end,
        case when kind < 9 then jsonb_build_object('pack', 'compact', 'pack_version', '1',
            'pack_sha256', md5('p') || md5('q'), 'scoring_sha256', md5('s') || md5('t'), 'code_version', '0.1.0',
            'device', 'cpu', 'precision', 'float32') end,
        case when kind = 9 then jsonb_build_object('code', 'corrupt_media', 'message', 'It breaks off.') end,
        3, at, at + interval '1 minute', at + interval '2 minutes', at + interval '400 days'
    from (select n, n % 10 as kind, n % 10000 = 5 as rare,
        now() - interval '30 days' + n * interval '2 seconds' as at
        from generate_series(cast(:first as bigint), cast(:last as bigint)) as n) as made
    """
)
_RESULTS = text(
    """
    insert into results (job_id, token, report, report_key)
    select 'job_' || lpad(n::text, 26, '0'), 1,
        jsonb_build_object('outcome', 'scored', 'thresholds', jsonb_build_object('policy', 'default', 'weak', 0.3),
            'tracks', '[]'::jsonb, 'pooling', 'max_track_mean', 'timing_ms', jsonb_build_object('decode', 100)),
        'evidence/' || n
    from generate_series(cast(:first as bigint), cast(:last as bigint)) as n where n % 10 < 7
    """
)
_TRACKS = text(
    """
    insert into tracks (job_id, track_id, position, summary, frame_index, time_seconds, box, detection_confidence,
        score, flow_coarse, flow_middle, flow_fine, attention)
    select 'job_' || lpad(n::text, 26, '0'), 'trk_0', 0, jsonb_build_object('clips', '[]'::jsonb),
        f.i, f.t, f.b, f.s, f.s, f.s, f.s, f.s, f.s
    from (select array_agg(i::int) as i, array_agg(i / 25.0::float8) as t, array_agg((i % 97 / 97.0)::real) as s,
        (select array_agg((e % 640)::real) from generate_series(1, 4 * cast(:frames as bigint)) as e) as b
        from generate_series(0, cast(:frames as bigint) - 1) as i) as f,
        generate_series(cast(:first as bigint), cast(:last as bigint)) as n
    """
)


def settle_jobs(database: Database, rows: int) -> None:
    """Job number n was accepted 2 n seconds after a moment a month ago, in batch n mod 100."""
    with database.transaction() as session:
        session.add(ProjectRow(id=PROJECT, name="benchmark"))
    for first in range(1, rows + 1, AT_ONCE):
        span = {"project": PROJECT, "first": first, "last": min(rows, first + AT_ONCE - 1)}
        with database.transaction() as session:
            session.execute(_JOBS, span)
            session.execute(_RESULTS, span)
    analyze(database)


def add_frames(database: Database, jobs: int, frames: int) -> None:
    """One track of so many frames for each of the first jobs."""
    with database.transaction() as session:
        session.execute(_TRACKS, {"first": 1, "last": jobs, "frames": frames})
    analyze(database)


def analyze(database: Database) -> None:
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("vacuum analyze"))
