"""What every bucket does with objects that come in parts: the local folder and S3 pass the same tests."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from styleflow.errors import SourceNotFound, UploadMismatch
from styleflow.storage.bucket import Bucket
from styleflow.storage.multiparts import MIN_PART_BYTES, Part

KEY = "uploads/prj_1/upl_1"
FIRST, LAST = b"1" * MIN_PART_BYTES, b"the rest"


def sent(bucket: Bucket, multipart_id: str, number: int, data: bytes, key: str = KEY) -> Part:
    return Part(number=number, etag=bucket.multiparts.put(key, multipart_id, number, data))


def read(bucket: Bucket, key: str = KEY) -> bytes:
    with bucket.open(key) as chunks:
        return b"".join(chunks)


def test_parts_become_one_object_in_order_of_their_numbers(bucket: Bucket) -> None:
    multipart_id = bucket.multiparts.begin(KEY, "video/mp4")
    second = sent(bucket, multipart_id, 2, LAST)
    first = sent(bucket, multipart_id, 1, FIRST)
    assert bucket.head(KEY) is None, "before it is complete there is nothing under the key"
    assert list(bucket.list("")) == []

    bucket.multiparts.complete(KEY, multipart_id, [first, second])

    assert read(bucket) == FIRST + LAST
    assert [found.key for found in bucket.list("")] == [KEY]
    assert list(bucket.multiparts.list_open("")) == []


def test_what_has_arrived_is_listed_with_size_and_etag(bucket: Bucket) -> None:
    multipart_id = bucket.multiparts.begin(KEY, "video/mp4")
    assert bucket.multiparts.list(KEY, multipart_id) == []
    parts = [sent(bucket, multipart_id, number, b"x" * number) for number in (3, 1, 10, 2)]

    listed = bucket.multiparts.list(KEY, multipart_id)

    assert [(part.number, part.size_bytes) for part in listed] == [(1, 1), (2, 2), (3, 3), (10, 10)]
    assert {(part.number, part.etag) for part in listed} == {(part.number, part.etag) for part in parts}


def test_a_part_that_is_sent_again_replaces_the_earlier_one(bucket: Bucket) -> None:
    multipart_id = bucket.multiparts.begin(KEY, "video/mp4")
    earlier = sent(bucket, multipart_id, 1, b"earlier")
    later = sent(bucket, multipart_id, 1, b"later")

    with pytest.raises(UploadMismatch):
        bucket.multiparts.complete(KEY, multipart_id, [earlier])
    bucket.multiparts.complete(KEY, multipart_id, [later])

    assert read(bucket) == b"later"


def test_a_part_that_never_came_or_has_another_etag_is_no_part_of_it(bucket: Bucket) -> None:
    multipart_id = bucket.multiparts.begin(KEY, "video/mp4")
    first = sent(bucket, multipart_id, 1, FIRST)
    second = sent(bucket, multipart_id, 2, LAST)

    for wrong in ([first, Part(number=3, etag=second.etag)], [first, Part(number=2, etag=first.etag)]):
        with pytest.raises(UploadMismatch):
            bucket.multiparts.complete(KEY, multipart_id, wrong)
    assert bucket.head(KEY) is None
    bucket.multiparts.complete(KEY, multipart_id, [first, second])
    assert read(bucket) == FIRST + LAST


def test_every_part_but_the_last_has_five_mebibytes(bucket: Bucket) -> None:
    multipart_id = bucket.multiparts.begin(KEY, "video/mp4")
    parts = [sent(bucket, multipart_id, number, b"small") for number in (1, 2)]

    with pytest.raises(UploadMismatch):
        bucket.multiparts.complete(KEY, multipart_id, parts)
    assert bucket.head(KEY) is None


def test_one_that_was_aborted_is_gone_with_its_parts_and_may_be_aborted_again(bucket: Bucket) -> None:
    multipart_id = bucket.multiparts.begin(KEY, "video/mp4")
    sent(bucket, multipart_id, 1, LAST)

    bucket.multiparts.abort(KEY, multipart_id)
    bucket.multiparts.abort(KEY, multipart_id)

    assert list(bucket.multiparts.list_open("")) == []
    assert bucket.head(KEY) is None
    with pytest.raises(SourceNotFound):
        bucket.multiparts.list(KEY, multipart_id)


def test_one_that_never_was_is_not_found(bucket: Bucket) -> None:
    for made_up in ("nothing", "../../etc", "0" * 32):
        with pytest.raises(SourceNotFound):
            bucket.multiparts.list(KEY, made_up)
        bucket.multiparts.abort(KEY, made_up)


def test_open_ones_are_listed_by_the_text_of_the_prefix_with_the_time_of_their_beginning(bucket: Bucket) -> None:
    ids = {key: bucket.multiparts.begin(key, "video/mp4") for key in ("uploads/a", "uploads/b", "other/c")}

    listed = list(bucket.multiparts.list_open("uploads/"))

    assert {found.key: found.multipart_id for found in listed} == {key: ids[key] for key in ("uploads/a", "uploads/b")}
    assert all(found.begun_at <= datetime.now(UTC) for found in listed)


def test_two_of_one_key_do_not_mix(bucket: Bucket) -> None:
    one, other = (bucket.multiparts.begin(KEY, "video/mp4") for _ in range(2))
    part = sent(bucket, one, 1, b"one")
    sent(bucket, other, 1, b"other")

    bucket.multiparts.complete(KEY, one, [part])

    assert read(bucket) == b"one"
    assert [found.multipart_id for found in bucket.multiparts.list_open(KEY)] == [other]


def test_the_address_of_a_part_binds_its_length(bucket: Bucket) -> None:
    signed = bucket.multiparts.presign_part(KEY, bucket.multiparts.begin(KEY, "video/mp4"), 7, 1234, 60)

    assert (signed.method, signed.headers["Content-Length"]) == ("PUT", "1234")
    assert KEY in signed.url
    assert "7" in signed.url
