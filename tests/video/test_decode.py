from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from styleflow.errors import CorruptMedia, MediaError, ResolutionLimit, TooLong
from styleflow.video.clips import SamplingPlan
from styleflow.video.decode import DecodedFrame, VideoSource, typed_errors
from styleflow.video.probe import MediaLimits
from tests import media
from tests.media import BLUE, GREEN, RED

FULL = SamplingPlan(mode="full", starts_seconds=(0.0,), max_frames=None, truncated=False, clips_planned=0)


def uniform(*starts: float, clip_frames: int = 5) -> SamplingPlan:
    return SamplingPlan(
        mode="uniform",
        starts_seconds=starts,
        clip_frames=clip_frames,
        max_frames=clip_frames * len(starts),
        truncated=True,
        clips_planned=len(starts),
    )


@contextmanager
def opened(
    path: Path,
    limits: MediaLimits = MediaLimits(),  # noqa: B008 - frozen
    tick: Callable[[], None] = lambda: None,
) -> Iterator[VideoSource]:
    fd = os.open(path, os.O_RDONLY)
    try:
        yield VideoSource(fd, path.stat().st_size, limits, tick)
    finally:
        os.close(fd)


def decode(path: Path, plan: SamplingPlan = FULL) -> list[DecodedFrame]:
    with opened(path) as source:
        return list(source.frames(plan))


def until_error(source: VideoSource) -> tuple[list[DecodedFrame], MediaError | None]:
    frames = []
    try:
        for frame in source.frames(FULL):
            frames.append(frame)
    except MediaError as error:
        return frames, error
    return frames, None


def corner_colours(pixels: media.Picture) -> dict[str, tuple[int, ...]]:
    """Which of the drawn colours is found near each corner."""
    height, width, _ = pixels.shape
    places = {
        "top left": (height // 8, width // 8),
        "top right": (height // 8, width * 7 // 8),
        "bottom left": (height * 7 // 8, width // 8),
        "bottom right": (height * 7 // 8, width * 7 // 8),
    }
    found: dict[str, tuple[int, ...]] = {}
    for name, (row, column) in places.items():
        for colour in (RED, GREEN, BLUE):
            if np.abs(pixels[row, column].astype(int) - colour).max() < 40:
                found[name] = colour
    return found


@pytest.mark.parametrize(
    ("rotation", "red", "green", "blue"),
    [
        (0, "top left", "top right", "bottom left"),
        (90, "top right", "bottom right", "top left"),
        (180, "bottom right", "bottom left", "top right"),
        (270, "bottom left", "top left", "bottom right"),
    ],
)
def test_a_rotated_video_comes_out_as_a_viewer_sees_it(
    tmp_path: Path, rotation: int, red: str, green: str, blue: str
) -> None:
    with opened(media.rotated_clip(tmp_path / "a.mp4", rotation)) as source:
        frames = list(source.frames(FULL))
        assert source.rotation_degrees == rotation
        assert source.displayed_size == ((64, 96) if rotation in (90, 270) else (96, 64))
    assert {frame.pixels.shape for frame in frames} == {(96, 64, 3) if rotation in (90, 270) else (64, 96, 3)}
    assert corner_colours(frames[-1].pixels) == {red: RED, green: GREEN, blue: BLUE}


@pytest.mark.parametrize(("aspect", "shape"), [(Fraction(2), (64, 192, 3)), (Fraction(1, 2), (128, 96, 3))])
def test_pixels_that_are_not_square_are_stretched(
    tmp_path: Path, aspect: Fraction, shape: tuple[int, int, int]
) -> None:
    frames = decode(media.stretched_clip(tmp_path / "a.mp4", aspect))
    assert frames[0].pixels.shape == shape
    assert corner_colours(frames[0].pixels) == {"top left": RED, "top right": GREEN, "bottom left": BLUE}


@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("ten-bit.mp4", {"pixel_format": "yuv420p10le"}),
        ("444.mp4", {"pixel_format": "yuv444p"}),
        ("full-range.avi", {"codec": "mjpeg"}),
        ("alpha.mov", {"codec": "prores_ks", "pixel_format": "yuva444p10le"}),
        ("hevc.mp4", {"codec": "libx265"}),
        ("av1.mp4", {"codec": "libsvtav1"}),
        ("vp9.webm", {"codec": "libvpx-vp9"}),
        ("mpeg1.mpg", {"codec": "mpeg1video"}),
    ],
)
def test_every_pixel_format_and_codec_gives_the_drawn_colours(tmp_path: Path, name: str, how: dict[str, Any]) -> None:
    path = media.write_video(tmp_path / name, [media.corner_picture(96, 64)] * 3, **how)
    pixels = decode(path)[0].pixels
    assert pixels.dtype == np.uint8
    assert corner_colours(pixels) == {"top left": RED, "top right": GREEN, "bottom left": BLUE}


def test_a_full_plan_gives_every_frame_once_in_order_and_counts_from_zero(tmp_path: Path) -> None:
    frames = decode(media.plain_clip(tmp_path / "a.mp4", seconds=3, b_frames=2))
    assert [media.read_number(frame.pixels) for frame in frames] == list(range(75))
    assert [frame.index for frame in frames] == list(range(75))
    assert [frame.time_seconds for frame in frames] == pytest.approx([n / 25 for n in range(75)])


def test_times_of_a_variable_rate_video_are_those_of_its_time_stamps(tmp_path: Path) -> None:
    times = [Fraction(n * n, 1000) for n in range(60)]
    frames = decode(media.variable_rate_clip(tmp_path / "a.mp4", times))
    assert [frame.time_seconds for frame in frames] == pytest.approx([float(time) for time in times])
    assert [frame.index for frame in frames] == list(range(60))


def test_a_video_whose_clock_starts_late_starts_at_zero(tmp_path: Path) -> None:
    late = [Fraction(5) + Fraction(n, 25) for n in range(50)]
    frames = decode(media.variable_rate_clip(tmp_path / "a.mkv", late), uniform(1.0))
    assert frames[0].time_seconds == pytest.approx(1.0)
    assert media.read_number(frames[0].pixels) == 25


@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("gop.mp4", {"b_frames": 2}),
        ("fragmented.mp4", {"movflags": "frag_keyframe+empty_moov"}),
        ("gop.mkv", {"b_frames": 2}),
        ("open-gop.mkv", {"b_frames": 3, "options": {"x264-params": "open-gop=1:bframes=3:b-adapt=0"}}),
        ("open-gop.mp4", {"b_frames": 3, "options": {"x264-params": "open-gop=1:bframes=3:b-adapt=0"}}),
        ("gop.ts", {"b_frames": 2}),
        ("gop.avi", {"codec": "mpeg4"}),
        ("gop.mpg", {"codec": "mpeg2video", "b_frames": 2}),
        ("gop.webm", {"codec": "libvpx-vp9"}),
        ("one-key-frame.mp4", {"keyframe_every": 10_000}),
        ("one-key-frame.ts", {"keyframe_every": 10_000}),
    ],
)
def test_jumping_gives_the_same_pixels_at_the_same_times_as_decoding_through(
    tmp_path: Path, name: str, how: dict[str, Any]
) -> None:
    path = media.plain_clip(tmp_path / name, seconds=16, **how)
    through = {round(frame.time_seconds, 3): frame.pixels for frame in decode(path)}
    plan = uniform(0.52, 4.2, 9.0, 9.3, 13.0, 15.4)
    jumped = decode(path, plan)
    assert [frame.segment for frame in jumped] == [segment for segment in range(6) for _ in range(5)]
    for frame in jumped:
        assert np.array_equal(frame.pixels, through[round(frame.time_seconds, 3)])
    for segment, start in enumerate(plan.starts_seconds):
        first = next(frame for frame in jumped if frame.segment == segment)
        assert first.time_seconds == pytest.approx(start, abs=0.021)
        assert first.index == pytest.approx(start * 25, abs=1)


def test_a_clock_that_is_set_anew_on_the_way_does_not_fold_the_video_onto_itself(tmp_path: Path) -> None:
    first = media.plain_clip(tmp_path / "first.ts", seconds=4)
    path = tmp_path / "twice.ts"
    path.write_bytes(first.read_bytes() * 2)
    frames = decode(path)
    assert [frame.index for frame in frames] == list(range(len(frames)))
    steps = np.diff([frame.time_seconds for frame in frames])
    assert len(frames) > 190
    assert steps.min() > 0
    assert frames[-1].time_seconds == pytest.approx(8.0, abs=0.3)


def test_segments_that_would_overlap_give_each_frame_once(tmp_path: Path) -> None:
    path = media.plain_clip(tmp_path / "a.mp4", seconds=3)
    frames = decode(path, uniform(1.0, 1.08, 1.1))
    assert [media.read_number(frame.pixels) for frame in frames] == list(range(25, 40))
    assert [frame.index for frame in frames] == list(range(25, 40))


def test_a_start_beyond_the_end_gives_nothing(tmp_path: Path) -> None:
    assert decode(media.plain_clip(tmp_path / "a.mp4"), uniform(100.0)) == []


def test_a_plan_ends_at_its_end_and_at_its_number_of_frames(tmp_path: Path) -> None:
    path = media.plain_clip(tmp_path / "a.mp4", seconds=6)

    def plan(most: int | None) -> SamplingPlan:
        return SamplingPlan(
            mode="full",
            starts_seconds=(4.0,),
            max_frames=most,
            truncated=False,
            clips_planned=0,
            end_seconds=5.0,
        )

    assert [media.read_number(frame.pixels) for frame in decode(path, plan(None))] == list(range(100, 125))
    assert [frame.index for frame in decode(path, plan(7))] == list(range(100, 107))


def test_a_sign_of_life_is_given_for_each_packet_from_the_first(tmp_path: Path) -> None:
    path = media.plain_clip(tmp_path / "a.mp4", seconds=2)
    ticks: list[None] = []
    with opened(path, tick=lambda: ticks.append(None)) as source:
        assert ticks
        frames = list(source.frames(uniform(1.0)))
    assert len(frames) == 5
    assert len(ticks) >= 30


@pytest.mark.parametrize(("suffix", "codec"), [("mpg", "mpeg1video"), ("mkv", "libx264")])
def test_frames_that_the_decoder_had_to_patch_are_counted(tmp_path: Path, suffix: str, codec: str) -> None:
    whole = media.plain_clip(tmp_path / f"whole.{suffix}", seconds=3, codec=codec)
    data = bytearray(whole.read_bytes())
    for place in range(len(data) // 3, 2 * len(data) // 3, 97):
        data[place] ^= 0xFF
    (tmp_path / f"a.{suffix}").write_bytes(data)
    with opened(tmp_path / f"a.{suffix}") as source:
        frames, error = until_error(source)
        assert (len(frames) > 50, error) == (True, None)
        assert 5 < source.damaged_frames < 50
    with opened(whole) as source:
        until_error(source)
        assert source.damaged_frames == 0


@pytest.mark.parametrize("plan", [FULL, uniform(1.0, 4.0, 7.0)])
@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts", "mpg", "avi"])
def test_an_unharmed_video_has_no_damaged_frame_even_after_jumps(
    tmp_path: Path, suffix: str, plan: SamplingPlan
) -> None:
    codec = {"mpg": "mpeg2video", "avi": "mpeg4"}.get(suffix, "libx264")
    path = media.plain_clip(tmp_path / f"a.{suffix}", seconds=9, codec=codec, keyframe_every=20, b_frames=2)
    with opened(path) as source:
        assert list(source.frames(plan))
        assert source.damaged_frames == 0


def test_a_video_longer_than_its_header_says_ends_at_the_time_limit(tmp_path: Path) -> None:
    path = media.plain_clip(tmp_path / "a.mpg", codec="mpeg1video")
    with opened(path, MediaLimits(max_seconds=1.9)) as source:
        assert source.header.duration_seconds is not None
        assert source.header.duration_seconds < 1.9
        frames, error = until_error(source)
    assert isinstance(error, TooLong)
    assert len(frames) == 48


def test_a_file_without_a_video_stream_has_no_frames(tmp_path: Path) -> None:
    with opened(media.audio_only(tmp_path / "a.mp4", cover=True)) as source:
        assert source.header.codec is None
        assert list(source.frames(FULL)) == []


def test_a_truncated_video_gives_its_frames_and_then_an_error(tmp_path: Path) -> None:
    whole = media.plain_clip(tmp_path / "whole.mp4", movflags="faststart")
    path = media.truncated(whole, tmp_path / "a.mp4", 0.6)
    with opened(path) as source:
        frames, error = until_error(source)
    assert isinstance(error, CorruptMedia)
    assert [media.read_number(frame.pixels) for frame in frames[:10]] == list(range(10))


@pytest.mark.parametrize("keep", [0.3, 0.7])
def test_a_video_that_lost_its_index_cannot_be_opened(tmp_path: Path, keep: float) -> None:
    whole = media.plain_clip(tmp_path / "whole.mp4")
    with pytest.raises(CorruptMedia), opened(media.truncated(whole, tmp_path / "a.mp4", keep)):
        pass


def test_a_recording_cut_in_mid_stream_starts_at_its_first_whole_picture(tmp_path: Path) -> None:
    whole = media.plain_clip(tmp_path / "whole.ts", seconds=3, keyframe_every=25)
    data = whole.read_bytes()
    packets = len(data) // 188
    path = tmp_path / "a.ts"
    path.write_bytes(data[: 188 * 3] + data[188 * (packets // 6) :])
    numbers = [media.read_number(frame.pixels) for frame in decode(path)]
    assert numbers[-1] == 74
    assert numbers == sorted(numbers)


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"), CorruptMedia),
        (IndexError("list index out of range"), CorruptMedia),
        (OverflowError("too large"), CorruptMedia),
        (MemoryError(), ResolutionLimit),
        (TooLong(), TooLong),
    ],
)
def test_whatever_the_decoder_raises_becomes_one_of_our_errors(raised: Exception, expected: type[MediaError]) -> None:
    with pytest.raises(MediaError) as caught, typed_errors():
        raise raised
    assert type(caught.value) is expected


@pytest.mark.parametrize("raised", [ImportError("late"), PermissionError(1, "no"), BrokenPipeError(32, "gone")])
def test_what_is_no_fault_of_the_video_is_not_laid_to_it(raised: Exception) -> None:
    with pytest.raises(type(raised)), typed_errors():
        raise raised


def test_an_error_of_ffmpeg_is_its_word_on_the_video_though_it_is_one_of_the_system_too() -> None:
    """Much of FFmpeg says -1 for "broken", and that is the number of EPERM."""
    with pytest.raises(CorruptMedia), typed_errors():
        raise av.error.PermissionError(1, "Operation not permitted")
