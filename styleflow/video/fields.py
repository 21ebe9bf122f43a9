"""Interlaced pictures: two fields, half a picture's time apart, woven line by line. Motion tears their edges to combs.

Such frames are made whole by FFmpeg's `bwdif`, one for one; others pass as they are. Runs inside the decoder's child
process only. Errors of PyAV pass through; `decode.py` gives them their types.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import TYPE_CHECKING

# Imported now: the child gives up the right to read its own installation.
from av.error import BlockingIOError as NotYet
from av.error import EOFError as EndOfStream
from av.filter import Graph

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

ANY_UNIT = Fraction(1, 90_000)
"""For frames without a unit, which have no times either."""


def without_combs(frames: Iterator[VideoFrame]) -> Iterator[VideoFrame]:
    """As many frames as come in, in the same order, with the same times.

    From the first interlaced frame on, one frame more is held back: its fields are rebuilt with the help of the
    neighbours'.
    """
    filtering: _Deinterlacer | None = None
    for frame in frames:
        if filtering is not None and not filtering.fits(frame):
            yield from filtering.rest()
            filtering = None
        if filtering is None and frame.interlaced_frame:
            filtering = _Deinterlacer(frame)
        if filtering is None:
            yield frame
        else:
            yield from filtering.pass_on(frame)
    if filtering is not None:
        yield from filtering.rest()


class _Deinterlacer:
    """A filter for frames of one size and format."""

    def __init__(self, first: VideoFrame) -> None:
        self._shape = _shape(first)
        width, height, _, self._base = self._shape
        self._graph = Graph()
        # The decoder works in one thread, and the child may start no other.
        self._graph.threads = 1
        steps = (
            self._graph.add_buffer(width=width, height=height, format=first.format, time_base=self._base),
            self._graph.add("bwdif", "mode=send_frame:deint=interlaced"),
            self._graph.add("buffersink"),
        )
        self._graph.link_nodes(*steps).configure()

    def fits(self, frame: VideoFrame) -> bool:
        return _shape(frame) == self._shape

    def pass_on(self, frame: VideoFrame) -> Iterator[VideoFrame]:
        if frame.pts is None:
            # The filter keeps this one only; AVI has the other one only.
            frame.pts = frame.dts
        self._graph.vpush(frame)
        yield from self._ready()

    def rest(self) -> Iterator[VideoFrame]:
        self._graph.vpush(None)
        yield from self._ready()

    def _ready(self) -> Iterator[VideoFrame]:
        while True:
            try:
                frame = self._graph.vpull()
            except (NotYet, EndOfStream):
                return
            if frame.pts is not None and frame.time_base is not None:
                # The filter counts in half units, for those who want a frame of each field.
                frame.pts = round(frame.pts * frame.time_base / self._base)
            frame.time_base = self._base
            yield frame


def _shape(frame: VideoFrame) -> tuple[int, int, str, Fraction]:
    """Width, height, pixel format and unit of time."""
    return frame.width, frame.height, frame.format.name, frame.time_base or ANY_UNIT
