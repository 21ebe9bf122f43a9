"""Short ways to have rows exported and to read the files back, on one real database and a local bucket."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass, replace
from typing import Any

from pyarrow import BufferReader, parquet
from sqlalchemy import text

from styleflow.errors import CorruptMedia
from styleflow.export_tables import ExportFileRow, ExportRow
from styleflow.exports import queries
from styleflow.exports.columns import chosen
from styleflow.exports.exporter import Exporter, files_of
from styleflow.exports.state import Format, Rows
from styleflow.jobs import progress
from styleflow.report import VideoReport
from styleflow.storage.bucket import Bucket
from styleflow.webhook_tables import EventRow
from tests.jobs.desk import PROJECT, Desk
from tests.jobs.reports import scored_report, track


@dataclass
class Copyroom:
    """Exports of one project."""

    desk: Desk
    bucket: Bucket

    def succeed(self, report: VideoReport | None = None, **changes: Any) -> str:
        held = self.desk.running(**changes)
        report = report or scored_report()
        self.desk.do(progress.succeed, held.job_id, held.token, report, f"evidence/{held.job_id}")
        return held.job_id

    def fail(self, **changes: Any) -> str:
        held = self.desk.running(**changes)
        self.desk.do(progress.fail, held.job_id, held.token, CorruptMedia())
        return held.job_id

    def queue(self, count: int, **values: Any) -> list[str]:
        """Many jobs in one statement, of which every third was accepted in the same moment as the one before."""
        with self.desk.database.transaction() as session:
            rows = session.scalars(
                text(
                    "insert into jobs (id, project_id, state, lane, source, model, options, tags, metadata,"
                    " max_attempts, client_ref, created_at)"
                    " select 'job_' || lpad(n::text, 26, '0'), :project, 'queued', 'bulk',"
                    " jsonb_build_object('type', 'url', 'url', 'https://a/b'), 'm', '{}',"
                    " cast(:tags as jsonb), '{}', 5,"
                    " 'post-' || n, now() - interval '1 day' + (n - n / 3) * interval '1 millisecond'"
                    " from generate_series(1, :count) as n returning id"
                ),
                {"project": PROJECT, "count": count, "tags": json.dumps(values.get("tags", {}))},
            )
            return sorted(rows)

    def create(self, format: Format = Format.JSONL, rows: Rows = Rows.JOBS, **changes: Any) -> str:
        values: dict[str, Any] = {
            "project_id": PROJECT,
            "rows": rows,
            "format": format,
            "fields": [column.name for column in chosen(rows, changes.pop("fields", None))],
            "csv_safe": True,
            "query": {},
            "destination": None,
            "request_id": None,
            "keep_days": 7.0,
        }
        new = queries.NewExport(**{**values, **changes})
        identity: str = self.desk.do(lambda session: queries.create(session, new).id)
        return identity

    def exporter(self, **changes: Any) -> Exporter:
        values = {"database": self.desk.database, "bucket": self.bucket, "owner": "test"}
        return Exporter(**{**values, "bucket_named": lambda project, name: self.bucket, **changes})

    def write(self, **changes: Any) -> None:
        exporter = self.exporter(**changes)
        while exporter.export_once():
            pass

    def export(self, export_id: str) -> ExportRow:
        with self.desk.database.transaction() as session:
            return session.get_one(ExportRow, export_id)

    def files(self, export_id: str) -> list[ExportFileRow]:
        found: list[ExportFileRow] = self.desk.do(files_of, export_id)
        return found

    def bytes_of(self, key: str) -> bytes:
        with self.bucket.open(key) as chunks:
            return b"".join(chunks)

    def rows(self, export_id: str) -> list[dict[str, Any]]:
        """Of all files in their order, in whichever form they are."""
        format = self.export(export_id).format
        return [row for file in self.files(export_id) for row in read_rows(format, self.bytes_of(file.key))]

    def exported(self, **changes: Any) -> list[dict[str, Any]]:
        export = self.create(**changes)
        self.write()
        assert self.export(export).state == "succeeded", self.export(export).error
        return self.rows(export)

    def manifest(self, export_id: str) -> dict[str, Any]:
        stored = self.export(export_id).manifest
        assert stored is not None
        found: dict[str, Any] = json.loads(self.bytes_of(stored["key"]))
        return found

    def events(self, type: str) -> list[dict[str, Any]]:
        with self.desk.database.transaction() as session:
            rows = session.query(EventRow).filter_by(type=type).all()
            return [json.loads(row.body)["data"] for row in rows]

    def expire_lease(self, export_id: str) -> None:
        self.desk.sql("update exports set lease_expires_at = now() where id = :id", id=export_id)

    def objects(self) -> list[str]:
        return sorted(found.key for found in self.bucket.list("exports/"))


def read_rows(format: str, data: bytes) -> list[dict[str, Any]]:
    match format:
        case Format.CSV:
            return list(csv.DictReader(io.StringIO(data.decode(), newline="")))
        case Format.JSONL:
            return [json.loads(line) for line in data.splitlines()]
        case _:
            rows: list[dict[str, Any]] = parquet.read_table(BufferReader(data)).to_pylist()
            return rows


def spotted(*scores: float | None) -> VideoReport:
    """A face with these scores, 25 frames a second."""
    one = track(len(scores))
    return replace(scored_report(), tracks=(replace(one, frames=replace(one.frames, score=scores)),))


STRETCHES = spotted(*[0.9] * 10, *[0.1] * 20, *[0.55] * 5, *[0.75] * 5, None, *[0.65] * 3)
