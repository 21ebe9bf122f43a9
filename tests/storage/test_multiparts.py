from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from threading import Barrier, BrokenBarrierError
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from styleflow.errors import SourceNotFound
from styleflow.storage.bucket import ObjectFacts
from styleflow.storage.local import LocalBucket
from styleflow.storage.multiparts import MAX_PARTS, MIN_PART_BYTES, PART_BYTES, Part, plan_parts

LARGEST = 5 << 40
"""An object of S3."""


@given(st.integers(1, LARGEST))
def test_the_parts_of_any_file_are_all_of_it_and_not_too_many_or_too_small(size: int) -> None:
    plan = plan_parts(size)

    assert 1 <= plan.count <= MAX_PARTS
    assert plan.part_bytes >= PART_BYTES >= MIN_PART_BYTES
    assert (plan.count - 1) * plan.part_bytes + plan.size_of(plan.count) == size
    assert 1 <= plan.size_of(plan.count) <= plan.part_bytes
    assert all(plan.size_of(number) == plan.part_bytes for number in (1, plan.count - 1) if 1 <= number < plan.count)


def test_parts_grow_only_when_there_would_be_too_many() -> None:
    assert plan_parts(PART_BYTES * MAX_PARTS).part_bytes == PART_BYTES
    assert plan_parts(PART_BYTES * MAX_PARTS + 1).part_bytes == PART_BYTES + (1 << 20)


@pytest.mark.parametrize("number", [0, 3, -1])
def test_a_part_outside_the_plan_has_no_size(number: int) -> None:
    with pytest.raises(ValueError, match="1 to 2"):
        plan_parts(PART_BYTES + 1).size_of(number)


def test_the_folder_of_an_object_in_parts_is_no_place_for_another_key(tmp_path: Path) -> None:
    parts = LocalBucket(tmp_path).multiparts
    multipart_id = parts.begin("uploads/a", "video/mp4")

    with pytest.raises(SourceNotFound):
        parts.put("uploads/b", multipart_id, 1, b"1")
    assert parts.list("uploads/a", multipart_id) == []


def test_a_part_that_comes_after_the_end_has_nowhere_to_go(tmp_path: Path) -> None:
    parts = LocalBucket(tmp_path).multiparts
    multipart_id = parts.begin("uploads/a", "video/mp4")
    parts.abort("uploads/a", multipart_id)

    with pytest.raises(SourceNotFound):
        parts.put("uploads/a", multipart_id, 1, b"1")
    assert [path.name for path in (tmp_path / ".scratch").iterdir()] == []


def test_of_two_who_complete_at_once_one_makes_the_object_and_the_other_finds_it_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket = LocalBucket(tmp_path)
    multipart_id = bucket.multiparts.begin("uploads/a", "video/mp4")
    part = Part(number=1, etag=bucket.multiparts.put("uploads/a", multipart_id, 1, b"all of it"))
    put, both, made = bucket.put, Barrier(2), []

    def slow_put(*given: Any) -> ObjectFacts:
        with suppress(BrokenBarrierError):
            both.wait(0.3)  # for the other, who must not come
        made.append(put(*given))
        return made[-1]

    monkeypatch.setattr(bucket, "put", slow_put)

    def complete(_: int) -> None:
        with suppress(SourceNotFound):
            bucket.multiparts.complete("uploads/a", multipart_id, [part])

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(complete, range(2)))

    assert made == [bucket.head("uploads/a")]


def test_what_a_killed_process_left_of_an_aborted_one_is_removed_after_a_day(tmp_path: Path) -> None:
    LocalBucket(tmp_path)
    left = tmp_path / ".scratch" / ("0" * 32)
    left.mkdir()
    (left / "1").write_bytes(b"part")
    yesterday = time.time() - 25 * 3600
    os.utime(left, (yesterday, yesterday))

    LocalBucket(tmp_path)

    assert not left.exists()
