"""Whether frames come as their plan has it. Checked by the parent: the child that sends them has touched the video."""

from __future__ import annotations

from styleflow.video.clips import SamplingPlan
from styleflow.video.wire import Head


class FrameSequence:
    """The frames of one plan as they arrive; each is held against the plan and the one before."""

    def __init__(self, plan: SamplingPlan, max_seconds: float) -> None:
        self._plan, self._max_seconds = plan, max_seconds
        self._segment = self._in_segment = 0
        self._index, self._seconds = -1, -1.0
        self.count = 0

    def accept(self, head: Head) -> None:
        """Count one frame. Raises ValueError for one that the plan does not have.

        No more than `max_frames` in all and `clip_frames` to a `uniform` segment; segments of the plan, never going
        back; numbers and times that strictly rise, before the end of the plan and of the longest video allowed.
        """
        if self._plan.max_frames is not None and self.count >= self._plan.max_frames:
            raise ValueError("more frames than were asked for")
        if not self._segment <= head.segment < len(self._plan.starts_seconds):
            raise ValueError("a segment that is none of the plan's")
        self._count_in_segment(head.segment)
        if head.index <= self._index:
            raise ValueError("a frame number that does not rise")
        if not self._seconds < head.time_seconds <= self._max_seconds:
            raise ValueError("a time that does not rise, or is too late")
        if self._plan.end_seconds is not None and head.time_seconds >= self._plan.end_seconds:
            raise ValueError("a frame from beyond the part that was asked for")
        self._index, self._seconds = head.index, head.time_seconds
        self.count += 1

    def _count_in_segment(self, segment: int) -> None:
        self._in_segment = self._in_segment + 1 if segment == self._segment else 1
        self._segment = segment
        if self._plan.mode == "uniform" and self._in_segment > self._plan.clip_frames:
            raise ValueError("more frames of a segment than were asked for")
