"""What a line may say."""

from __future__ import annotations

import json
from typing import Any

import pytest

from styleflow.batches.items import Item, Wrong, flat, read_item, read_json
from styleflow.errors import InvalidRequest, MalformedJson
from tests.batches.made_items import RULES

OBJECT = {"bucket": "videos", "key": "a.mp4"}


def item(said: dict[str, Any]) -> Item:
    found = read_item(said, RULES)
    assert isinstance(found, Item), found
    return found


def test_an_object_and_an_address_become_sources_of_jobs() -> None:
    assert json.loads(item({**OBJECT, "client_ref": "post-1", "tags": {"q": "a"}}).content) == {
        "source": {"type": "s3", "bucket": "videos", "key": "a.mp4", "version_id": None},
        "client_ref": "post-1",
        "tags": {"q": "a"},
        "metadata": {},
    }
    assert json.loads(item({"url": "https://a.example.org/x"}).content)["source"] == {
        "type": "url",
        "url": "https://a.example.org/x",
    }


def test_a_nested_source_says_the_same() -> None:
    nested = flat({"source": {"type": "s3", **OBJECT}, "client_ref": "post-1"})

    assert read_item(nested, RULES) == item({**OBJECT, "client_ref": "post-1"})


def test_an_upload_is_named_by_its_id() -> None:
    nested = flat({"source": {"type": "upload", "upload_id": "upl_1"}, "client_ref": "post-1"})

    assert json.loads(item(dict(nested)).content)["source"] == {"type": "upload", "upload_id": "upl_1"}
    assert item({"upload_id": "upl_1"}).identity == item({"upload_id": "upl_1", "client_ref": "other"}).identity
    assert item({"upload_id": "upl_1"}).identity != item({"upload_id": "upl_2"}).identity


def test_a_video_is_the_same_under_another_name_and_another_in_another_version() -> None:
    assert item(OBJECT).identity == item({**OBJECT, "client_ref": "other"}).identity
    assert item(OBJECT).identity != item({**OBJECT, "version_id": "2"}).identity
    assert item(OBJECT).identity != item({**OBJECT, "bucket": "bucket"}).identity


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ({}, "invalid_request"),
        ({"bucket": "videos"}, "invalid_request"),
        ({**OBJECT, "url": "https://a.example.org"}, "invalid_request"),
        ({**OBJECT, "upload_id": "upl_1"}, "invalid_request"),
        ({"url": "https://a.example.org", "upload_id": "upl_1"}, "invalid_request"),
        ({"upload_id": ""}, "invalid_request"),
        ({**OBJECT, "kee": 1}, "invalid_request"),
        ({"bucket": "videos", "key": 7}, "invalid_request"),
        ({"bucket": "videos", "key": "x" * 1025}, "invalid_request"),
        ({"bucket": "videos", "key": "a\x00b"}, "invalid_request"),
        ({"bucket": "videos", "key": "\ud800"}, "invalid_request"),
        ({**OBJECT, "metadata": {"a": [1]}}, "invalid_request"),
        ({**OBJECT, "metadata": {"a": float("inf")}}, "invalid_request"),
        ({**OBJECT, "tags": {"a": 1}}, "invalid_request"),
        ({"url": "ftp://a.example.org"}, "invalid_request"),
        ({"bucket": "foreign", "key": "a.mp4"}, "source_not_allowed"),
        ({"bucket": "bucket", "key": "evidence/job_1/1/report.json"}, "source_not_allowed"),
    ],
)
def test_a_line_that_can_be_no_job_says_why(said: dict[str, Any], code: str) -> None:
    found = read_item(said, RULES)

    assert isinstance(found, Wrong)
    assert found.code == code
    assert found.message


@pytest.mark.parametrize("text", ["{", "[" * 60_000, '{"metadata": {"a": NaN}}', "1" * 5000])
def test_a_line_that_is_not_json_is_refused(text: str) -> None:
    with pytest.raises(MalformedJson):
        read_json(text)


@pytest.mark.parametrize("text", ["[]", "7", '{"source": {"type": "inline", "upload_id": "upl_1"}}'])
def test_a_line_of_another_kind_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest):
        read_json(text)
