"""Decoding of untrusted bytes in a child process that has no network, no secrets, and limits on what it may use.

    with open_video(path, MediaLimits(), SandboxLimits()) as reader:
        plan = plan_sampling(reader.facts, Sampling())
        for frame in reader.frames(plan): ...

The parent opens the file and hands over a descriptor; the child (`sandbox_child.py`) sends facts and frames back
through a pipe as fast as they are read, so memory stays bounded by a few frames whatever the video's length. Leaving
the context ends the child, always. On Linux the child also dies with the thread that opened the video: keep that
thread until the reader is closed.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from styleflow.errors import ContainerUnsupported, CorruptMedia, DecoderCrash, MediaError, ResolutionLimit
from styleflow.report import MediaFacts
from styleflow.video.clips import SamplingPlan
from styleflow.video.decoder_process import DecoderProcess, SandboxLimits, decoder_process
from styleflow.video.probe import MediaLimits, VideoHeader, check_picture, check_size
from styleflow.video.wire import Kind

__all__ = ["Frame", "MediaLimits", "SandboxLimits", "VideoReader", "open_video"]

DEFAULT_MEDIA_LIMITS = MediaLimits()
DEFAULT_SANDBOX_LIMITS = SandboxLimits()


@dataclass(frozen=True)
class Frame:
    """One decoded frame as a viewer sees it: rotation and pixel aspect applied."""

    segment: int
    """Position in the plan's `starts_seconds`; the frames of one segment are consecutive."""
    index: int
    """Frame number from 0: exact where the plan starts at the start of the video, estimated after a jump."""
    time_seconds: float
    """From the first frame of the video; strictly rising."""
    pixels: NDArray[np.uint8]
    """HWC, RGB, 0..255, the size of the facts for every frame. The caller's to keep and to write to."""


class VideoReader:
    """An opened video. Get one from `open_video`."""

    def __init__(self, decoder: DecoderProcess, facts: MediaFacts) -> None:
        self.facts = facts
        self.decode_error: MediaError | None = None
        """Why the stream ended early, when it broke after at least one frame."""
        self._decoder = decoder
        self._asked = False

    @property
    def pid(self) -> int:
        """Process id of the decoder."""
        return self._decoder.pid

    def frames(self, plan: SamplingPlan, *, tick: Callable[[], None] = lambda: None) -> Iterator[Frame]:
        """The frames of one plan, decoded as they are pulled; can be asked for once.

        `tick` is called about once a second while the decoder works its way to a far start; it may raise.
        A stream that breaks after some frames ends here and sets `decode_error`. Raises CorruptMedia when it breaks
        before the first, DecoderCrash when the decoder dies, DecodeTimeout when it stalls, and the MediaError of a
        limit that is passed on the way.
        """
        if self._asked:
            raise RuntimeError("the frames of a reader can be asked for once")
        self._asked = True
        if self.facts.codec is None:
            return
        self._decoder.ask(asdict(plan))
        given_out = 0
        while (frame := self._next_frame(given_out, tick)) is not None:
            given_out += 1
            yield frame

    def _next_frame(self, given_out: int, tick: Callable[[], None]) -> Frame | None:
        width, height = self.facts.width or 0, self.facts.height or 0
        try:
            head, payload = self._decoder.receive(width, height, tick)
        except CorruptMedia as error:
            if not given_out:
                raise
            self.decode_error = error
            return None
        if head.kind is Kind.END:
            return None
        if head.kind is not Kind.FRAME:
            raise DecoderCrash("The decoder answered out of turn.")
        pixels = np.frombuffer(payload, np.uint8).reshape(height, width, 3)
        return Frame(head.segment, head.index, head.time_seconds, pixels)


@contextmanager
def open_video(
    path: Path,
    limits: MediaLimits = DEFAULT_MEDIA_LIMITS,
    sandbox: SandboxLimits = DEFAULT_SANDBOX_LIMITS,
) -> Iterator[VideoReader]:
    """Open a video and read its facts; of its pixels, one frame at most is decoded.

    Raises OSError when the file cannot be opened, a MediaError when it is not accepted, and InternalFailure when no
    decoder can be started here.
    """
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise ContainerUnsupported
        check_size(status.st_size, limits)
        with decoder_process(fd, status.st_size, limits, sandbox) as decoder:
            head, payload = decoder.receive(0, 0)
            if head.kind is not Kind.FACTS:
                raise DecoderCrash("The decoder answered out of turn.")
            yield VideoReader(decoder, media_facts(payload, limits))
    finally:
        os.close(fd)


def media_facts(payload: bytes | bytearray, limits: MediaLimits) -> MediaFacts:
    """Read the child's facts: a VideoHeader with rotation and displayed size, as JSON.

    The size is checked once more on this side, where memory is about to be reserved for frames. Raises DecoderCrash
    for anything else.
    """
    try:
        value = json.loads(payload)
        rotation, width, height = (int(value[name]) for name in ("rotation_degrees", "width", "height"))
        header = VideoHeader(**{field.name: value[field.name] for field in fields(VideoHeader)})
        check_picture(width, height, limits)
    except (KeyError, TypeError, ValueError, ResolutionLimit) as error:
        raise DecoderCrash("The decoder sent something that is no header.") from error
    has_video = header.codec is not None
    return MediaFacts(
        container=header.container,
        codec=header.codec,
        width=width if has_video else None,
        height=height if has_video else None,
        rotation_degrees=rotation,
        pixel_aspect=header.pixel_aspect,
        frame_rate=header.frame_rate,
        duration_seconds_from_header=header.duration_seconds,
        frame_count_from_header=header.frame_count,
        has_audio=header.has_audio,
        size_bytes=header.size_bytes,
    )
