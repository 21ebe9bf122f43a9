"""How the frames of a video follow each other in time: the usual step, and the holes. Pure arithmetic.

The network reads 32 frames as if they were evenly spaced. Where frames were lost, or a variable-rate recording held
one picture, the next frame is not the one after: motion over such a hole would be read as motion of the face.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from statistics import median_low

HOLE_IN_STEPS = 4.0
"""A step so many times longer than the usual one is a hole..."""
SHORTEST_HOLE_SECONDS = 0.25
"""...unless it is shorter than this: variable-rate cameras skip a few frames in poor light."""
REMEMBERED_STEPS = 64
"""The usual step is the median of so many, so that it follows a recording that changes its rate."""


@dataclass(eq=False)
class SegmentTimes:
    """The presentation times of a segment's frames, in short."""

    first: float
    last: float
    frames: int = 1
    holes: int = 0
    hole_seconds: float = 0.0
    longest_step: float = 0.0

    @property
    def even_steps(self) -> int:
        """Steps from one frame to the next that are no holes."""
        return self.frames - 1 - self.holes

    @property
    def even_seconds(self) -> float:
        """What these steps take together."""
        return self.last - self.first - self.hole_seconds

    @property
    def seconds(self) -> float:
        """What was seen: without the holes, and with the duration of the frames before them and of the last one,
        taken as the mean of the others."""
        return self.even_seconds * self.frames / self.even_steps if self.even_steps else 0.0


class Pace:
    """Takes the times of all frames of a video in order."""

    def __init__(self) -> None:
        self.segments: dict[int, SegmentTimes] = {}
        self._steps: deque[float] = deque(maxlen=REMEMBERED_STEPS)

    def take(self, segment: int, seconds: float) -> bool:
        """Note the next frame; True where a hole lies between it and the frame before in its segment."""
        times = self.segments.get(segment)
        if times is None:
            self.segments[segment] = SegmentTimes(seconds, seconds)
            return False
        step = seconds - times.last
        hole = is_hole(step, median_low(self._steps) if self._steps else 0.0)
        self._steps.append(step)
        times.last, times.frames = seconds, times.frames + 1
        times.longest_step = max(times.longest_step, step)
        if hole:
            times.holes += 1
            times.hole_seconds += step
        return hole

    @property
    def usual_step(self) -> float | None:
        """Mean seconds from one frame to the next, holes aside; None for fewer than two frames that follow each
        other."""
        steps = sum(times.even_steps for times in self.segments.values())
        return sum(times.even_seconds for times in self.segments.values()) / steps if steps else None

    @property
    def seconds(self) -> float:
        """What was seen of the video, holes left out."""
        return sum(times.seconds for times in self.segments.values())


def is_hole(step: float, usual_step: float) -> bool:
    """Whether so many seconds between two frames mean that pictures are missing there. Where no step is usual yet
    (0), a long first one counts as a hole: it costs one frame where the video is merely slow."""
    return step > max(HOLE_IN_STEPS * usual_step, SHORTEST_HOLE_SECONDS)
