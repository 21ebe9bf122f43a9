"""Cursors are opaque, signed, bound to their query, and gone after a day."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.pages import CURSOR_SECONDS, Cursors, link_header
from styleflow.errors import CursorMismatch

CURSORS = Cursors("a secret")
QUERY = {"state": "queued", "of": "prj_1"}
values = st.lists(st.text() | st.integers() | st.none(), max_size=4)


@given(values, st.integers(0, CURSOR_SECONDS))
def test_a_cursor_gives_its_position_back_for_a_day(position: list[object], age: int) -> None:
    assert CURSORS.open(CURSORS.seal(position, QUERY, 1e9), QUERY, 1e9 + age) == position


@given(values, st.data())
def test_a_cursor_with_any_changed_byte_is_refused(position: list[object], data: st.DataObject) -> None:
    cursor = CURSORS.seal(position, QUERY, 1e9)
    raw = bytearray(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    place = data.draw(st.integers(0, len(raw) - 1))
    raw[place] ^= data.draw(st.integers(1, 255))
    with pytest.raises(CursorMismatch):
        CURSORS.open(base64.urlsafe_b64encode(raw).decode(), QUERY, 1e9)


@given(st.text())
def test_any_other_text_is_no_cursor(text: str) -> None:
    with pytest.raises(CursorMismatch):
        CURSORS.open(text, QUERY, 1e9)


def test_a_cursor_is_refused_after_a_day_for_another_query_and_by_another_secret() -> None:
    cursor = CURSORS.seal([1], QUERY, 1e9)
    for cursors, query, now in (
        (CURSORS, QUERY, 1e9 + CURSOR_SECONDS + 1),
        (CURSORS, {**QUERY, "state": "failed"}, 1e9),
        (Cursors("another"), QUERY, 1e9),
    ):
        with pytest.raises(CursorMismatch):
            cursors.open(cursor, query, now)


def test_the_link_keeps_the_callers_parameters() -> None:
    link = link_header("/v1/jobs", [("tag", "a:b c"), ("cursor", "old"), ("limit", "2")], "new")
    assert link == {"Link": '</v1/jobs?tag=a%3Ab+c&limit=2&cursor=new>; rel="next"'}
    assert link_header("/v1/jobs", [], None) == {}
