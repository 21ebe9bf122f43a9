from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from styleflow.jobs.open_multiparts import MultipartReaper
from styleflow.storage.keys import upload_key
from styleflow.storage.local import LocalBucket
from styleflow.tables import UploadRow
from tests.jobs.desk import PROJECT, Desk


@pytest.fixture
def bucket(tmp_path: Path) -> LocalBucket:
    return LocalBucket(tmp_path / "bucket")


def begin(tmp_path: Path, bucket: LocalBucket, upload_id: str, *, age: float = 2 * 3600.0) -> str:
    multipart_id = bucket.multiparts.begin(upload_key(PROJECT, upload_id), "video/mp4")
    moment = time.time() - age
    os.utime(tmp_path / "bucket" / ".parts" / multipart_id / "key", (moment, moment))
    return multipart_id


def announce(desk: Desk, upload_id: str, multipart_id: str, *, state: str = "pending", hours: int = 1) -> None:
    row = UploadRow(id=upload_id, project_id=PROJECT, state=state, filename="a", content_type="a/b", size_bytes=1)
    row.key, row.multipart_id, row.expires_at = upload_key(PROJECT, upload_id), multipart_id, desk.now()
    desk.do(lambda session: session.add(row))
    desk.sql(f"update uploads set expires_at = now() + interval '{hours} hours' where id = :id", id=upload_id)


def still_open(bucket: LocalBucket) -> set[str]:
    return {found.multipart_id for found in bucket.multiparts.list_open("")}


def test_what_a_pending_upload_names_stays_and_what_none_names_goes_after_an_hour(
    desk: Desk, bucket: LocalBucket, tmp_path: Path
) -> None:
    wanted = begin(tmp_path, bucket, "upl_wanted")
    announce(desk, "upl_wanted", wanted)
    young = begin(tmp_path, bucket, "upl_young", age=60.0)
    begin(tmp_path, bucket, "upl_gone")
    begin(tmp_path, bucket, "upl_wanted")
    expired, complete = begin(tmp_path, bucket, "upl_expired"), begin(tmp_path, bucket, "upl_complete")
    announce(desk, "upl_expired", expired, hours=-1)
    announce(desk, "upl_complete", complete, state="complete")
    foreign = bucket.multiparts.begin("ugc/a.mp4", "video/mp4")
    reaper = MultipartReaper(desk.database, bucket)

    assert (reaper.reap(), reaper.reap()) == (4, 0)

    assert still_open(bucket) == {wanted, young, foreign}
