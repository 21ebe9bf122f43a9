"""Reading a manifest: wherever it is cut, the lines are the same."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from styleflow.batches.manifests import MAX_LINE_BYTES, RawLine, lines, read_header, read_record, text_of
from styleflow.errors import InvalidRequest

TEXT = st.lists(st.sampled_from([b"a", b"\n", b"\r\n", b"{}", "é".encode(), b"bb"]), max_size=40).map(b"".join)


@given(TEXT, st.integers(1, 7))
def test_lines_are_those_of_the_whole_however_it_is_cut(whole: bytes, size: int) -> None:
    chunks = [whole[start : start + size] for start in range(0, len(whole), size)]

    found = list(lines(chunks))

    assert [line.data for line in found] == [line.rstrip(b"\n") for line in whole.splitlines(keepends=True) or []] or (
        b"\r" in whole
    )
    assert b"".join((line.data or b"") + b"\n" for line in found) in (whole, whole + b"\n")


@given(TEXT, st.data())
def test_reading_goes_on_behind_any_line(whole: bytes, data: st.DataObject) -> None:
    found = list(lines([whole]))
    stop = data.draw(st.integers(0, len(found)))
    offset, number = (found[stop - 1].end, found[stop - 1].number) if stop else (0, 0)

    assert list(lines([whole[offset:]], offset=offset, number=number)) == found[stop:]


def test_a_line_without_end_is_dropped_while_it_is_read_and_the_next_is_whole() -> None:
    chunks = [b"x" * MAX_LINE_BYTES] * 3 + [b"\nnext\n"]

    assert list(lines(chunks)) == [
        RawLine(1, 3 * MAX_LINE_BYTES + 1, None),
        RawLine(2, 3 * MAX_LINE_BYTES + 6, b"next"),
    ]


def test_the_mark_before_the_first_line_and_the_line_end_are_no_part_of_it() -> None:
    assert text_of(RawLine(1, 0, "\ufeffkey\r".encode())) == "key"


@pytest.mark.parametrize("data", [None, b"\xff\xfe"])
def test_a_line_that_is_no_text_is_refused(data: bytes | None) -> None:
    with pytest.raises(InvalidRequest):
        text_of(RawLine(2, 0, data))


def test_a_line_of_csv_is_read_by_the_names_in_the_header() -> None:
    columns = read_header('bucket, key,client_ref,"tag:queue"')

    assert read_record('videos,"a,b.mp4",,politics', columns) == {
        "bucket": "videos",
        "key": "a,b.mp4",
        "tags": {"queue": "politics"},
    }


@pytest.mark.parametrize("header", ["bucket", "bucket,key,kee", "url,url", "client_ref", '"'])
def test_a_header_that_names_no_videos_is_refused(header: str) -> None:
    with pytest.raises(InvalidRequest):
        read_header(header)


@pytest.mark.parametrize("line", ["videos", "videos,a.mp4,more", '"videos,a.mp4', '"a"b,c'])
def test_a_line_that_does_not_fit_the_header_is_refused(line: str) -> None:
    with pytest.raises(InvalidRequest):
        read_record(line, ["bucket", "key"])
