from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from styleflow import errors
from styleflow.video.decode import looks_like_video, open_container
from styleflow.video.probe import MediaLimits, VideoHeader, check_header, displayed_size, probe
from tests import media

Make = Callable[[Path], Path]
LIMITS = MediaLimits()
HEADER = VideoHeader(
    container="avi",
    codec="h264",
    stream_index=0,
    coded_width=640,
    coded_height=480,
    frame_rate=25.0,
    duration_seconds=10.0,
    frame_count=250,
    size_bytes=100_000,
)


def look(path: Path, limits: MediaLimits = LIMITS) -> VideoHeader:
    fd = os.open(path, os.O_RDONLY)
    try:
        with open_container(fd, limits) as container:
            return probe(container, path.stat().st_size, limits)
    finally:
        os.close(fd)


def numbered(name: str, **how: Any) -> tuple[str, Make]:
    return name, lambda path: media.plain_clip(path, seconds=0.4, **how)


ACCEPTED: list[tuple[str, Make, dict[str, object]]] = [
    (*numbered("h264.mp4"), {"codec": "h264", "frame_count": 10, "duration_seconds": 0.4, "frame_rate": 25.0}),
    (*numbered("fragmented.mp4", movflags="frag_keyframe+empty_moov"), {"frame_count": None}),
    (*numbered("index-first.mp4", movflags="faststart"), {"frame_count": 10}),
    (*numbered("sound.mp4", sound=True), {"has_audio": True}),
    (*numbered("hevc.mp4", codec="libx265"), {"codec": "hevc"}),
    (*numbered("av1.mp4", codec="libsvtav1"), {"codec": "av1"}),
    (*numbered("vp8.webm", codec="libvpx"), {"codec": "vp8", "container": "matroska,webm"}),
    (*numbered("vp9.webm", codec="libvpx-vp9"), {"codec": "vp9"}),
    (*numbered("h264.mkv"), {"codec": "h264", "container": "matroska,webm"}),
    (*numbered("mpeg4.avi", codec="mpeg4"), {"codec": "mpeg4", "container": "avi"}),
    (*numbered("mjpeg.avi", codec="mjpeg"), {"codec": "mjpeg"}),
    (*numbered("prores.mov", codec="prores_ks"), {"codec": "prores"}),
    (*numbered("mpeg1.mpg", codec="mpeg1video"), {"codec": "mpeg1video", "container": "mpeg"}),
    (*numbered("mpeg2.ts", codec="mpeg2video"), {"codec": "mpeg2video", "container": "mpegts"}),
    (*numbered("ten-bit.mp4", pixel_format="yuv420p10le"), {"codec": "h264"}),
    (*numbered("444.mp4", pixel_format="yuv444p"), {"codec": "h264"}),
    (*numbered("wrong-name.jpg.mp4"), {"codec": "h264"}),
    ("one-frame.mp4", media.one_frame_clip, {"frame_count": 1}),
    ("wide.mp4", lambda path: media.stretched_clip(path, Fraction(2)), {"pixel_aspect": 2.0, "coded_width": 96}),
    ("audio-only.m4a", media.audio_only, {"codec": None, "has_audio": True, "coded_width": None}),
    ("cover.mp4", lambda path: media.audio_only(path, cover=True), {"codec": None, "has_audio": True}),
]


@pytest.mark.parametrize(("name", "make", "expected"), ACCEPTED, ids=[name for name, _, _ in ACCEPTED])
def test_an_accepted_file_gives_its_facts(tmp_path: Path, name: str, make: Make, expected: dict[str, object]) -> None:
    header = look(make(tmp_path / name))
    assert {field: getattr(header, field) for field in expected} == expected
    assert header.size_bytes == (tmp_path / name).stat().st_size


REFUSED: list[tuple[str, Make, type[errors.MediaError]]] = [
    ("empty.mp4", media.empty_file, errors.ContainerUnsupported),
    ("text.mp4", media.text_file, errors.ContainerUnsupported),
    ("archive.mp4", media.zip_file, errors.ContainerUnsupported),
    ("list.mp4", lambda path: media.playlist_file(path, path), errors.ContainerUnsupported),
    (*numbered("picture.gif", codec="gif", pixel_format="rgb8"), errors.ContainerUnsupported),
    (*numbered("h264.flv"), errors.ContainerUnsupported),
    (*numbered("lossless.mkv", codec="ffv1"), errors.CodecUnsupported),
    (*numbered("fast.mp4", rate=240), errors.ResolutionLimit),
    ("side.mp4", lambda path: media.eight_k_clip(path, width=8208, height=16), errors.ResolutionLimit),
    ("pixels.mp4", lambda path: media.eight_k_clip(path, width=6000, height=6800, frames=1), errors.ResolutionLimit),
]


@pytest.mark.parametrize(("name", "make", "expected"), REFUSED, ids=[name for name, _, _ in REFUSED])
def test_a_refused_file_gets_the_error_of_its_limit(
    tmp_path: Path, name: str, make: Make, expected: type[errors.MediaError]
) -> None:
    with pytest.raises(errors.MediaError) as caught:
        look(make(tmp_path / name))
    assert type(caught.value) is expected
    assert str(tmp_path) not in str(caught.value)


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        (replace(LIMITS, max_bytes=100), errors.TooLarge),
        (replace(LIMITS, max_seconds=0.3), errors.TooLong),
        (replace(LIMITS, max_side=191), errors.ResolutionLimit),
        (replace(LIMITS, max_pixels=192 * 128 - 1), errors.ResolutionLimit),
        (replace(LIMITS, max_frame_rate=24.0), errors.ResolutionLimit),
        (replace(LIMITS, max_streams=1), errors.ResolutionLimit),
        (replace(LIMITS, containers=frozenset({"avi"})), errors.ContainerUnsupported),
        (replace(LIMITS, codecs=frozenset({"vp9"})), errors.CodecUnsupported),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else "",
)
def test_a_file_just_past_one_limit_gets_that_limits_error(
    tmp_path: Path, limits: MediaLimits, expected: type[errors.MediaError]
) -> None:
    path = media.plain_clip(tmp_path / "a.mp4", seconds=0.4, sound=True)
    with pytest.raises(errors.MediaError) as caught:
        look(path, limits)
    assert type(caught.value) is expected


def test_a_file_at_its_limits_is_accepted(tmp_path: Path) -> None:
    path = media.plain_clip(tmp_path / "a.mp4", seconds=0.4, sound=True)
    limits = MediaLimits(
        max_bytes=path.stat().st_size,
        max_seconds=0.4,
        max_side=192,
        max_pixels=192 * 128,
        max_frame_rate=25.0,
        max_streams=2,
    )
    assert look(path, limits).codec == "h264"


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (replace(HEADER, frame_count=1_000_000_000), errors.ResolutionLimit),
        (replace(HEADER, frame_count=100_001, duration_seconds=4000.0), errors.CorruptMedia),
        (replace(HEADER, frame_count=100_001, duration_seconds=None), errors.CorruptMedia),
        (replace(HEADER, coded_width=0), errors.CorruptMedia),
        (replace(HEADER, codec="unknown"), errors.CodecUnsupported),
        (replace(HEADER, pixel_aspect=1e-6), errors.ResolutionLimit),
        (replace(HEADER, duration_seconds=1e9), errors.TooLong),
    ],
)
def test_a_header_that_cannot_be_true_is_refused(header: VideoHeader, expected: type[errors.MediaError]) -> None:
    with pytest.raises(errors.MediaError) as caught:
        check_header(header, LIMITS)
    assert type(caught.value) is expected


def test_a_header_that_says_little_is_accepted() -> None:
    check_header(replace(HEADER, frame_rate=None, duration_seconds=None, frame_count=None), LIMITS)


@given(
    st.integers(1, 8192),
    st.integers(1, 8192),
    st.floats(0.1, 10.0),
    st.sampled_from([0, 90, 180, 270]),
)
def test_displaying_never_shrinks_a_side_and_keeps_the_aspect(
    width: int, height: int, aspect: float, rotation: int
) -> None:
    wide, high = displayed_size(width, height, aspect, rotation)
    if rotation in (90, 270):
        wide, high = high, wide
    assert wide >= width
    assert high >= height
    assert wide == width or high == height
    assert abs(wide - high * width * aspect / height) <= max(1.0, width * aspect / height)


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.avi", "a.mpg", "a.ts"])
def test_the_first_bytes_of_each_accepted_container_are_known(tmp_path: Path, name: str) -> None:
    codec = "mpeg2video" if name == "a.mpg" else "libx264"
    path = media.plain_clip(tmp_path / name, seconds=0.2, codec=codec)
    assert looks_like_video(path.read_bytes()[:376])
    assert not looks_like_video(b"PK\x03\x04" + bytes(400))
    assert not looks_like_video(b"")
