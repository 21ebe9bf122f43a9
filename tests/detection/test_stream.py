from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from styleflow.detection.stream import KEY_EVERY, FaceClip, FaceStream, Settled, keys_at_once
from styleflow.faces.detect import Face
from styleflow.faces.track import Sighting, TrackRules
from styleflow.video.sandbox import Frame
from tests.faces.made_faces import face


class NumberedFaces:
    """A face wherever the frame's number, written into its first pixel, is not among the missed ones."""

    def __init__(self, missed: Sequence[int] = ()) -> None:
        self.missed = set(missed)
        self.looked_at: list[int] = []
        self.most_at_once = 0

    def detect(self, frames: Sequence[NDArray[np.uint8]]) -> list[list[Face]]:
        numbers = [int(frame[0, 0, 0]) for frame in frames]
        self.looked_at += numbers
        self.most_at_once = max(self.most_at_once, len(numbers))
        return [[] if number in self.missed else [face(20 + number / 10, 20, 40)] for number in numbers]


def frames(count: int, segment: int = 0, first: int = 0) -> list[Frame]:
    pixels = [np.full((80, 100, 3), first + number, np.uint8) for number in range(count)]
    return [Frame(segment, first + n, (first + n) / 25, picture) for n, picture in enumerate(pixels)]


def streamed(detector: NumberedFaces, all_frames: list[Frame]) -> Settled:
    stream = FaceStream(detector, TrackRules())
    settled = [stream.push(frame) for frame in all_frames]
    settled.append(stream.finish())
    return Settled(
        tuple(sighting for part in settled for sighting in part.sightings),
        tuple(clip for part in settled for clip in part.clips),
    )


def indices(sightings: Sequence[Sighting]) -> list[int]:
    return [sighting.mark.index for sighting in sightings]


def assert_crops_fit(clip: FaceClip) -> None:
    """Each crop was cut from the frame of its sighting: its pixels carry that frame's number."""
    assert [int(crop.pixels[0, 0, 0]) for crop in clip.crops] == indices(clip.sightings)


@pytest.mark.parametrize("count", [1, 2, 4, 5, 31, 32, 33, 70, 100])
def test_every_frame_of_a_face_is_sighted_whatever_the_length(count: int) -> None:
    detector = NumberedFaces()

    settled = streamed(detector, frames(count))

    assert indices(settled.sightings) == list(range(count))
    assert detector.looked_at == sorted({*range(0, count, KEY_EVERY), count - 1})


def test_clips_follow_each_other_and_the_rest_is_covered_by_the_last_32_frames() -> None:
    settled = streamed(NumberedFaces(), frames(70))

    assert [indices(clip.sightings)[0] for clip in settled.clips] == [0, 32, 38]
    for clip in settled.clips:
        assert indices(clip.sightings) == list(range(clip.sightings[0].mark.index, clip.sightings[0].mark.index + 32))
        assert clip.natural == slice(0, 32)
        assert_crops_fit(clip)


def test_a_stretch_of_16_to_31_frames_is_mirrored_at_its_ends() -> None:
    [clip] = streamed(NumberedFaces(), frames(20)).clips

    assert indices(clip.sightings[clip.natural]) == list(range(20))
    assert indices(clip.sightings)[: clip.natural.start] == list(range(clip.natural.start, 0, -1))
    assert len(clip.sightings) == 32
    assert_crops_fit(clip)


def test_a_stretch_of_15_frames_makes_no_clip() -> None:
    assert streamed(NumberedFaces(), frames(15)).clips == ()


def test_a_face_missed_on_one_key_frame_does_not_break_its_clip() -> None:
    settled = streamed(NumberedFaces(missed=[12]), frames(32))

    [clip] = settled.clips
    assert indices(clip.sightings) == list(range(32))
    assert clip.sightings[12].confidence is None
    assert_crops_fit(clip)


def test_a_face_missed_for_longer_breaks_the_clip_and_not_the_track() -> None:
    settled = streamed(NumberedFaces(missed=[20, 24]), frames(64))

    assert [indices(clip.sightings[clip.natural]) for clip in settled.clips] == [
        list(range(17)),
        list(range(28, 60)),
        list(range(32, 64)),
    ]
    assert {clip.track for clip in settled.clips} == {0}


def test_a_clip_never_reaches_over_two_segments_and_a_face_keeps_its_track() -> None:
    settled = streamed(NumberedFaces(), frames(32) + frames(32, segment=1, first=120))

    assert [
        (clip.track, clip.sightings[0].mark.segment, len(set(indices(clip.sightings)))) for clip in settled.clips
    ] == [
        (0, 0, 32),
        (0, 1, 32),
    ]


def after_a_hole(seconds: float, before: int = 40, after: int = 40) -> list[Frame]:
    """25 frames a second, with so many seconds from one of them to the next."""
    shift = seconds - 1 / 25
    return [
        replace(frame, time_seconds=frame.time_seconds + (shift if frame.index >= before else 0.0))
        for frame in frames(before + after)
    ]


@pytest.mark.parametrize("seconds", [0.3, 0.9, 3.0])
def test_a_clip_never_reaches_over_a_hole_in_time_and_a_face_keeps_its_track(seconds: float) -> None:
    settled = streamed(NumberedFaces(), after_a_hole(seconds))

    assert [indices(clip.sightings)[0] for clip in settled.clips] == [0, 8, 40, 48]
    assert {clip.track for clip in settled.clips} == {0}
    assert indices(settled.sightings) == list(range(80))
    for clip in settled.clips:
        assert_crops_fit(clip)


def test_the_frames_on_both_sides_of_a_hole_are_looked_at() -> None:
    detector = NumberedFaces()
    streamed(detector, after_a_hole(1.0, before=30))

    assert {28, 29, 30, 34} <= set(detector.looked_at)


def test_a_step_that_a_camera_takes_in_poor_light_does_not_end_a_stretch() -> None:
    settled = streamed(NumberedFaces(), after_a_hole(0.24, before=16, after=16))

    [clip] = settled.clips
    assert indices(clip.sightings) == list(range(32))


def test_the_last_frame_of_a_segment_is_looked_at() -> None:
    detector = NumberedFaces()
    streamed(detector, frames(30) + frames(30, segment=1, first=100))

    assert {29, 100, 129} <= set(detector.looked_at)


def test_few_frames_are_held_at_once_and_fewer_where_they_are_large() -> None:
    assert keys_at_once(320 * 240 * 3) == 8
    assert keys_at_once(1920 * 1080 * 3) == 2
    assert keys_at_once(8192 * 4320 * 3) == 1


def test_key_frames_are_gathered_for_the_face_detector() -> None:
    detector = NumberedFaces()
    streamed(detector, frames(100))

    assert detector.most_at_once == 8


def test_a_video_without_frames_settles_nothing() -> None:
    settled = streamed(NumberedFaces(), [])

    assert (settled.sightings, settled.clips) == ((), ())
