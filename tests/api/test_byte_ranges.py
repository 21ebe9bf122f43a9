from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.byte_ranges import ByteRange, wanted_range


@pytest.mark.parametrize(
    ("header", "wanted"),
    [
        ("bytes=0-0", ByteRange(0, 0)),
        ("bytes=2-5", ByteRange(2, 5)),
        ("bytes=2-", ByteRange(2, 9)),
        ("bytes=2-99", ByteRange(2, 9)),
        ("bytes=-3", ByteRange(7, 9)),
        ("bytes=-99", ByteRange(0, 9)),
        (None, None),
        ("bytes=10-", None),
        ("bytes=-0", None),
        ("bytes=5-2", None),
        ("bytes=-", None),
        ("bytes=1-2,4-5", None),
        ("items=1-2", None),
        ("bytes=" + "9" * 40 + "-", None),
    ],
)
def test_a_single_range_is_taken_and_anything_else_ignored(header: str | None, wanted: ByteRange | None) -> None:
    assert wanted_range(header, 10) == wanted


@given(st.text(max_size=40) | st.from_regex(r"bytes=[0-9]{0,3}-[0-9]{0,3}"), st.integers(0, 500))
def test_a_range_lies_within_the_object_whatever_is_asked(header: str, size: int) -> None:
    found = wanted_range(header, size)

    assert found is None or 0 <= found.first <= found.last < size
