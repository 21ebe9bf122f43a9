"""Which rows of which tracks make a page of frames. Pure arithmetic on lengths."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Span:
    """The rows of one track that a query wants: `first` up to, not including, `end`, counted from 0."""

    track_id: str
    position: int
    first: int
    end: int


@dataclass(frozen=True)
class Slice:
    """Rows of one track: `first` up to, not including, `end`, counted from 0; never empty."""

    track_id: str
    first: int
    end: int


def next_slices(
    spans: Sequence[Span], start: tuple[int, int], limit: int
) -> tuple[list[Slice], tuple[int, int] | None]:
    """At most `limit` rows from `start` = (track position, row) on, and where the next page starts, if there is one.

    `spans` are ordered by position.
    """
    position, row = start
    slices: list[Slice] = []
    room = limit
    for span in spans:
        if span.position < position:
            continue
        first = max(span.first, row) if span.position == position else span.first
        if first >= span.end:
            continue
        if room == 0:
            return slices, (span.position, first)
        end = min(span.end, first + room)
        slices.append(Slice(span.track_id, first, end))
        room -= end - first
        if end < span.end:
            return slices, (span.position, end)
    return slices, None
