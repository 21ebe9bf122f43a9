"""The decoder's child process: confine yourself, open the video behind a descriptor, send what is asked for.

Started by `sandbox.py`, which speaks to it over the standard input (two lines of JSON: the task, then the plan) and
reads messages as in `wire.py` from its standard output. Imports PyAV, numpy and little else.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from styleflow.errors import CorruptMedia, InternalFailure, MediaError, ResolutionLimit
from styleflow.video.clips import SamplingPlan
from styleflow.video.confinement import confine, is_enough
from styleflow.video.decode import VideoSource
from styleflow.video.probe import MediaLimits
from styleflow.video.wire import Head, Kind

TICK_SECONDS = 1.0


class Messages:
    """The way back to the parent. Blocks while the parent does not read: that is the only queue there is."""

    def __init__(self) -> None:
        self._fd = os.dup(1)
        # Whatever else writes to the standard output must not end up between our messages.
        os.dup2(2, 1)
        self._ticked = time.monotonic()

    def send(self, head: Head, payload: bytes | memoryview = b"") -> None:
        for data in (head.pack(), payload):
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(self._fd, rest) :]

    def send_json(self, kind: Kind, value: dict[str, Any]) -> None:
        payload = json.dumps(value).encode()
        self.send(Head(kind, payload_bytes=len(payload)), payload)

    def tick(self) -> None:
        """Say that decoding goes on, at most once a second."""
        now = time.monotonic()
        if now - self._ticked >= TICK_SECONDS:
            self._ticked = now
            self.send(Head(Kind.TICK))


def main() -> None:
    task = json.loads(sys.stdin.buffer.readline())
    messages = Messages()
    layers = confine(**task["confinement"])
    messages.send_json(Kind.READY, {"layers": sorted(layers)})
    if task["fd"] is None or (task["confinement_required"] and not is_enough(layers)):
        return
    try:
        decode(task, messages, sys.stdin.buffer.readline)
    except BrokenPipeError:
        return
    except MediaError as error:
        messages.send_json(Kind.ERROR, {"error": type(error).__name__, "message": str(error)})
    except MemoryError:
        messages.send_json(Kind.ERROR, {"error": ResolutionLimit.__name__, "message": ""})
    except (ImportError, OSError):
        # Something that was not loaded in time, or a file that cannot be read: not the video's fault.
        messages.send_json(Kind.ERROR, {"error": InternalFailure.__name__, "message": ""})


def decode(task: dict[str, Any], messages: Messages, next_line: Callable[[], bytes]) -> None:
    """Send the facts, wait for the plan, send its frames. Raises a MediaError."""
    source = VideoSource(task["fd"], task["size_bytes"], media_limits(task["limits"]), messages.tick)
    width, height = source.displayed_size
    messages.send_json(
        Kind.FACTS,
        {**asdict(source.header), "rotation_degrees": source.rotation_degrees, "width": width, "height": height},
    )
    line = next_line()
    if not line:
        return
    plan = json.loads(line)
    plan["starts_seconds"] = tuple(plan["starts_seconds"])
    for frame in source.frames(SamplingPlan(**plan)):
        frame_height, frame_width, _ = frame.pixels.shape
        if (frame_width, frame_height) != (width, height):
            raise CorruptMedia
        head = Head(Kind.FRAME, frame.pixels.nbytes, frame.segment, frame.index, frame.time_seconds, width, height)
        messages.send(head, frame.pixels.data.cast("B"))
    messages.send(Head(Kind.END, index=source.damaged_frames))


def media_limits(value: dict[str, Any]) -> MediaLimits:
    """Read back what `sandbox.py` wrote: JSON has no sets."""
    sets = {name: frozenset(value[name]) for name in ("containers", "codecs")}
    return MediaLimits(**{**value, **sets})


if __name__ == "__main__":
    main()
