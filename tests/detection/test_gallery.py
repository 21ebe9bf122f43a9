"""Which pictures of faces are kept, and that nothing else depends on them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from styleflow.detection import gallery as room
from styleflow.detection.analyze import analyze
from styleflow.detection.engine import ClipJudgement, Detector
from styleflow.detection.gallery import MOST, MOST_HELD, PER_FACE, Gallery
from styleflow.detection.stream import FaceClip
from styleflow.faces.align import cut_crop
from styleflow.faces.track import FrameMark, Sighting
from styleflow.report import FaceCrop, Outcome, VideoReport, report_from_json, report_to_json
from tests.detection.drawn_faces import RED_LOGIT, Square, full_options, picture, square_detector, squares_clip
from tests.faces.made_faces import face


def a_clip(track: int = 1, start: int = 0, count: int = 4) -> FaceClip:
    """Of one face that stands still."""
    drawn, seen = picture(Square(red=True)), face(10, 10, 60)
    sightings = tuple(
        Sighting(
            track=track,
            stretch=track,
            mark=FrameMark(0, number, number / 25),
            box=seen.box,
            points=seen.points,
            confidence=0.99,
        )
        for number in range(start, start + count)
    )
    return FaceClip(track, sightings, tuple(cut_crop(drawn, seen.box) for _ in sightings), slice(0, count))


def judged(logit: float, *, most: int = 0, count: int = 4) -> ClipJudgement:
    attention = np.full(count, 0.5)
    attention[most] = 1.0
    return ClipJudgement(logit=logit, flow=np.zeros((count - 1, 3)), attention=attention)


def looked_at(path: Path, detector: Detector) -> tuple[VideoReport, dict[str, bytes]]:
    pictures: dict[str, bytes] = {}

    def keep(crop: FaceCrop, jpeg: bytes) -> None:
        pictures[crop.crop_id] = jpeg

    return analyze(path, square_detector(detector), options=full_options(), keep_crop=keep), pictures


@pytest.fixture
def two_faces(tmp_path: Path) -> Path:
    """A harmless face, and a red one that comes a second later; four clips and more of each."""
    left, right = Square(left=10), Square(left=150, red=True)
    return squares_clip(tmp_path / "two.mp4", ([left, right][: 1 + (number >= 25)] for number in range(160)))


def test_each_face_is_shown_best_first_and_each_picture_says_what_it_shows(
    calibrated_detector: Detector, two_faces: Path
) -> None:
    report, pictures = looked_at(two_faces, calibrated_detector)

    assert report.outcome is Outcome.SCORED
    assert list(pictures) == [crop.crop_id for crop in report.crops] == [f"crop-{number}" for number in range(1, 7)]
    highest = max(report.tracks, key=lambda track: track.score or 0.0)
    first = report.crops[0]
    assert (first.track_id, first.clip_index) == (highest.track_id, 0)
    assert highest.clips[0].logit == RED_LOGIT
    for crop in report.crops:
        [track] = [track for track in report.tracks if track.track_id == crop.track_id]
        row = track.frames.frame_index.index(crop.frame_index)
        assert (crop.time_seconds, crop.score) == (track.frames.time_seconds[row], track.frames.score[row])
        clip = track.clips[crop.clip_index]
        assert clip.first_frame <= crop.frame_index <= clip.last_frame
    assert {crop.track_id for crop in report.crops[:2]} == {track.track_id for track in report.tracks}


def test_a_picture_is_a_small_jpeg_of_the_aligned_face(calibrated_detector: Detector, two_faces: Path) -> None:
    _, pictures = looked_at(two_faces, calibrated_detector)

    for jpeg in pictures.values():
        shown = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
        assert shown is not None
        assert shown.shape == (256, 256, 3)
        assert (b"Exif" in jpeg, len(jpeg) < 100_000) == (False, True)
    blue, _, red = cv2.imdecode(np.frombuffer(pictures["crop-1"], np.uint8), cv2.IMREAD_COLOR)[128, 128]
    assert red > blue, "the red face, in its own colours"


def test_a_report_with_pictures_says_the_same_of_the_video_and_survives_json(
    calibrated_detector: Detector, two_faces: Path
) -> None:
    report, _ = looked_at(two_faces, calibrated_detector)
    without = analyze(two_faces, square_detector(calibrated_detector), options=full_options())

    assert without.crops == ()
    assert replace(report, crops=(), timing_ms={}) == replace(without, timing_ms={})
    assert report_from_json(report_to_json(report)) == report


def test_without_scores_no_face_is_picked_out(detector: Detector, two_faces: Path) -> None:
    report, pictures = looked_at(two_faces, detector)

    assert (report.outcome, report.crops, pictures) == (Outcome.INCONCLUSIVE, (), {})


def test_a_picture_that_cannot_be_made_is_left_out_and_changes_no_score(
    calibrated_detector: Detector, two_faces: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted, _ = looked_at(two_faces, calibrated_detector)

    def broken(*_: Any) -> None:
        raise MemoryError

    monkeypatch.setattr(room.cv2, "imencode", broken)
    report, pictures = looked_at(two_faces, calibrated_detector)

    assert (report.crops, pictures) == ((), {})
    assert (report.score, report.probability, report.verdict) == (wanted.score, wanted.probability, wanted.verdict)
    assert [warning.code for warning in report.warnings] == ["crops_left_out"]


def test_of_a_clip_the_frame_is_shown_at_which_the_network_looked_most() -> None:
    gallery = Gallery()
    gallery.offer(a_clip(), 0, judged(1.0, most=2))

    assert [one.place for one in gallery.best([1])] == [(0, 2)]


def test_the_highest_clips_of_a_face_are_shown_in_that_order() -> None:
    gallery = Gallery()
    for number, logit in enumerate([1.0, 5.0, -2.0, 3.0, 4.0]):
        gallery.offer(a_clip(start=4 * number), number, judged(logit))

    assert [(one.clip, one.logit) for one in gallery.best([1])] == [(1, 5.0), (4, 4.0), (3, 3.0)]


def test_no_frame_of_a_face_is_shown_twice() -> None:
    gallery = Gallery()
    for number in range(6):
        gallery.offer(a_clip(count=2), number, judged(float(number), count=2))

    assert sorted(one.place for one in gallery.best([1])) == [(0, 0), (0, 1)]


def test_few_pictures_are_kept_of_however_many_clips_and_faces() -> None:
    gallery = Gallery()
    for track in range(MOST_HELD):
        for number in range(PER_FACE + 2):
            gallery.offer(a_clip(track, start=4 * number), number, judged(float(track)))
    everyone = sorted(range(MOST_HELD), reverse=True)
    held = [one for track in everyone for one in gallery.best([track])]

    assert len(held) == MOST_HELD
    assert {one.track for one in held} == set(everyone[: MOST_HELD // PER_FACE])
    best = gallery.best(everyone)
    assert [one.track for one in best] == everyone[:MOST]
