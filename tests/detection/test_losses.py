from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from styleflow.detection.losses import Received, holds_frames, losses
from styleflow.detection.pace import Pace
from styleflow.report import MediaFacts
from styleflow.video.clips import Sampling, SamplingPlan, plan_sampling

FACTS = MediaFacts(
    container="matroska,webm",
    codec="h264",
    width=64,
    height=64,
    frame_rate=25.0,
    duration_seconds_from_header=20.0,
)


def plan(facts: MediaFacts = FACTS, start: float = 0.0, end: float | None = None) -> SamplingPlan:
    return plan_sampling(facts, Sampling(mode="full"), start_seconds=start, end_seconds=end)


def frames_at(*times: float, segment: int = 0) -> Received:
    pace = Pace()
    for seconds in times:
        pace.take(segment, seconds)
    return Received(frames=len(times), pace=pace)


def evenly(count: int, rate: float = 25.0, start: float = 0.0) -> Received:
    return frames_at(*(start + number / rate for number in range(count)))


@given(st.integers(1, 400), st.sampled_from([5.0, 12.5, 25.0, 29.97, 60.0]))
def test_a_whole_even_video_lost_nothing(count: int, rate: float) -> None:
    facts = replace(FACTS, frame_rate=rate, duration_seconds_from_header=count / rate, frame_count_from_header=count)

    assert losses(facts, plan(facts), evenly(count, rate)) == []


@given(st.integers(1, 400), st.floats(0.05, 0.7))
def test_a_video_that_ends_far_before_its_header_says_is_short(count: int, share: float) -> None:
    facts = replace(FACTS, duration_seconds_from_header=max(2.0, count / 25 / share))

    [sentence] = losses(facts, plan(facts), evenly(count))
    assert sentence.startswith("The last frame lies at")


@pytest.mark.parametrize(("frames", "short"), [(500, False), (480, False), (470, True)])
def test_sound_may_last_a_second_longer_than_the_pictures(frames: int, short: bool) -> None:
    assert bool(losses(FACTS, plan(), evenly(frames))) is short


def test_what_was_not_asked_for_is_not_lost() -> None:
    assert losses(FACTS, plan(start=4.0, end=6.0), evenly(50, start=4.0)) == []
    assert losses(FACTS, plan_sampling(FACTS, Sampling(mode="full", max_clips=2)), evenly(64)) == []


def test_every_second_frame_missing_is_known_by_the_count() -> None:
    facts = replace(FACTS, frame_count_from_header=500)

    assert losses(facts, plan(facts), evenly(250, 12.5)) == ["250 of 500 frames could be decoded."]


def test_a_header_that_counts_more_frames_than_the_file_has_time_for_tells_of_a_cut() -> None:
    facts = replace(FACTS, frame_count_from_header=1000)
    stopped = plan_sampling(facts, Sampling(mode="full", max_clips=2))

    [sentence] = losses(facts, stopped, evenly(64))
    assert sentence.startswith("The header names 1000 frames")


def test_damaged_frames_are_a_loss() -> None:
    assert losses(FACTS, plan(), replace(evenly(500), damaged_frames=3)) == ["3 frames are damaged."]


def test_a_segment_that_begins_late_lost_its_start_unless_the_one_before_took_its_time() -> None:
    windows = SamplingPlan(
        mode="uniform", starts_seconds=(0.0, 4.0), max_frames=64, truncated=True, clips_planned=2, end_seconds=None
    )
    late, taken = frames_at(*(n / 25 for n in range(32))), frames_at(*(n / 7 for n in range(32)))
    for received, begins in ((late, 5.0), (taken, 31 / 7 + 0.04)):
        for number in range(32):
            received.pace.take(1, begins + number / 25)

    assert losses(FACTS, windows, replace(late, frames=64)) == ["For 1.0 s there is no frame."]
    assert losses(FACTS, windows, replace(taken, frames=64)) == []


@pytest.mark.parametrize(
    ("duration", "start", "end", "expected"),
    [
        (20.0, 0.0, None, True),
        (20.0, 10.0, None, True),
        (20.0, 10.0, 10.03, False),
        (20.0, 19.5, None, False),
        (20.0, 60.0, 70.0, False),
        (None, 1.0, None, False),
        (None, 0.0, None, True),
    ],
)
def test_a_part_holds_frames_where_the_header_promises_some(
    duration: float | None, start: float, end: float | None, expected: bool
) -> None:
    facts = replace(FACTS, duration_seconds_from_header=duration)

    assert holds_frames(facts, plan(facts, start, end)) is expected
