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

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from styleflow.errors import ContainerUnsupported, CorruptMedia, DecoderCrash, MediaError
from styleflow.report import MediaFacts
from styleflow.video.clips import SamplingPlan
from styleflow.video.confinement import Layer
from styleflow.video.decoder_process import DecoderProcess, SandboxLimits, decoder_process
from styleflow.video.facts import media_facts
from styleflow.video.probe import MediaLimits, check_size
from styleflow.video.sequence import FrameSequence
from styleflow.video.wire import Head, Kind

__all__ = ["Frame", "MediaLimits", "SandboxLimits", "VideoReader", "open_video"]

DEFAULT_MEDIA_LIMITS = MediaLimits()
DEFAULT_SANDBOX_LIMITS = SandboxLimits()


@dataclass(frozen=True)
class Frame:
    """One decoded frame as a viewer sees it: rotation and pixel aspect applied, interlaced pictures made whole."""

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

    def __init__(self, decoder: DecoderProcess, facts: MediaFacts, limits: MediaLimits) -> None:
        self.facts = facts
        self.decode_error: MediaError | None = None
        """Why the stream ended early, when it broke after at least one frame."""
        self.damaged_frames = 0
        """Frames handed out that the decoder had to patch, and parts of the stream that it had to leave out. Known at
        the end of the stream; 0 before, and where the stream broke."""
        self._decoder, self._limits = decoder, limits
        self._asked = False

    @property
    def pid(self) -> int:
        """Process id of the decoder."""
        return self._decoder.pid

    @property
    def layers(self) -> frozenset[Layer]:
        """What confines the decoder."""
        return self._decoder.layers

    def frames(self, plan: SamplingPlan, *, tick: Callable[[], None] = lambda: None) -> Iterator[Frame]:
        """The frames of one plan, decoded as they are pulled; can be asked for once.

        `tick` is called about twice a second while a frame is waited for; it may raise.
        A stream that breaks after some frames ends here and sets `decode_error`. Raises CorruptMedia when it breaks
        before the first, DecoderCrash when the decoder dies or sends what the plan does not have, DecodeTimeout when
        it stalls or takes too long, the MediaError of a limit that is passed on the way, and InternalFailure when the
        decoder cannot read its own installation.
        """
        if self._asked:
            raise RuntimeError("the frames of a reader can be asked for once")
        self._asked = True
        if self.facts.codec is None:
            return
        self._decoder.ask(asdict(plan), tick)
        sequence = FrameSequence(plan, self._limits.max_seconds)
        while (frame := self._next_frame(sequence, tick)) is not None:
            yield frame

    def _next_frame(self, sequence: FrameSequence, tick: Callable[[], None]) -> Frame | None:
        width, height = self.facts.width or 0, self.facts.height or 0
        try:
            head, payload = self._decoder.receive(width, height, tick)
        except CorruptMedia as error:
            if not sequence.count:
                raise
            self.decode_error = error
            return None
        if head.kind is Kind.END:
            self.damaged_frames = head.index
            return None
        _check_turn(head, sequence)
        pixels = np.frombuffer(payload, np.uint8).reshape(height, width, 3)
        return Frame(head.segment, head.index, head.time_seconds, pixels)


def _check_turn(head: Head, sequence: FrameSequence) -> None:
    """Raises DecoderCrash for all but the frame whose turn it is."""
    if head.kind is not Kind.FRAME:
        raise DecoderCrash("The decoder answered out of turn.")
    try:
        sequence.accept(head)
    except ValueError as error:
        raise DecoderCrash("The decoder sent a frame that was not asked for.") from error


@contextmanager
def open_video(
    path: Path,
    limits: MediaLimits = DEFAULT_MEDIA_LIMITS,
    sandbox: SandboxLimits = DEFAULT_SANDBOX_LIMITS,
    *,
    tick: Callable[[], None] = lambda: None,
) -> Iterator[VideoReader]:
    """Open a video and read its facts; of its pixels, one frame at most is decoded.

    `tick` is called about twice a second until the facts are there; what it raises goes through. Raises OSError when
    the file cannot be opened, a MediaError when it is not accepted, and InternalFailure when no decoder can be started
    here, or none that is confined as is required.
    """
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise ContainerUnsupported
        check_size(status.st_size, limits)
        with decoder_process(fd, status.st_size, limits, sandbox, tick) as decoder:
            head, payload = decoder.receive(0, 0, tick)
            if head.kind is not Kind.FACTS:
                raise DecoderCrash("The decoder answered out of turn.")
            yield VideoReader(decoder, media_facts(payload, status.st_size, limits), limits)
    finally:
        os.close(fd)
