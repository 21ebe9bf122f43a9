"""What the tests of the sandbox do with an opened video and its process."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

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
    return until(lambda: is_gone(pid), seconds)


def until(holds: Callable[[], bool], seconds: float) -> bool:
    """Whether something came to hold in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if holds():
            return True
        time.sleep(0.02)
    return False


def state_of(pid: int) -> str:
    """R, S, T (stopped) and so on, by /proc."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
