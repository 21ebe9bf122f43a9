"""The frames that a sampling plan names, in presentation order, with their times, in bounded memory.

Runs inside the decoder's child process only (see `sandbox.py`): it touches untrusted bytes. Whatever the decoder
raises leaves this file as an error of `styleflow.errors`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, cast

import av

# PyAV loads this at the first `open`; the child has then given up the right to read its own installation.
import av.subtitles.stream
import numpy as np
from av.error import ArgumentError, FFmpegError
from av.video.reformatter import VideoReformatter

from styleflow.errors import ContainerUnsupported, CorruptMedia, MediaError, ResolutionLimit, TooLong
from styleflow.video.clips import FALLBACK_RATE, SamplingPlan
from styleflow.video.playhead import Playhead
from styleflow.video.probe import MediaLimits, check_picture, displayed_size, probe

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.frame import VideoFrame
    from numpy.typing import NDArray

TS_PACKET = 188


@dataclass(frozen=True)
class DecodedFrame:
    """`pixels`: HWC uint8 RGB 0..255, as displayed: rotation and pixel aspect applied, fields made one picture."""

    segment: int
    index: int
    time_seconds: float
    pixels: NDArray[np.uint8]


@contextmanager
def typed_errors() -> Iterator[None]:
    """Any failure of the decoder becomes a MediaError.

    ImportError and the system's own OSError go through: an installation that cannot be read, a disk that fails or a
    parent that is gone is no fault of the video. FFmpeg's errors are its word on the video, though some are OSErrors.
    """
    try:
        yield
    except (MediaError, ImportError):
        raise
    except MemoryError as error:
        raise ResolutionLimit("Decoding the video needs more memory than is allowed.") from error
    except Exception as error:  # damaged files make PyAV raise UnicodeDecodeError, IndexError and more
        if isinstance(error, OSError) and not isinstance(error, FFmpegError):
            raise
        raise CorruptMedia from error


def open_container(fd: int, limits: MediaLimits) -> InputContainer:
    """Open the file behind a descriptor, from its start.

    The input can be read through that descriptor only, and only by the accepted demuxers: playlists and references
    inside a file reach no other file and no address. Raises ContainerUnsupported or CorruptMedia.
    """
    os.lseek(fd, 0, os.SEEK_SET)
    try:
        return av.open(
            "fd:",
            mode="r",
            metadata_errors="replace",
            container_options={
                "fd": str(fd),
                "protocol_whitelist": "fd",
                "format_whitelist": ",".join(sorted(limits.containers)),
            },
        )
    except (MemoryError, ImportError):
        raise
    except ArgumentError as error:  # how FFmpeg says that a demuxer is not on its list
        raise ContainerUnsupported from error
    except Exception as error:
        if looks_like_video(os.pread(fd, 2 * TS_PACKET, 0)):
            raise CorruptMedia("The file starts like a video, but cannot be opened as one.") from error
        raise ContainerUnsupported from error


def looks_like_video(head: bytes) -> bool:
    """Whether the first bytes are those of an accepted container: mov and mp4, matroska, avi, mpeg or mpegts."""
    return (
        head[4:8] in (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide")
        or head.startswith((b"\x1a\x45\xdf\xa3", b"\x00\x00\x01\xba"))
        or (head.startswith(b"RIFF") and head[8:11] == b"AVI")
        or (head[:1] == b"\x47" and head[TS_PACKET : TS_PACKET + 1] == b"\x47")
    )


class VideoSource:
    """One opened video; `frames` may be called once."""

    def __init__(self, fd: int, size_bytes: int, limits: MediaLimits, tick: Callable[[], None] = lambda: None) -> None:
        """Open, hold the header against the limits, then decode one frame, which alone tells the rotation.

        `tick` is called for each packet that is decoded, here and later. Raises a MediaError. A file without a video
        stream is opened; its header says so.
        """
        self._limits = limits
        self._patched = 0
        self.rotation_degrees = 0
        """Clockwise turn that the video asks for: 0, 90, 180 or 270."""
        with typed_errors():
            container = open_container(fd, limits)
            self.header = probe(container, size_bytes, limits)
            if self.header.stream_index is None:
                return
            self._rate = self.header.frame_rate or FALLBACK_RATE
            self._playhead = Playhead(
                container,
                lambda: open_container(fd, limits),
                stream_index=self.header.stream_index,
                rate=self._rate,
                tick=tick,
            )
            # Players know quarter turns only, and so do we.
            self.rotation_degrees = round(self._playhead.turn_degrees / 90) * 90 % 360
            self._reformatter = VideoReformatter()

    @property
    def displayed_size(self) -> tuple[int, int]:
        """Width and height, in pixels, of every frame handed out."""
        return displayed_size(*self._coded_size(), self.header.pixel_aspect, self.rotation_degrees)

    @property
    def damaged_frames(self) -> int:
        """Frames handed out so far that the decoder had to patch, and packets that it could make nothing of."""
        return self._patched + self._playhead.skipped_packets

    def frames(self, plan: SamplingPlan) -> Iterator[DecodedFrame]:
        """The frames of a plan.

        Times are seconds from the video's first frame and strictly rise. Indexes count from 0 where the plan starts at
        the start; after a jump they are estimated from time and rate, and still strictly rise. Raises a MediaError.
        """
        if self.header.codec is None:
            return
        with typed_errors():
            for segment, index, seconds, frame in islice(self._planned(plan), plan.max_frames):
                self._patched += frame.is_corrupt
                yield DecodedFrame(segment, index, seconds, self._pixels(frame))

    def _planned(self, plan: SamplingPlan) -> Iterator[tuple[int, int, float, VideoFrame]]:
        length = plan.clip_frames if plan.mode == "uniform" else None
        index, done = -1, -1.0
        for segment, start in enumerate(plan.starts_seconds):
            self._playhead.approach(start)
            estimated = start > 0
            for frame, seconds in islice(self._between(start, done, plan.end_seconds), length):
                index = max(index + 1, round(seconds * self._rate) if estimated else 0)
                estimated, done = False, seconds
                yield segment, index, seconds, frame

    def _between(self, start: float, done: float, end: float | None) -> Iterator[tuple[VideoFrame, float]]:
        """Frames from `start` (to half a frame) to before `end`, later than `done`."""
        earliest = start - 0.5 / self._rate
        while (read := self._playhead.read()) is not None:
            frame, seconds = read
            if end is not None and seconds >= end:
                return
            if seconds > self._limits.max_seconds:
                raise TooLong(f"The video lasts longer than the {self._limits.max_seconds:.0f} s allowed.")
            if seconds < earliest or seconds <= done:
                continue
            yield frame, seconds

    def _pixels(self, frame: VideoFrame) -> NDArray[np.uint8]:
        """As displayed. A stream may change its size on the way; what is handed out keeps that of the header."""
        check_picture(frame.width, frame.height, self._limits)
        width, height = displayed_size(*self._coded_size(), self.header.pixel_aspect, 0)
        rgb = self._reformatter.reformat(frame, width=width, height=height, format="rgb24", threads=1)
        upright = np.rot90(rgb.to_ndarray(), -self.rotation_degrees // 90)
        return cast("NDArray[np.uint8]", np.ascontiguousarray(upright))

    def _coded_size(self) -> tuple[int, int]:
        return self.header.coded_width or 0, self.header.coded_height or 0
