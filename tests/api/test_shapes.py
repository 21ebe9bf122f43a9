"""Small decisions about what callers read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.dependencies import parse_idempotency_key, parse_wait
from api.schemas.jobs import tag_of
from api.shapes import etag_matches, retry_after
from styleflow.errors import InvalidRequest
from styleflow.jobs.state import TERMINAL, JobState


@pytest.mark.parametrize(
    ("header", "matches"),
    [
        ('"a.1"', True),
        ('W/"a.1"', True),
        ('"x", "a.1"', True),
        ("*", True),
        ('"a.2"', False),
        ("a.1", False),
        (None, False),
    ],
)
def test_if_none_match_is_a_list_of_tags(header: str | None, matches: bool) -> None:
    assert etag_matches(header, '"a.1"') is matches


@given(st.sampled_from(JobState), st.floats(-1e3, 1e7))
def test_polling_slows_down_with_the_age_of_the_job_and_ends_with_it(state: JobState, age: float) -> None:
    pause = retry_after(state, age)
    assert (pause is None) == (state in TERMINAL)
    assert pause is None or 2 <= pause <= 60


@pytest.mark.parametrize(
    ("prefer", "seconds"),
    [
        ("wait=5", 5),
        ("respond-async, wait=5", 5),
        ("WAIT = 7", 7),
        ('wait="8"', 8),
        ("wait=9; x=y", 9),
        ("wait=600", 60),
        ("wait=0", None),
        ("wait=-1", None),
        ("wait", None),
        ("handling=strict", None),
        ("", None),
    ],
)
def test_prefer_wait_is_read_and_limited(prefer: str, seconds: int | None) -> None:
    assert parse_wait(prefer) == seconds


@pytest.mark.parametrize(("header", "key"), [("abc", "abc"), ('"abc"', "abc"), (r'"a\"b"', 'a"b'), (" abc ", "abc")])
def test_an_idempotency_key_is_quoted_or_bare(header: str, key: str) -> None:
    assert parse_idempotency_key(header) == key


@pytest.mark.parametrize("header", ["", '""', "x" * 256, "ü", "a\tb"])
def test_a_key_is_short_and_printable(header: str) -> None:
    with pytest.raises(InvalidRequest):
        parse_idempotency_key(header)


def test_a_tag_splits_at_its_first_colon() -> None:
    assert tag_of("queue:a:b") == ("queue", "a:b")
    assert tag_of(None) is None
