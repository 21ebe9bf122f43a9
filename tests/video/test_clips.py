from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from styleflow.report import MediaFacts
from styleflow.video.clips import (
    CLIP_FRAMES,
    Sampling,
    count_windows,
    plan_sampling,
    uniform_starts,
    windows,
)

frame_counts = st.integers(0, 100_000)


def facts(frames: int | None, rate: float = 25.0, *, by_count: bool = True) -> MediaFacts:
    return MediaFacts(
        container="avi",
        codec="h264",
        width=64,
        height=64,
        frame_rate=rate,
        duration_seconds_from_header=frames / rate if frames is not None else None,
        frame_count_from_header=frames if by_count else None,
    )


@given(frame_counts)
def test_every_frame_of_a_track_of_sixteen_or_more_falls_in_a_window(frames: int) -> None:
    covered = {position for window in windows(frames) for position in window.positions}
    assert covered == (set(range(frames)) if frames >= 16 else set())


@given(frame_counts)
def test_a_window_has_32_positions_inside_the_track(frames: int) -> None:
    for window in windows(frames):
        assert len(window.positions) == CLIP_FRAMES
        assert 0 <= window.first <= window.last < frames


@given(frame_counts)
def test_windows_are_ordered_and_only_the_last_may_reuse_frames(frames: int) -> None:
    made = windows(frames)
    assert len(made) == count_windows(frames)
    for one, next_one in pairwise(made[:-1]):
        assert next_one.first == one.last + 1
    if len(made) > 1:
        assert made[-1].first > made[-2].first
        assert made[-1].last == frames - 1


@given(st.integers(16, 31))
def test_a_short_track_is_mirrored_evenly_on_both_sides(frames: int) -> None:
    (window,) = windows(frames)
    steps = [abs(after - before) for before, after in pairwise(window.positions)]
    assert set(steps) == {1}
    assert window.padded
    before, after = window.positions.index(0), window.positions[::-1].index(frames - 1)
    assert 0 <= after - before <= 1


def test_a_track_of_32_frames_is_one_window_without_padding() -> None:
    assert [window.positions for window in windows(32)] == [tuple(range(32))]
    assert not windows(32)[0].padded


def test_a_rest_of_one_frame_is_covered_by_the_last_32_frames() -> None:
    assert [(window.first, window.last) for window in windows(65)] == [(0, 31), (32, 63), (33, 64)]


@given(st.integers(CLIP_FRAMES, 1_000_000), st.integers(1, 600))
def test_uniform_windows_lie_inside_the_video_in_order_without_overlap(frames: int, clips: int) -> None:
    starts = uniform_starts(frames, clips)
    assert 1 <= len(starts) <= clips
    assert starts[0] >= 0
    assert starts[-1] + CLIP_FRAMES <= frames
    assert all(after - before >= CLIP_FRAMES for before, after in pairwise(starts))


@given(st.integers(CLIP_FRAMES, 1_000_000), st.integers(1, 600))
def test_uniform_windows_leave_gaps_that_differ_by_a_frame_at_most(frames: int, clips: int) -> None:
    starts = uniform_starts(frames, clips)
    gaps = {after - before for before, after in pairwise(starts)}
    assert not gaps or max(gaps) - min(gaps) <= 1


def test_one_uniform_window_is_the_middle_of_the_video() -> None:
    plan = plan_sampling(facts(1000), Sampling(mode="uniform", clips=1))
    assert plan.starts_seconds == (484 / 25,)


@given(st.integers(0, 40_000), st.integers(1, 64), st.integers(1, 600))
def test_every_frame_of_a_full_plan_is_decoded_or_named_as_left_out(frames: int, clips: int, most: int) -> None:
    plan = plan_sampling(facts(frames), Sampling(mode="full", clips=clips, max_clips=most))
    assert plan.max_frames is not None
    assert plan.truncated == (frames > plan.max_frames)
    assert plan.starts_seconds == (0.0,)
    assert plan.clips_planned == len(windows(min(frames, plan.max_frames)))


@given(frame_counts, st.integers(1, 64))
def test_auto_is_full_exactly_where_the_clips_suffice(frames: int, clips: int) -> None:
    plan = plan_sampling(facts(frames), Sampling(clips=clips))
    assert (plan.mode == "full") == (len(windows(frames)) <= clips)


@pytest.mark.parametrize("mode", ["auto", "full", "uniform"])
def test_a_video_of_unknown_length_is_read_from_its_start_up_to_the_cap(mode: str) -> None:
    plan = plan_sampling(facts(None), Sampling(mode=mode, clips=4, max_clips=9))  # type: ignore[arg-type]
    assert (plan.mode, plan.starts_seconds, plan.clips_planned, plan.truncated) == ("full", (0.0,), 0, False)
    assert plan.max_frames == 32 * (4 if mode == "uniform" else 9)


def test_without_a_frame_count_duration_and_rate_tell_the_length() -> None:
    assert plan_sampling(facts(320, by_count=False), Sampling(mode="full")).clips_planned == 10


def test_a_variable_rate_file_is_spread_by_its_mean_rate_and_not_by_the_stated_one() -> None:
    told = MediaFacts(
        container="avi",
        codec="h264",
        width=64,
        height=64,
        frame_rate=100.0,
        duration_seconds_from_header=100.0,
        frame_count_from_header=1000,
    )
    plan = plan_sampling(told, Sampling(mode="uniform", clips=2))
    assert plan.starts_seconds == (23.4, 73.4)


def test_a_region_is_sampled_as_if_it_were_the_video() -> None:
    plan = plan_sampling(facts(2500), Sampling(clips=2), start_seconds=50.0, end_seconds=60.0)
    assert plan.mode == "uniform"
    assert plan.end_seconds == 60.0
    assert all(50.0 <= start <= 60.0 - 32 / 25 for start in plan.starts_seconds)


def test_a_region_beyond_the_end_holds_no_clip() -> None:
    plan = plan_sampling(facts(100), Sampling(), start_seconds=50.0)
    assert (plan.mode, plan.clips_planned) == ("full", 0)


@pytest.mark.parametrize("how", [{"clips": 0}, {"max_clips": 0}])
def test_a_sampling_of_no_clips_is_refused(how: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="at least one clip"):
        Sampling(**how)  # type: ignore[arg-type]
