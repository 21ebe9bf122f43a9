from __future__ import annotations

import math

import pytest

from styleflow.video.wire import HEAD, MAX_JSON_BYTES, Head, Kind, read_json, unpack


def test_a_head_is_read_back_as_it_was_packed() -> None:
    head = Head(Kind.FRAME, 4 * 2 * 3, segment=3, index=70, time_seconds=2.5, width=4, height=2)
    assert unpack(head.pack(), 4, 2) == head


@pytest.mark.parametrize(
    "head",
    [
        Head(Kind.FRAME, 24, width=2, height=4),
        Head(Kind.FRAME, 23, width=4, height=2),
        Head(Kind.FRAME, 24, time_seconds=math.nan, width=4, height=2),
        Head(Kind.FRAME, 24, time_seconds=math.inf, width=4, height=2),
        Head(Kind.FRAME, 24, time_seconds=-0.1, width=4, height=2),
        Head(Kind.FRAME, 24, index=-1, width=4, height=2),
        Head(Kind.FRAME, 24, index=2**31, width=4, height=2),
        Head(Kind.END, index=-1),
        Head(Kind.END, 1),
        Head(Kind.TICK, 1),
        Head(Kind.FACTS, MAX_JSON_BYTES + 1),
        Head(Kind.ERROR, 2**32 - 1),
    ],
    ids=lambda head: f"{head.kind.name}-{head.payload_bytes}",
)
def test_a_head_that_does_not_fit_is_refused(head: Head) -> None:
    with pytest.raises(ValueError, match=r"^a "):
        unpack(head.pack(), 4, 2)


def test_a_message_of_no_known_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="99"):
        unpack(HEAD.pack(99, 0, 0, 0, 0.0, 0, 0), 4, 2)


@pytest.mark.parametrize(
    "payload", [b"", b"{", b"NaN", b"[Infinity]", b"-Infinity", b"[" * 60_000, b"\xff\xfe\xff", b"9" * 5000]
)
def test_what_is_no_json_by_its_standard_is_refused(payload: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_json(payload)
