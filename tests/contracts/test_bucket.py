"""What every bucket does: the local folder and S3 pass the same tests."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from styleflow.errors import InvalidRequest, SourceChanged, SourceNotFound
from styleflow.storage.bucket import CHUNK_BYTES, Bucket, sweep


def read(bucket: Bucket, key: str, if_match: str | None = None) -> bytes:
    with bucket.open(key, if_match=if_match) as chunks:
        return b"".join(chunks)


def test_what_was_put_is_read_back(bucket: Bucket) -> None:
    bucket.put("evidence/job/1/report.json", b'{"a":1}', "application/json")

    assert read(bucket, "evidence/job/1/report.json") == b'{"a":1}'


def test_a_file_is_put_and_comes_back_in_bounded_chunks(bucket: Bucket, tmp_path: Path) -> None:
    source = tmp_path / "clip.mp4"
    source.write_bytes(bytes(range(256)) * 10_000)

    facts = bucket.put("uploads/a/b", source, "video/mp4")
    with bucket.open("uploads/a/b") as chunks:
        sizes, digest = [], hashlib.sha256()
        for chunk in chunks:
            sizes.append(len(chunk))
            digest.update(chunk)

    assert digest.digest() == hashlib.sha256(source.read_bytes()).digest()
    assert facts.size_bytes == sum(sizes) == 2_560_000
    assert max(sizes) <= CHUNK_BYTES


def test_a_file_in_the_landing_is_moved_and_any_other_is_copied(bucket: Bucket, tmp_path: Path) -> None:
    outside = tmp_path / "clip.mp4"
    outside.write_bytes(b"copied")
    bucket.put("a", outside, "video/mp4")
    assert outside.exists()

    if bucket.landing is not None:
        inside = bucket.landing / "upload"
        inside.write_bytes(b"moved")
        bucket.put("a", inside, "video/mp4")
        assert (read(bucket, "a"), inside.exists()) == (b"moved", False)


def test_the_hash_of_an_object_is_known_to_be_right_or_not_at_all(bucket: Bucket) -> None:
    bucket.put("a", b"12345", "text/plain")

    facts = bucket.head("a", with_sha256=True)
    assert facts is not None
    assert facts.sha256 in (None, hashlib.sha256(b"12345").hexdigest())


def test_an_empty_object_is_an_object(bucket: Bucket) -> None:
    bucket.put("empty", b"", "application/octet-stream")

    facts = bucket.head("empty")
    assert facts is not None
    assert facts.size_bytes == 0
    assert read(bucket, "empty") == b""


def test_head_knows_the_size_and_the_etag_that_put_returned(bucket: Bucket) -> None:
    stored = bucket.put("a", b"12345", "text/plain")

    assert bucket.head("a") == stored
    assert stored.size_bytes == 5


def test_what_is_not_there_has_no_head_and_cannot_be_opened(bucket: Bucket) -> None:
    bucket.put("folder/object", b"1", "text/plain")

    for key in ("nothing", "folder", "folder/object/below", "folder/other"):
        assert bucket.head(key) is None
        with pytest.raises(SourceNotFound), bucket.open(key):
            pass


def test_an_empty_key_is_refused(bucket: Bucket) -> None:
    with pytest.raises(InvalidRequest):
        bucket.put("", b"1", "text/plain")


def test_a_version_that_never_was_cannot_be_opened(bucket: Bucket) -> None:
    bucket.put("a", b"1", "text/plain")

    with pytest.raises(SourceNotFound), bucket.open("a", version_id="3HL4kqtJvjVBH40Nrjfkd"):
        pass


def test_an_object_is_read_under_the_etag_that_was_recorded(bucket: Bucket) -> None:
    facts = bucket.put("a", b"first", "text/plain")

    assert read(bucket, "a", if_match=facts.etag) == b"first"


def test_an_object_that_was_replaced_is_not_read_under_the_old_etag(bucket: Bucket) -> None:
    before = bucket.put("a", b"first", "text/plain")
    bucket.put("a", b"other", "text/plain")

    with pytest.raises(SourceChanged), bucket.open("a", if_match=before.etag):
        pass
    assert read(bucket, "a") == b"other"


def test_put_if_absent_stores_once_and_refuses_other_bytes(bucket: Bucket) -> None:
    bucket.put("a", b"first", "text/plain", if_absent=True)

    with pytest.raises(SourceChanged):
        bucket.put("a", b"other", "text/plain", if_absent=True)
    assert read(bucket, "a") == b"first"


def test_put_if_absent_of_the_same_bytes_may_be_repeated(bucket: Bucket) -> None:
    first = bucket.put("a", b"same", "text/plain", if_absent=True)

    assert bucket.put("a", b"same", "text/plain", if_absent=True) == first


def test_deleted_objects_are_gone_and_deleting_what_is_not_there_is_fine(bucket: Bucket) -> None:
    for key in ("a/1", "a/2", "b"):
        bucket.put(key, b"1", "text/plain")

    bucket.delete(["a/1", "a/2", "never/was", "a/1"])
    bucket.delete([])

    assert [found.key for found in bucket.list("")] == ["b"]


def test_erasing_takes_an_object_or_all_below_a_prefix_and_nothing_beside_it(bucket: Bucket) -> None:
    for key in ("evidence/a/1", "evidence/a/2", "evidence/ab/1", "one", "one-more"):
        bucket.put(key, b"x", "text/plain")

    bucket.erase(["evidence/a/", "one", "never/was", "nor/this/"])
    bucket.erase([])

    assert {found.key for found in bucket.list("")} == {"evidence/ab/1", "one-more"}


def test_a_listing_goes_by_the_text_of_the_prefix(bucket: Bucket) -> None:
    for key in ("evidence/job_1/1/report.json", "evidence/job_12/1/report.json", "evidence/other", "uploads/x"):
        bucket.put(key, b"123", "text/plain")

    def under(prefix: str) -> list[str]:
        return sorted(found.key for found in bucket.list(prefix))

    assert under("evidence/job_1/") == ["evidence/job_1/1/report.json"]
    assert under("evidence/job_1") == ["evidence/job_1/1/report.json", "evidence/job_12/1/report.json"]
    assert under("evidence/o") == ["evidence/other"]
    assert under("nowhere/") == []
    assert len(under("")) == 4


def test_a_listing_says_size_and_time(bucket: Bucket) -> None:
    bucket.put("a", b"12345", "text/plain")

    (found,) = bucket.list("a")
    assert found.size_bytes == 5
    assert abs(found.modified_at - datetime.now(UTC)) < timedelta(minutes=1)


def test_a_sweep_removes_what_is_older_than_the_moment_and_nothing_else(bucket: Bucket) -> None:
    for key in ("sources/a", "sources/b", "evidence/c"):
        bucket.put(key, b"1", "text/plain")

    assert sweep(bucket, "sources/", datetime.now(UTC) - timedelta(hours=1)) == 0
    assert sweep(bucket, "sources/", datetime.now(UTC) + timedelta(hours=1)) == 2
    assert [found.key for found in bucket.list("")] == ["evidence/c"]


def test_a_presigned_put_names_the_headers_that_bind_the_upload(bucket: Bucket) -> None:
    signed = bucket.presign_put("uploads/a/b", 1234, "00" * 32, "video/mp4", 60)

    assert signed.method == "PUT"
    assert "uploads/a/b" in signed.url
    assert signed.headers["Content-Length"] == "1234"
    assert signed.headers["Content-Type"] == "video/mp4"


def test_a_presigned_get_names_the_object(bucket: Bucket) -> None:
    assert "uploads/a/b" in bucket.presign_get("uploads/a/b", 60)


@pytest.mark.parametrize(("start", "rest"), [(0, b"0123456789"), (4, b"456789"), (10, b""), (99, b"")])
def test_an_object_is_read_from_any_byte_on(bucket: Bucket, start: int, rest: bytes) -> None:
    facts = bucket.put("a", b"0123456789", "text/plain")

    with bucket.open("a", if_match=facts.etag, start=start) as chunks:
        assert b"".join(chunks) == rest


def test_a_listing_goes_on_behind_any_key_in_order_of_bytes(bucket: Bucket) -> None:
    keys = ["in/A", "in/a", "in/a-b", "in/b/c", "in/z", "in/é"]
    for key in [*reversed(keys), "other"]:
        bucket.put(key, b"1", "text/plain")

    assert [found.key for found in bucket.list_after("in/", None)] == keys
    for number, key in enumerate(keys):
        assert [found.key for found in bucket.list_after("in/", key)] == keys[number + 1 :]
    assert [found.key for found in bucket.list_after("in/", "in/a~")] == keys[3:]
