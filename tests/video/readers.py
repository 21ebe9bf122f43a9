"""What the tests of the sandbox do with an opened video and its process."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

from styleflow.video.clips import Sampling, plan_sampling
from styleflow.video.sandbox import Frame, VideoReader

FULL = Sampling(mode="full")


def frames_of(reader: VideoReader) -> Iterator[Frame]:
    return reader.frames(plan_sampling(reader.facts, FULL))


def count_frames(reader: VideoReader) -> int:
    return sum(1 for _ in frames_of(reader))


def is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def gone_within(pid: int, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if is_gone(pid):
            return True
        time.sleep(0.02)
    return False
