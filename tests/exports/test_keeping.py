"""What is deleted of exports, and when."""

from __future__ import annotations

import os
from typing import Any

import pytest

from styleflow.exports import keeping, queries
from styleflow.exports.keeping import ExportReaper, forget_export, sweep_expired, sweep_fruitless
from styleflow.storage.local import LocalBucket
from tests.exports.copyroom import Copyroom
from tests.jobs.desk import PROJECT


def swept(room: Copyroom, sweep: Any) -> int:
    done: int = room.desk.do(sweep, room.bucket)
    return done


def test_an_export_goes_with_its_files_when_its_time_has_come(room: Copyroom) -> None:
    export, young = room.create(), room.create()
    room.write()
    assert swept(room, sweep_expired) == 0
    room.desk.sql("update exports set expires_at = now() - interval '1 second' where id = :id", id=export)

    assert (swept(room, sweep_expired), swept(room, sweep_expired)) == (1, 0)
    assert {key.split("/")[2] for key in room.objects()} == {young}
    assert len(room.files(young)) == 1
    assert room.files(export) == []


def test_its_time_counts_from_its_end(room: Copyroom) -> None:
    export = room.create(keep_days=2.0)
    room.desk.sql("update exports set created_at = now() - interval '10 days', expires_at = now() - interval '8 days'")
    assert swept(room, sweep_expired) == 0, "it is still to be written"
    room.write()

    row = room.export(export)
    assert row.finished_at is not None
    assert (row.expires_at - row.finished_at).days == 2
    assert swept(room, sweep_expired) == 0


def test_what_came_to_nothing_keeps_its_row_and_none_of_its_files(
    room: Copyroom, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("styleflow.exports.selection.JOBS_AT_ONCE", 2)
    room.queue(6)
    export = room.create()
    room.exporter(file_rows=2, turn_seconds=0.0).export_once()
    assert swept(room, sweep_fruitless) == 0, "it goes on"
    room.desk.do(queries.cancel, PROJECT, export)

    assert (swept(room, sweep_fruitless), swept(room, sweep_fruitless)) == (1, 0)
    assert (room.objects(), room.files(export), room.export(export).state) == ([], [], "canceled")


def test_files_in_the_callers_bucket_stay(room: Copyroom, tmp_path: Any) -> None:
    theirs = LocalBucket(tmp_path / "acme")
    export = room.create(destination={"bucket": "acme", "prefix": ""})
    room.write(bucket_named=lambda project, name: theirs)
    room.desk.do(lambda session: forget_export(session, room.bucket, queries.finished(session, PROJECT, export)))

    assert len(list(theirs.list(""))) == 2


def test_what_no_row_names_is_reaped_after_a_day(room: Copyroom) -> None:
    export = room.create()
    room.write()
    named = room.objects()
    orphans = [
        f"exports/{PROJECT}/{export}/9/part-00001.jsonl",
        f"exports/{PROJECT}/exp_gone/1/manifest.json",
        "exports/x",
    ]
    for key in orphans:
        room.bucket.put(key, b"late", "text/plain")
    reaper = ExportReaper(room.desk.database, room.bucket)
    assert reaper.reap() == 0, "they are young"
    for key in [*named, *orphans]:
        os.utime(room.bucket._root / key, (0, 0))  # type: ignore[attr-defined]

    assert sum(reaper.reap(limit=2) for _ in range(4)) == 3
    assert room.objects() == named
    assert keeping.GRACE.days == 1
