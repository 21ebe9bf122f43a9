from __future__ import annotations

import os
import time
from pathlib import Path
from threading import Barrier, Thread

import pytest

from styleflow.errors import ConfigurationError, InvalidRequest, SourceChanged, SourceNotFound
from styleflow.storage.local import LocalBucket


@pytest.fixture
def bucket(tmp_path: Path) -> LocalBucket:
    return LocalBucket(tmp_path / "bucket")


def read(bucket: LocalBucket, key: str) -> bytes:
    with bucket.open(key) as chunks:
        return b"".join(chunks)


def test_the_folder_s_name_is_the_bucket_s(bucket: LocalBucket) -> None:
    assert bucket.name == "bucket"


def test_a_key_is_the_path_below_the_folder(bucket: LocalBucket, tmp_path: Path) -> None:
    bucket.put("uploads/a", b"1", "video/mp4")

    assert (tmp_path / "bucket" / "uploads" / "a").read_bytes() == b"1"


@pytest.mark.parametrize("key", ["../outside", "a/../../outside", "/etc/passwd", ".scratch/x"])
def test_no_key_leads_out_of_the_folder(bucket: LocalBucket, tmp_path: Path, key: str) -> None:
    (tmp_path / "outside").write_bytes(b"secret")

    with pytest.raises(InvalidRequest):
        bucket.head(key)
    with pytest.raises(InvalidRequest):
        bucket.put(key, b"1", "text/plain")
    assert (tmp_path / "outside").read_bytes() == b"secret"


@pytest.mark.parametrize("prefix", ["../", "/etc/", "a/../../", ".."])
def test_no_prefix_lists_what_lies_outside_the_folder(bucket: LocalBucket, tmp_path: Path, prefix: str) -> None:
    (tmp_path / "outside").write_bytes(b"secret")

    assert list(bucket.list(prefix)) == []


def test_a_symbolic_link_is_not_followed(bucket: LocalBucket, tmp_path: Path) -> None:
    (tmp_path / "outside").write_bytes(b"secret")
    (tmp_path / "bucket" / "link").symlink_to(tmp_path / "outside")

    assert bucket.head("link") is None
    with pytest.raises(SourceNotFound), bucket.open("link"):
        pass


def test_of_many_that_put_if_absent_at_once_one_wins_and_the_object_is_whole(bucket: LocalBucket) -> None:
    barrier, refused = Barrier(6), []

    def put(number: int) -> None:
        barrier.wait()
        try:
            bucket.put("contended", bytes([number]) * 100_000, "text/plain", if_absent=True)
        except SourceChanged:
            refused.append(number)

    threads = [Thread(target=put, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    (winner,) = set(range(6)) - set(refused)
    assert read(bucket, "contended") == bytes([winner]) * 100_000


def test_a_reader_keeps_the_object_that_it_opened_while_it_is_replaced(bucket: LocalBucket) -> None:
    bucket.put("a", b"first", "text/plain")

    with bucket.open("a") as chunks:
        bucket.put("a", b"other", "text/plain")
        assert b"".join(chunks) == b"first"


def test_a_put_that_fails_leaves_nothing_behind(bucket: LocalBucket, tmp_path: Path) -> None:
    with pytest.raises(SourceNotFound):
        bucket.put("a", tmp_path / "missing.mp4", "video/mp4")

    assert bucket.head("a") is None
    assert list((tmp_path / "bucket" / ".scratch").iterdir()) == []


def test_deleting_the_last_object_removes_the_empty_folders(bucket: LocalBucket, tmp_path: Path) -> None:
    bucket.put("a/b/c", b"1", "text/plain")

    bucket.delete(["a/b/c"])

    assert [path.name for path in (tmp_path / "bucket").iterdir()] == [".scratch"]


def test_what_a_killed_process_left_half_written_is_removed_after_a_day(tmp_path: Path) -> None:
    LocalBucket(tmp_path)
    old, young = tmp_path / ".scratch" / "old", tmp_path / ".scratch" / "young"
    old.touch()
    young.touch()
    yesterday = time.time() - 25 * 3600
    os.utime(old, (yesterday, yesterday))

    LocalBucket(tmp_path)

    assert not old.exists()
    assert young.exists()


def test_objects_are_readable_by_their_owner_only(bucket: LocalBucket, tmp_path: Path) -> None:
    bucket.put("a", b"1", "text/plain")

    assert (tmp_path / "bucket" / "a").stat().st_mode & 0o077 == 0


def test_without_a_signer_no_address_is_handed_out(bucket: LocalBucket) -> None:
    with pytest.raises(ConfigurationError):
        bucket.presign_get("a", 60)
