from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from styleflow.detection.pace import SHORTEST_HOLE_SECONDS, Pace, is_hole

steps = st.lists(st.floats(0.001, 5.0), max_size=60)


def holes(times: list[float], pace: Pace | None = None) -> list[int]:
    """Positions before which a hole lies."""
    pace = pace or Pace()
    return [number for number, seconds in enumerate(times) if pace.take(0, seconds)]


def times_of(steps: list[float]) -> list[float]:
    return [sum(steps[:number]) for number in range(len(steps) + 1)]


@pytest.mark.parametrize("rate", [5, 10, 25, 60])
def test_an_even_video_has_no_hole(rate: int) -> None:
    assert holes([number / rate for number in range(200)]) == []


def test_a_step_over_lost_frames_is_a_hole_and_the_next_one_is_none() -> None:
    times = times_of([0.04] * 20 + [0.3] + [0.04] * 20)

    assert holes(times) == [21]


def test_a_lost_second_frame_is_a_hole_and_does_not_make_long_steps_usual() -> None:
    assert holes(times_of([3.0, 0.04, 0.04, 1.0])) == [1, 4]


def test_a_few_skipped_frames_are_no_hole() -> None:
    assert holes(times_of([0.04, 0.04, 0.24, 0.04])) == []


def test_a_recording_that_becomes_slow_for_good_is_one_again() -> None:
    found = holes(times_of([0.04] * 64 + [0.5] * 64))

    assert found == list(range(65, 98))


def test_a_new_segment_is_no_hole() -> None:
    pace = Pace()

    assert not pace.take(0, 0.0)
    assert not pace.take(0, 0.04)
    assert not pace.take(1, 60.0)
    assert not pace.take(1, 60.04)
    assert pace.seconds == pytest.approx(4 * 0.04)


@given(steps)
def test_what_was_seen_and_the_holes_never_exceed_the_whole(made: list[float]) -> None:
    pace = Pace()
    times = times_of(made)
    found = holes(times, pace)
    segment = pace.segments[0]

    assert (segment.frames, segment.holes) == (len(times), len(found))
    assert segment.hole_seconds == pytest.approx(sum(times[n] - times[n - 1] for n in found), abs=1e-6)
    assert segment.longest_step == max((b - a for a, b in pairwise(times)), default=0.0)
    assert segment.even_seconds >= -1e-6
    assert segment.even_seconds + segment.hole_seconds == pytest.approx(times[-1] - times[0], abs=1e-6)


@given(st.floats(0, 100), st.floats(0, 100))
def test_a_hole_is_longer_than_any_usual_step(step: float, usual: float) -> None:
    assert is_hole(step, usual) == (step > 4 * usual and step > SHORTEST_HOLE_SECONDS)


def test_one_frame_has_no_usual_step() -> None:
    pace = Pace()
    pace.take(0, 0.0)

    assert (pace.usual_step, pace.seconds) == (None, 0.0)
