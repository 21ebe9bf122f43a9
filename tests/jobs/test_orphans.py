from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from styleflow.errors import StorageUnavailable
from styleflow.jobs import progress
from styleflow.jobs.orphans import OrphanReaper
from styleflow.storage.keys import crop_key, report_key, upload_key
from styleflow.storage.local import LocalBucket
from styleflow.tables import UploadRow
from tests.jobs.desk import PROJECT, Desk
from tests.jobs.reports import crop, scored_report

DAY = 24 * 3600.0


@pytest.fixture
def bucket(tmp_path: Path) -> LocalBucket:
    return LocalBucket(tmp_path / "bucket")


def store(tmp_path: Path, bucket: LocalBucket, key: str, *, age: float = DAY + 60) -> str:
    bucket.put(key, b"x", "application/json")
    moment = time.time() - age
    os.utime(tmp_path / "bucket" / key, (moment, moment))
    return key


def lying(bucket: LocalBucket) -> set[str]:
    return {found.key for found in bucket.list("")}


def test_what_no_row_names_goes_after_a_day_and_what_one_names_stays(
    desk: Desk, bucket: LocalBucket, tmp_path: Path
) -> None:
    lost = desk.running()
    desk.expire_lease(lost.job_id)
    won = desk.claim(lost.job_id)
    result = store(tmp_path, bucket, report_key(won.job_id, won.token))
    desk.do(progress.succeed, won.job_id, won.token, scored_report(), result)
    upload = store(tmp_path, bucket, upload_key(PROJECT, "upl_1"))
    row = UploadRow(id="upl_1", project_id=PROJECT, state="pending", filename="a", content_type="a/b", size_bytes=1)
    row.key, row.expires_at = upload, desk.now()
    desk.do(lambda session: session.add(row))
    young = store(tmp_path, bucket, report_key(won.job_id, 7), age=DAY - 60)
    elsewhere = store(tmp_path, bucket, "ugc/a.mp4")
    for orphan in (report_key(won.job_id, lost.token), report_key("job_gone", 1), upload_key(PROJECT, "upl_gone")):
        store(tmp_path, bucket, orphan)

    reaper = OrphanReaper(desk.database, bucket)

    assert reaper.reap() == 3
    assert lying(bucket) == {result, upload, young, elsewhere}
    assert reaper.reap() == 0


def test_crops_that_no_result_names_go_after_a_day(desk: Desk, bucket: LocalBucket, tmp_path: Path) -> None:
    lost = desk.running()
    desk.expire_lease(lost.job_id)
    won = desk.claim(lost.job_id)
    pictured = replace(scored_report(), crops=(crop(1), crop(2)))
    desk.do(progress.succeed, won.job_id, won.token, pictured, report_key(won.job_id, won.token))
    named = {store(tmp_path, bucket, crop_key(won.job_id, won.token, f"crop-{number}")) for number in (1, 2)}
    young = store(tmp_path, bucket, crop_key(won.job_id, lost.token, "crop-1"), age=DAY - 60)
    for orphan in (
        crop_key(won.job_id, lost.token, "crop-2"),
        crop_key(won.job_id, won.token, "crop-3"),
        crop_key("job_gone", 1, "crop-1"),
        "crops/stray",
    ):
        store(tmp_path, bucket, orphan)

    assert OrphanReaper(desk.database, bucket).reap() == 4
    assert lying(bucket) == {*named, young}


def test_one_call_looks_at_a_piece_and_the_next_goes_on_behind_it(
    desk: Desk, bucket: LocalBucket, tmp_path: Path
) -> None:
    for number in range(5):
        store(tmp_path, bucket, report_key("job_gone", number), age=0 if number % 2 else DAY + 60)
    reaper = OrphanReaper(desk.database, bucket)

    deleted = [reaper.reap(limit=2) for _ in range(3)]

    assert sum(deleted) == 3
    assert max(deleted) <= 2
    assert len(lying(bucket)) == 2


def test_after_a_walk_that_broke_off_the_next_call_begins_anew(
    desk: Desk, bucket: LocalBucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store(tmp_path, bucket, report_key("job_gone", 1))
    reaper = OrphanReaper(desk.database, bucket)

    def unavailable(prefix: str) -> None:
        raise StorageUnavailable

    with monkeypatch.context() as patch:
        patch.setattr(bucket, "list", unavailable)
        with pytest.raises(StorageUnavailable):
            reaper.reap()

    assert reaper.reap() == 1
