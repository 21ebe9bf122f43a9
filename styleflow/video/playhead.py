"""A place in an opened video: its frames from here on with their times, and jumps to other places.

Runs inside the decoder's child process only. Errors of PyAV pass through; `decode.py` gives them their types.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

from av.error import EOFError as EndOfStream
from av.error import FFmpegError

from styleflow.errors import CorruptMedia
from styleflow.video.fields import without_combs

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

BAD_PACKETS_BEFORE_A_FRAME = 250
"""A recording cut in mid-stream starts with packets that nothing can decode; this is ten seconds of them."""
NEAR_SECONDS = 2.0
"""A place this close ahead is reached by decoding on: a jump would go back to a key frame."""
BACK_SECONDS = (0.5, 4.0, 16.0)
"""How far before a place to aim, in turn: an index may speak of decoding times, or be wrong."""
GUESSED_STAMPS_SECONDS = {"mpeg": 1.5}
"""By demuxer: for how long after a jump its time stamps are guesses. Program streams stamp not every picture."""
CLOCK_ERROR_SECONDS = 1.0
"""A clock that runs back by less is wrong for a moment and will be right again; by more, it was set anew."""
SLIVER_SECONDS = 1e-3
"""Time given to a frame whose stamp is wrong, so that times rise and the right ones are met again."""


class Playhead:
    """Reads one video stream of a container that is at its start, and owns it."""

    _frames: Iterator[VideoFrame]
    _held: VideoFrame | None
    """Already decoded, and to be read next."""

    def __init__(
        self,
        container: InputContainer,
        reopen: Callable[[], InputContainer],
        *,
        stream_index: int,
        rate: float,
        tick: Callable[[], None] = lambda: None,
    ) -> None:
        """Decodes the first frame; raises CorruptMedia when there is none.

        `reopen` opens the same input anew; `rate` is frames a second, for where time stamps are missing; `tick` is
        called for each packet.
        """
        self._reopen, self._index, self._step, self._tick = reopen, stream_index, 1.0 / rate, tick
        self.skipped_packets = 0
        """Packets before the first frame that could not be decoded. After a jump they are no loss: see `_decoded`."""
        self._seeking_helps = True
        self._origin: int | None = None
        self._begin(container)
        first = next(self._frames, None)
        if first is None:
            raise CorruptMedia("The video stream holds no frame that can be decoded.")
        self.turn_degrees = -first.rotation
        """Clockwise turn that the first frame asks for; PyAV counts against the clock."""
        self._held = first
        self._origin = stamp(first)
        if self._origin is None:
            # Without time stamps there is no telling where a jump arrived.
            self._seeking_helps = False

    def read(self) -> tuple[VideoFrame, float] | None:
        """The next frame and its seconds from the first one, strictly rising between jumps; None at the end."""
        frame, self._held = self._held or next(self._frames, None), None
        if frame is None:
            return None
        self._seconds = self._time(frame)
        return frame, self._seconds

    def approach(self, seconds: float) -> None:
        """Go to where the frames up to `seconds` are still to be read, without decoding all of what lies between."""
        before = self._seconds
        if seconds - before <= NEAR_SECONDS or not self._seeking_helps:
            return
        unsure = GUESSED_STAMPS_SECONDS.get(self._container.format.name, 0.0)
        for back in BACK_SECONDS:
            landed = self._jump(max(0.0, seconds - unsure - back))
            if landed is not None and landed <= seconds:
                # With no key frame in between, each jump would decode the same stretch again.
                self._seeking_helps = landed > before
                return
        self._container.close()
        self._begin(self._reopen())
        self._seeking_helps = False

    def _jump(self, seconds: float) -> float | None:
        """Jump to a key frame at or before `seconds`; returns the time of the next frame, None when it failed."""
        assert self._origin is not None
        assert self._stream.time_base is not None
        target = self._origin + int(seconds / self._stream.time_base)
        # What was decoded of the old place goes before anything is decoded of the new one.
        self._seconds, self._held, self._frames = -1.0, None, iter(())
        with suppress(FFmpegError):
            self._container.seek(target, stream=self._stream)
            self._frames = without_combs(self._decoded(jumped=True))
            for frame in self._frames:
                if stamp(frame) is not None:
                    self._held = frame
                    return self._time(frame)
        return None

    def _begin(self, container: InputContainer) -> None:
        self._container = container
        stream = container.streams[self._index]
        self._stream: VideoStream = stream  # type: ignore[assignment]  # probe.py chose it among the video streams
        # One thread: less memory per decoder, the same output everywhere, and workers run many children.
        self._stream.thread_count = 1
        self._seconds = -1.0
        self._held = None
        self._frames = without_combs(self._decoded(jumped=False))

    def _decoded(self, *, jumped: bool) -> Iterator[VideoFrame]:
        bad_packets: int | None = 0
        key: int | None = None
        for packet in self._container.demux(self._stream):
            self._tick()
            if jumped and key is None and packet.is_keyframe:
                key = packet.pts
            try:
                frames = packet.decode()
            except MemoryError:
                raise
            except EndOfStream:
                return
            except FFmpegError:
                if bad_packets is None or bad_packets >= BAD_PACKETS_BEFORE_A_FRAME:
                    raise
                bad_packets += 1
                self.skipped_packets += not jumped
                continue
            for frame in frames:
                # Frames shown before the key frame we landed on refer to pictures we did not decode.
                if key is None or frame.pts is None or frame.pts >= key:
                    bad_packets = None
                    yield frame

    def _time(self, frame: VideoFrame) -> float:
        now = stamp(frame)
        if now is None or self._origin is None or frame.time_base is None:
            return max(0.0, self._seconds + self._step) if self._seconds >= 0 else 0.0
        seconds = float((now - self._origin) * frame.time_base)
        if seconds > self._seconds:
            return seconds
        if self._seconds - seconds < CLOCK_ERROR_SECONDS:
            return self._seconds + SLIVER_SECONDS
        self._origin = now - int((self._seconds + self._step) / frame.time_base)
        return self._seconds + self._step


def stamp(frame: VideoFrame) -> int | None:
    """Presentation time in units of the time base; AVI has decoding times only, in the same order once decoded."""
    return frame.pts if frame.pts is not None else frame.dts
