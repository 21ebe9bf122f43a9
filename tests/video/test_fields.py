from __future__ import annotations

import os
from pathlib import Path

import av
import numpy as np
import pytest

from styleflow.errors import MediaError
from styleflow.video.clips import SamplingPlan
from styleflow.video.decode import DecodedFrame, VideoSource
from styleflow.video.fields import without_combs
from styleflow.video.probe import MediaLimits
from styleflow.video.sandbox import open_video
from tests import media
from tests.video.readers import count_frames

FULL = SamplingPlan(mode="full", starts_seconds=(0.0,), max_frames=None, truncated=False, clips_planned=0)
FAR = SamplingPlan(
    mode="uniform", starts_seconds=(0.4, 3.2), clip_frames=5, max_frames=10, truncated=True, clips_planned=2
)
FRAMES = 100


def bar_at(left: int) -> media.Picture:
    picture = media.canvas(192, 128)
    picture[:, left : left + 24] = 235
    return picture


def woven(number: int) -> media.Picture:
    """A bar that moves eight pixels from one field to the next."""
    picture = bar_at(16 * (number % 8))
    picture[1::2] = bar_at(16 * (number % 8) + 8)[1::2]
    return picture


def interlaced_clip(path: Path) -> Path:
    options = {"flags": "+ilme+ildct", "top": "1", "b": "8M"}
    return media.write_video(path, (woven(n) for n in range(FRAMES)), codec="mpeg2video", options=options)


def decoded(path: Path, plan: SamplingPlan = FULL) -> list[DecodedFrame]:
    fd = os.open(path, os.O_RDONLY)
    try:
        return list(VideoSource(fd, path.stat().st_size, MediaLimits()).frames(plan))
    finally:
        os.close(fd)


def combing(picture: media.Picture) -> float:
    """How much lines differ from both neighbours, which here are all alike in an upright bar."""
    lines = picture[4:-4, :, 0].astype(float)
    return float(np.abs(2 * lines[1:-1] - lines[:-2] - lines[2:]).mean())


@pytest.mark.parametrize("suffix", ["mpg", "ts", "mkv", "avi"])
def test_interlaced_pictures_come_out_without_combs_and_none_is_lost(tmp_path: Path, suffix: str) -> None:
    frames = decoded(interlaced_clip(tmp_path / f"a.{suffix}"))
    assert [frame.index for frame in frames] == list(range(FRAMES))
    assert np.allclose(np.diff([frame.time_seconds for frame in frames]), 0.04, atol=0.002)
    worst = max(combing(frame.pixels) for frame in frames)
    assert worst < 0.25 * combing(woven(0))


def test_after_a_jump_the_same_frames_come_out_as_in_sequence(tmp_path: Path) -> None:
    path = interlaced_clip(tmp_path / "a.mkv")
    whole = {frame.index: frame for frame in decoded(path)}
    for frame in decoded(path, FAR)[1:]:
        assert frame.time_seconds == pytest.approx(whole[frame.index].time_seconds)
        # The first one after a jump has no neighbour before it, and is rebuilt from one field.
        assert np.abs(frame.pixels.astype(int) - whole[frame.index].pixels).mean() < 8


def test_the_confined_decoder_has_all_that_this_takes(tmp_path: Path) -> None:
    with open_video(interlaced_clip(tmp_path / "a.ts")) as reader:
        assert count_frames(reader) == FRAMES
        assert (reader.decode_error, reader.damaged_frames) == (None, 0)


def test_damaged_interlaced_files_give_typed_errors(tmp_path: Path) -> None:
    source = interlaced_clip(tmp_path / "a.mpg")
    outcomes = set()
    for seed in range(10):
        try:
            with open_video(media.mutated(source, tmp_path / f"{seed}.mpg", seed)) as reader:
                outcomes.add("some" if count_frames(reader) else "none")
        except MediaError as error:
            outcomes.add(error.code)
    assert "some" in outcomes
    assert not outcomes & {"decoder_crash", "decode_timeout"}


def test_frames_that_are_not_interlaced_pass_untouched(tmp_path: Path) -> None:
    with av.open(str(media.plain_clip(tmp_path / "a.mp4", seconds=1))) as container:
        frames = list(container.decode(video=0))
    assert all(one is other for one, other in zip(without_combs(iter(frames)), frames, strict=True))


def test_a_change_of_size_on_the_way_loses_no_frame(tmp_path: Path) -> None:
    with av.open(str(interlaced_clip(tmp_path / "a.mpg"))) as container:
        combed = list(container.decode(video=0))[:10]
    with av.open(str(media.plain_clip(tmp_path / "a.mp4", seconds=1, width=96))) as container:
        plain = list(container.decode(video=0))[:5]
    assert plain[0].width != combed[0].width
    sizes = [(frame.width, frame.pts) for frame in [*plain, *combed, *plain]]
    assert [(frame.width, frame.pts) for frame in without_combs(iter([*plain, *combed, *plain]))] == sizes
