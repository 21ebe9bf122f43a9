from __future__ import annotations

import pytest

from styleflow.video.clips import SamplingPlan
from styleflow.video.sequence import FrameSequence
from styleflow.video.wire import Head, Kind

UNIFORM = SamplingPlan(
    mode="uniform",
    starts_seconds=(0.0, 10.0),
    clip_frames=3,
    max_frames=6,
    truncated=True,
    clips_planned=2,
    end_seconds=20.0,
)

Told = tuple[int, int, float]
"""Segment, number, seconds."""


def refusal(*frames: Told) -> str | None:
    sequence = FrameSequence(UNIFORM, max_seconds=15.0)
    try:
        for segment, index, seconds in frames:
            sequence.accept(Head(Kind.FRAME, 0, segment, index, seconds))
    except ValueError as error:
        return str(error)
    assert sequence.count == len(frames)
    return None


def test_frames_of_the_plan_are_accepted() -> None:
    first, second = [(0, n, n / 10) for n in range(3)], [(1, 100 + n, 10 + n / 10) for n in range(3)]
    assert refusal(*first, *second) is None


def test_a_segment_may_stay_short_or_empty() -> None:
    assert refusal((0, 0, 0.0), (1, 100, 10.0)) is None
    assert refusal((1, 100, 10.0)) is None


@pytest.mark.parametrize(
    ("frames", "reason"),
    [
        ([(0, n, n / 10) for n in range(4)], "more frames of a segment"),
        ([(1, 5, 10.0), (0, 6, 10.1)], "segment"),
        ([(2, 0, 0.0)], "segment"),
        ([(0, 5, 1.0), (0, 5, 1.1)], "number"),
        ([(0, 5, 1.0), (1, 4, 10.0)], "number"),
        ([(0, 0, 1.0), (0, 1, 1.0)], "time"),
        ([(0, 0, 1.0), (1, 1, 0.5)], "time"),
        ([(0, 0, 15.5)], "time"),
    ],
)
def test_a_frame_that_the_plan_does_not_have_is_refused(frames: list[Told], reason: str) -> None:
    assert reason in (refusal(*frames) or "")


def test_a_frame_from_beyond_the_end_of_the_plan_is_refused() -> None:
    sequence = FrameSequence(UNIFORM, max_seconds=100.0)
    with pytest.raises(ValueError, match="beyond"):
        sequence.accept(Head(Kind.FRAME, 0, 0, 0, 20.0))


def test_no_more_than_the_frames_asked_for_are_accepted() -> None:
    plan = SamplingPlan(mode="full", starts_seconds=(0.0,), max_frames=2, truncated=False, clips_planned=0)
    sequence = FrameSequence(plan, max_seconds=100.0)
    for index in range(2):
        sequence.accept(Head(Kind.FRAME, 0, 0, index, float(index)))
    with pytest.raises(ValueError, match="asked for"):
        sequence.accept(Head(Kind.FRAME, 0, 0, 2, 2.0))
