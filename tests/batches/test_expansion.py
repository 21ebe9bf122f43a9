"""From lists to items: whatever dies on the way, each line is there once."""

from __future__ import annotations

import os
import random
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from styleflow.batches import expansion
from styleflow.batches.queries import list_errors
from styleflow.batches.store import keep_items
from styleflow.errors import StorageUnavailable
from styleflow.storage.bucket import Bucket
from tests.batches.made_items import RULES, jsonl, keyed
from tests.batches.yard import Yard, item


def keys(yard: Yard, batch_id: str) -> list[str]:
    return [found.source["key"] for found in yard.items(batch_id) if found.source is not None]


def test_an_inline_list_becomes_items_and_is_kept_nowhere_else(yard: Yard) -> None:
    batch = yard.create({"type": "inline", "items": [item(1, client_ref="post-1"), item(2)]})

    yard.expand()

    assert [(found.position, found.state, found.client_ref) for found in yard.items(batch)] == [
        (1, "listed", "post-1"),
        (2, "listed", None),
    ]
    row = yard.batch(batch)
    assert (row.state, row.source) == ("running", {"type": "inline", "count": 2})
    assert row.expanded_at is not None


def test_a_manifest_of_json_lines_is_listed_and_its_wrong_lines_with_their_numbers(yard: Yard) -> None:
    good = {"bucket": "videos", "key": "a.mp4", "client_ref": "post-1"}
    foreign = {"bucket": "foreign", "key": "a.mp4"}
    batch = yard.manifest(jsonl(good, "{", "", foreign, {"url": "https://a.example.org/b.mp4"}))

    yard.expand()

    assert [(found.position, found.state) for found in yard.items(batch)] == [
        (1, "listed"),
        (2, "invalid"),
        (4, "invalid"),
        (5, "listed"),
    ]
    errors = yard.desk.do(expansion_errors, batch)
    assert [(number, code) for number, code in errors] == [(2, "malformed_json"), (4, "source_not_allowed")]
    assert yard.counts(batch) == {"listed": 2, "invalid": 2}


def expansion_errors(session: Any, batch: str) -> list[tuple[int, str]]:
    return [(found.position, found.error["code"]) for found in list_errors(session, batch, 100) if found.error]


def test_a_manifest_of_csv_is_listed_by_its_header(yard: Yard) -> None:
    batch = yard.manifest(b"bucket,key,client_ref\nvideos,a.mp4,post-1\nvideos\nvideos,b.mp4,\n", "csv")

    yard.expand()

    assert [(found.position, found.state, found.client_ref) for found in yard.items(batch)] == [
        (2, "listed", "post-1"),
        (3, "invalid", None),
        (4, "listed", None),
    ]


def test_repetitions_collapse_into_the_first_within_and_across_transactions(yard: Yard) -> None:
    lines = [*keyed(3), {**keyed(1)[0], "client_ref": "again"}, *keyed(4, 2)]
    batch = yard.manifest(jsonl(*lines))

    yard.expand(chunk=2)

    assert keys(yard, batch) == [f"clip-{number}.mp4" for number in range(6)]
    assert yard.items(batch)[0].client_ref is None
    assert yard.counts(batch) == {"listed": 6, "deduplicated": 2}


def test_versions_of_one_object_are_no_repetitions(yard: Yard) -> None:
    batch = yard.manifest(jsonl(*({**keyed(1)[0], "version_id": version} for version in "ab")))

    yard.expand()

    assert yard.counts(batch) == {"listed": 2}


@pytest.mark.parametrize("format", ["jsonl", "csv"])
def test_an_expansion_killed_anywhere_goes_on_without_loss_or_double(
    yard: Yard, monkeypatch: pytest.MonkeyPatch, format: str
) -> None:
    """Half of the transactions die before their commit, half of the rest right after it."""
    chance = random.Random(7)
    wanted = keyed(200)
    data = jsonl(*wanted) if format == "jsonl" else b"".join([b"bucket,key\n", *csv_lines(200)])
    batch = yard.manifest(data, format)

    class Killed(BaseException):
        pass

    def dying(*arguments: Any) -> None:
        keep_items(*arguments)
        if chance.random() < 0.5:
            raise Killed

    monkeypatch.setattr(expansion, "keep_items", dying)
    deaths = 0
    while yard.batch(batch).expanded_at is None:
        try:
            yard.expander(chunk=10, turn_seconds=0.0 if chance.random() < 0.5 else 5.0).expand_once()
        except Killed:
            deaths += 1
            yard.desk.sql("update batches set lease_expires_at = now() where id = :id", id=batch)

    assert deaths > 5
    assert keys(yard, batch) == [line["key"] for line in wanted]
    assert yard.counts(batch) == {"listed": 200}


def csv_lines(count: int) -> list[bytes]:
    return [f"videos,clip-{number}.mp4\n".encode() for number in range(count)]


class Freezing(expansion.Expander):
    """Stands still before its second transaction, until somebody else has done all of it."""

    def _keep(self, held: Any, chunk: Any) -> None:
        if held.batch_id in THAWED:
            THAWED.pop(held.batch_id)()
        else:
            THAWED[held.batch_id] = WHILE_FROZEN[held.batch_id]
        super()._keep(held, chunk)


WHILE_FROZEN: dict[str, Any] = {}
THAWED: dict[str, Any] = {}


def test_who_lost_the_lease_writes_nothing_more(yard: Yard) -> None:
    batch = yard.manifest(jsonl(*keyed(30)))

    def overtaken() -> None:
        yard.desk.sql("update batches set lease_expires_at = now() where id = :id", id=batch)
        yard.expand(chunk=7)

    WHILE_FROZEN[batch] = overtaken
    ordinary = yard.expander(chunk=10)
    Freezing(database=ordinary.database, shelves=ordinary.shelves, owner="frozen", chunk=10).expand_once()

    assert not THAWED
    assert keys(yard, batch) == [line["key"] for line in keyed(30)]
    assert yard.counts(batch) == {"listed": 30}


def test_a_held_batch_is_left_to_its_holder(yard: Yard) -> None:
    batch = yard.create()
    yard.desk.sql("update batches set lease_expires_at = now() + interval '1 minute' where id = :id", id=batch)

    assert yard.expander().expand_once() == 0


def test_batches_take_turns(yard: Yard) -> None:
    first = yard.create({"type": "inline", "items": [item(number) for number in range(9)]})
    second = yard.create({"type": "inline", "items": [item(number) for number in range(9)]})
    expander = yard.expander(chunk=3, turn_seconds=0.0)

    expander.expand_once()
    expander.expand_once()

    assert (yard.counts(first), yard.counts(second)) == ({"listed": 3}, {"listed": 3})


def test_a_manifest_that_changed_under_way_ends_the_list_and_keeps_what_is_there(yard: Yard) -> None:
    batch = yard.manifest(jsonl(*keyed(4)))
    yard.expander(chunk=2, turn_seconds=0.0).expand_once()
    yard.bucket.put("manifests/m", jsonl(*keyed(4, 100)), "application/x-ndjson")

    yard.expand()

    assert keys(yard, batch) == ["clip-0.mp4", "clip-1.mp4"]
    row = yard.batch(batch)
    assert row.error is not None
    assert (row.state, row.error["code"]) == ("running", "source_changed")


@pytest.mark.parametrize(
    ("data", "format", "code"),
    [(b"bucket,kee\n", "csv", "invalid_request"), (None, "csv", "source_not_found")],
)
def test_a_list_that_cannot_be_read_at_all_says_why(yard: Yard, data: bytes | None, format: str, code: str) -> None:
    batch = yard.manifest(data or b"", format)
    if data is None:
        yard.bucket.delete(["manifests/m"])

    yard.expand()
    yard.tend()

    row = yard.batch(batch)
    assert row.error is not None
    assert (row.state, row.error["code"]) == ("completed_with_errors", code)


def test_a_store_that_does_not_answer_is_asked_again_later(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    batch = yard.manifest(jsonl(*keyed(3)))

    def down(*arguments: Any, **options: Any) -> Any:
        raise StorageUnavailable

    with monkeypatch.context() as away:
        away.setattr(type(yard.bucket), "head", down)
        with pytest.raises(StorageUnavailable):
            yard.expander().expand_once()
    assert yard.expander().expand_once() == 0

    yard.desk.sql("update batches set lease_expires_at = now() where id = :id", id=batch)
    yard.expand()

    assert yard.counts(batch) == {"listed": 3}


def test_a_prefix_is_listed_by_ending_and_age_and_goes_on_behind_its_last_key(yard: Yard) -> None:
    for key in ("in/a.mp4", "in/b.MP4", "in/c.txt", "in/d.mp4", "in/old.mp4", "out/e.mp4"):
        yard.bucket.put(key, b"1", "video/mp4")
    os.utime(yard.bucket._root / "in/old.mp4", (0, 0))  # type: ignore[attr-defined]
    source = {
        "type": "prefix",
        "bucket": "bucket",
        "prefix": "in/",
        "extensions": [".mp4"],
        "modified_after": datetime(2020, 1, 1, tzinfo=UTC).isoformat(),
    }
    batch = yard.create(source)

    yard.expander(chunk=2, turn_seconds=0.0).expand_once()
    assert keys(yard, batch) == ["in/a.mp4", "in/b.MP4"]
    yard.expand(chunk=2)

    assert keys(yard, batch) == ["in/a.mp4", "in/b.MP4", "in/d.mp4"]
    assert [found.position for found in yard.items(batch)] == [1, 2, 3]


def test_a_file_whose_name_is_not_utf_8_is_one_wrong_item_and_the_rest_of_the_prefix_runs(yard: Yard) -> None:
    for key in ("in/a.mp4", "in/z.mp4"):
        yard.bucket.put(key, b"1", "video/mp4")
    folder = os.fsencode(yard.bucket._root)  # type: ignore[attr-defined]
    for name in (b"b\xfe.mp4", b"c\xff.mp4"):
        with open(folder + b"/in/" + name, "wb"):
            pass
    batch = yard.create({"type": "prefix", "bucket": "bucket", "prefix": "in/", "extensions": [".mp4"]})

    yard.expand(chunk=1, turn_seconds=0.0)

    assert yard.counts(batch) == {"listed": 2, "invalid": 2}


def test_lists_in_an_s3_bucket_go_on_where_they_stood(
    yard: Yard, s3_bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    yard.bucket = s3_bucket
    for number in range(5):
        s3_bucket.put(f"in/{number}.mp4", b"1", "video/mp4")
    prefix = {"type": "prefix", "bucket": s3_bucket.name, "prefix": "in/", "extensions": [".mp4"]}
    monkeypatch.setattr("tests.batches.yard.RULES", replace(RULES, check_bucket=len))
    manifest, listing = yard.manifest(jsonl(*keyed(5))), yard.create(prefix)

    yard.expand(chunk=2, turn_seconds=0.0)

    assert keys(yard, manifest) == [f"clip-{number}.mp4" for number in range(5)]
    assert keys(yard, listing) == [f"in/{number}.mp4" for number in range(5)]


def test_a_prefix_shows_nothing_of_what_tenants_sent(yard: Yard) -> None:
    for key in ("uploads/prj_other/a.mp4", "crops/b.mp4", "video.mp4"):
        yard.bucket.put(key, b"1", "video/mp4")
    batch = yard.create({"type": "prefix", "bucket": "bucket", "prefix": "", "extensions": [".mp4"]})

    yard.expand()

    assert keys(yard, batch) == ["video.mp4"]
    assert yard.counts(batch) == {"listed": 1}


def test_a_canceled_batch_is_listed_no_further(yard: Yard) -> None:
    batch = yard.manifest(jsonl(*keyed(4)))
    yard.expander(chunk=2, turn_seconds=0.0).expand_once()
    yard.cancel(batch)

    yard.expand()
    yard.tend()

    assert yard.counts(batch) == {"canceled": 2}
    assert yard.batch(batch).state == "canceled"
