"""From rows to files: whatever dies on the way, each row is there once."""

from __future__ import annotations

import hashlib
import json
import random
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from styleflow.errors import NotFound, NotRetryable, QuotaExceeded, SourceForbidden, StorageUnavailable
from styleflow.exports import exporter, queries
from styleflow.exports.exporter import Held
from styleflow.exports.state import MAX_TRIES, Format, Rows
from styleflow.jobs import erasures
from styleflow.storage.local import LocalBucket
from styleflow.webhook_tables import DeliveryRow, EventRow, WebhookEndpointRow
from tests.exports.copyroom import STRETCHES, Copyroom
from tests.jobs.desk import PROJECT


@pytest.mark.parametrize("format", Format)
def test_an_export_is_written_with_a_manifest_that_checks_its_files(room: Copyroom, format: Format) -> None:
    jobs = [room.succeed(client_ref="post-1"), room.fail(), room.desk.submit()]
    export = room.create(format)
    room.write()

    row = room.export(export)
    assert (row.state, row.row_count, row.file_count) == ("succeeded", 3, 1)
    assert [found["job_id"] for found in room.rows(export)] == jobs
    manifest = room.manifest(export)
    [file] = manifest["files"]
    data = room.bytes_of(file["key"])
    assert (file["sha256"], file["size_bytes"]) == (hashlib.sha256(data).hexdigest(), len(data))
    assert (file["name"], file["rows"]) == (f"part-00001.{format}", 3)
    assert manifest["counts"] == {"rows": 3, "files": 1, "bytes": len(data)}
    assert [column["name"] for column in manifest["schema"]] == row.fields


def test_the_end_is_told_to_whoever_subscribed_and_holds_no_address_of_a_file(room: Copyroom) -> None:
    for identity, events in {"whe_1": ["export.*"], "whe_2": ["export.failed"], "whe_3": ["job.*"]}.items():
        row = WebhookEndpointRow(
            id=identity, project_id=PROJECT, url="https://a", events=events, description="", state="active",
            secret_encrypted=b"x",
        )  # fmt: skip
        room.desk.do(lambda session, row=row: session.add(row))
    export = room.create()
    room.write()

    with room.desk.database.transaction() as session:
        [event] = session.scalars(select(EventRow).filter_by(type="export.ready")).all()
        told = session.scalars(select(DeliveryRow.endpoint_id).filter_by(event_id=event.id)).all()
    assert told == ["whe_1"]
    data = json.loads(event.body)["data"]
    assert (data["export_id"], data["counts"]["files"], data["links"]) == (
        export,
        1,
        {"self": f"/v1/exports/{export}"},
    )
    assert event.job_id is None


def test_large_exports_are_cut_into_files_in_order(room: Copyroom, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("styleflow.exports.selection.JOBS_AT_ONCE", 10)
    jobs = room.queue(95)
    export = room.create()
    room.write(file_rows=30, turn_seconds=0.0)

    assert [file.row_count for file in room.files(export)] == [30, 30, 30, 5]
    assert [row["job_id"] for row in room.rows(export)] == jobs
    room.desk.sql("delete from exports")
    export = room.create()
    room.write(file_bytes=10_000)
    assert len(room.files(export)) > 2
    assert [row["job_id"] for row in room.rows(export)] == jobs


@pytest.mark.parametrize("format", Format)
def test_an_export_of_nothing_is_one_file_without_rows(room: Copyroom, format: Format) -> None:
    export = room.create(format, query={"state": "failed"})
    room.write()

    assert (room.export(export).state, room.rows(export)) == ("succeeded", [])
    assert [file.row_count for file in room.files(export)] == [0]


def test_what_is_accepted_later_is_not_in_it(room: Copyroom) -> None:
    before = room.desk.submit()
    export = room.create()
    room.desk.submit()
    room.write()

    assert [row["job_id"] for row in room.rows(export)] == [before]


class Killed(BaseException):
    """The process died here."""


@pytest.mark.parametrize("rows", [Rows.JOBS, Rows.FRAMES])
def test_an_export_killed_anywhere_has_every_row_once(
    room: Copyroom, monkeypatch: pytest.MonkeyPatch, rows: Rows
) -> None:
    """Before its file is stored, between that and its record, after the record, before the end: by chance."""
    monkeypatch.setattr("styleflow.exports.selection.JOBS_AT_ONCE", 3)
    monkeypatch.setattr("styleflow.exports.selection.TRACKS_AT_ONCE", 3)
    wanted: list[Any] = room.queue(40) if rows is Rows.JOBS else [room.succeed() for _ in range(20)]
    chance = random.Random(5)
    put = type(room.bucket).put

    def dying(*arguments: Any, **options: Any) -> Any:
        if chance.random() < 0.3:
            raise Killed
        facts = put(*arguments, **options)
        if chance.random() < 0.3:
            raise Killed
        return facts

    monkeypatch.setattr(type(room.bucket), "put", dying)
    export = room.create(rows=rows)
    deaths = 0
    while room.export(export).finished_at is None:
        try:
            room.exporter(file_rows=5, turn_seconds=chance.choice([0.0, 5.0])).export_once()
        except Killed:
            deaths += 1
            room.expire_lease(export)

    assert deaths > 3
    assert room.export(export).state == "succeeded"
    found = [row["job_id"] for row in room.rows(export)]
    assert found == (wanted if rows is Rows.JOBS else [job for job in wanted for _ in range(3)])
    assert room.objects() == sorted(
        [file.key for file in room.files(export)] + [str((room.export(export).manifest or {})["key"])]
    )
    assert len(room.events("export.ready")) == 1


class Freezing(exporter.Exporter):
    """Stands still with its first file written and not yet stored, until somebody else has done all of it."""

    def _guarded(self, statement: Any, held: Held, **values: Any) -> None:
        super()._guarded(statement, held, **values)
        if THAW:
            THAW.pop()()


THAW: list[Any] = []


def test_who_lost_the_lease_records_nothing_and_its_objects_are_found(room: Copyroom) -> None:
    jobs = room.queue(12)
    export = room.create()

    def overtaken() -> None:
        room.expire_lease(export)
        room.write(file_rows=5)

    THAW.append(overtaken)
    ordinary = room.exporter()
    Freezing(
        database=ordinary.database, bucket=room.bucket, bucket_named=ordinary.bucket_named, owner="frozen"
    ).export_once()

    assert not THAW
    assert [row["job_id"] for row in room.rows(export)] == jobs
    assert len(room.events("export.ready")) == 1
    assert {key.split("/")[3] for key in room.objects() if "part-" in key} == {"1", "2"}, "it stored after the sweep"


def test_a_held_export_is_left_to_its_holder(room: Copyroom) -> None:
    export = room.create()
    room.desk.sql("update exports set lease_expires_at = now() + interval '1 minute' where id = :id", id=export)

    assert room.exporter().export_once() == 0


def test_exports_take_turns(room: Copyroom, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("styleflow.exports.selection.JOBS_AT_ONCE", 5)
    room.queue(12)
    first, second = room.create(), room.create()
    worker = room.exporter(file_rows=5, turn_seconds=0.0)

    worker.export_once()
    worker.export_once()

    assert (room.export(first).file_count, room.export(second).file_count) == (1, 1)


def test_a_canceled_export_stops_at_its_next_file(room: Copyroom, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("styleflow.exports.selection.JOBS_AT_ONCE", 2)
    room.queue(12)
    export = room.create()
    room.exporter(file_rows=2, turn_seconds=0.0).export_once()
    room.desk.do(queries.cancel, PROJECT, export)
    room.write()

    assert (room.export(export).state, room.export(export).file_count) == ("canceled", 1)
    assert room.events("export.ready") == room.events("export.failed") == []
    assert room.desk.do(queries.cancel, PROJECT, export).state == "canceled"


def test_a_store_that_does_not_answer_is_asked_again_and_in_the_end_no_more(
    room: Copyroom, monkeypatch: pytest.MonkeyPatch
) -> None:
    room.queue(3)
    export = room.create()

    def down(*arguments: Any, **options: Any) -> Any:
        raise StorageUnavailable

    with monkeypatch.context() as away:
        away.setattr(type(room.bucket), "put", down)
        with pytest.raises(StorageUnavailable):
            room.exporter().export_once()
        assert room.exporter().export_once() == 0, "it waits"
        room.expire_lease(export)
        for _ in range(MAX_TRIES - 1):
            with pytest.raises(StorageUnavailable):
                room.exporter().export_once()
            room.desk.sql("update exports set lease_expires_at = now() where finished_at is null")

    row = room.export(export)
    assert (row.state, (row.error or {})["code"]) == ("failed", "storage_unavailable")
    assert [event["error"]["code"] for event in room.events("export.failed")] == ["storage_unavailable"]


def test_an_export_that_takes_its_process_down_every_time_ends(room: Copyroom) -> None:
    export = room.create()
    room.desk.sql("update exports set tries = :tries", tries=MAX_TRIES)
    room.write()

    row = room.export(export)
    assert (row.state, (row.error or {})["code"]) == ("failed", "worker_lost")


def test_a_bucket_that_refuses_us_and_a_row_that_cannot_be_written_fail_that_export_only(
    room: Copyroom, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*arguments: Any, **options: Any) -> Any:
        raise SourceForbidden

    def broken(*arguments: Any, **options: Any) -> Any:
        raise ValueError("nobody thought of this row")

    codes = []
    for name, act in {"styleflow.storage.local.LocalBucket.put": refused,
                      "styleflow.exports.writing.LineSheet.write": broken}.items():  # fmt: skip
        room.desk.submit()
        export = room.create()
        with monkeypatch.context() as patched:
            patched.setattr(name, act)
            room.write()
        codes.append((room.export(export).error or {})["code"])
    assert codes == ["source_forbidden", "internal"]


def test_a_process_that_is_to_end_gives_the_export_back_at_once_and_uncounted(
    room: Copyroom, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("styleflow.exports.selection.JOBS_AT_ONCE", 2)
    jobs = room.queue(10)
    export = room.create()
    looks = iter([False, False, True])
    room.exporter(stopping=lambda: next(looks)).export_once()

    row = room.export(export)
    assert (row.state, row.lease_expires_at, row.tries, row.file_count) == ("running", None, 0, 0)
    assert room.objects() == []
    room.write()
    assert [found["job_id"] for found in room.rows(export)] == jobs


def test_the_lease_is_renewed_while_a_long_file_is_written(room: Copyroom, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("styleflow.exports.selection.JOBS_AT_ONCE", 1)
    room.queue(4)
    export = room.create()
    ends = []
    real = exporter.read_chunk

    def watched(*arguments: Any) -> Any:
        ends.append(room.export(export).lease_expires_at)
        return real(*arguments)

    monkeypatch.setattr(exporter, "read_chunk", watched)
    room.exporter(lease_seconds=0.004).export_once()
    assert len(set(ends)) > 2


def test_files_go_into_the_callers_own_bucket_when_asked(room: Copyroom, tmp_path: Path) -> None:
    room.queue(3)
    theirs = LocalBucket(tmp_path / "acme")
    export = room.create(destination={"bucket": "acme", "prefix": "out/"})
    room.write(bucket_named=lambda project, name: theirs)

    keys = sorted(found.key for found in theirs.list(""))
    assert keys == [f"out/{export}/1/manifest.json", f"out/{export}/1/part-00001.jsonl"]
    assert room.objects() == []


def test_erased_jobs_are_in_no_later_export(room: Copyroom) -> None:
    gone, kept = room.succeed(STRETCHES), room.succeed(STRETCHES)
    room.desk.do(erasures.order_job, PROJECT, gone, "key_1")

    for rows in Rows:
        assert {row["job_id"] for row in room.exported(rows=rows)} == {kept}


def test_other_projects_neither_see_nor_own_anything_of_it(room: Copyroom) -> None:
    room.desk.sql("insert into projects (id, name) values ('prj_other', 'other')")
    room.desk.submit(project_id="prj_other")
    export = room.create()
    room.write()

    assert room.rows(export) == []
    for act in (queries.get_export, queries.cancel, queries.finished):
        with pytest.raises(NotFound):
            room.desk.do(act, "prj_other", export)
    with pytest.raises(NotFound):
        room.create(query={"batch_id": "bat_other"})


def test_what_is_under_way_is_not_deleted_and_not_endlessly_many_are(room: Copyroom) -> None:
    exports = [room.create() for _ in range(queries.MAX_OPEN)]
    with pytest.raises(NotRetryable):
        room.desk.do(queries.finished, PROJECT, exports[0])
    with pytest.raises(QuotaExceeded):
        room.create()
