"""Preparation against serving: the same clips, the same pixels."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from styleflow.detection.inputs import prepare as served
from styleflow.detection.stream import FaceClip
from styleflow.faces.detect import MtcnnFaceDetector
from styleflow.packs import Preprocessing
from styleflow.training.geometry import Geometry
from styleflow.training.prepare import (
    Preparation,
    clips_of,
    prepare_photo,
    prepare_video,
    wide_pictures,
)
from styleflow.training.store import Store, VideoFacts
from tests.media import face_clip, face_picture, text_file, two_face_clip, write_video

SAMPLE = Path(__file__).parents[2] / "samples" / "grid-lrwp9a.mpg"
FACTS = VideoFacts(key="a", label="real", identity="ann", source_sha256="1")


@pytest.fixture(scope="module")
def faces() -> MtcnnFaceDetector:
    return MtcnnFaceDetector()


@pytest.fixture(scope="module")
def clips(faces: MtcnnFaceDetector) -> list[FaceClip]:
    return list(clips_of(SAMPLE, faces, Preparation(clips_per_video=2)))


def no_landmarks(pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
    return np.zeros((len(pictures), 68, 2), dtype=np.float32)


@pytest.mark.parametrize("size", [112, 192, 224])
def test_what_training_cuts_out_as_content_is_what_serving_makes(clips: list[FaceClip], size: int) -> None:
    geometry = Geometry(size)
    top, left = geometry.content_top, geometry.content_left

    wide = wide_pictures(clips[0], geometry)
    expected, _ = served(clips[0], Preprocessing(content_size=size, style_size=64))

    content = wide[:, top : top + size, left : left + size].astype(int)
    # at the rim the served picture's resizing has no neighbours to average over
    inner = (slice(None), slice(2, -2), slice(2, -2))
    assert np.abs(content[inner] - expected.content[inner].astype(int)).max() <= 1


def test_the_whole_wide_picture_is_nearly_what_serving_frames_for_the_style_branch(clips: list[FaceClip]) -> None:
    wide = wide_pictures(clips[0], Geometry(192))
    expected, _ = served(clips[0], Preprocessing(content_size=192, style_size=64))

    small = np.stack([cv2.resize(picture, (64, 64), interpolation=cv2.INTER_AREA) for picture in wide])

    assert np.abs(small.astype(int) - expected.style.astype(int)).mean() < 6


def test_a_video_is_prepared_once(faces: MtcnnFaceDetector, tmp_path: Path) -> None:
    store = Store.create(tmp_path / "store", Geometry(32), "v")
    video = face_clip(tmp_path / "face.mp4", seconds=3.0)

    first = prepare_video(video, FACTS, store, faces, no_landmarks, Preparation(clips_per_video=2))
    second = prepare_video(video, FACTS, store, faces, no_landmarks, Preparation(clips_per_video=2))
    altered = prepare_video(
        video, replace(FACTS, source_sha256="2"), store, faces, no_landmarks, Preparation(clips_per_video=2)
    )

    assert (first.clips, first.trouble, first.kept_before) == (2, "", False)
    assert (second.clips, second.kept_before) == (2, True)
    assert not altered.kept_before


def test_of_two_faces_each_clip_keeps_the_larger(faces: MtcnnFaceDetector, tmp_path: Path) -> None:
    found = list(clips_of(two_face_clip(tmp_path / "two.mp4"), faces, Preparation(clips_per_video=1)))

    assert len(found) == 1


def test_a_video_without_a_face_and_a_file_that_is_none_are_told_and_leave_nothing(
    faces: MtcnnFaceDetector, tmp_path: Path
) -> None:
    store = Store.create(tmp_path / "store", Geometry(32), "v")
    grey = write_video(tmp_path / "grey.mp4", (np.full((96, 128, 3), 90, np.uint8) for _ in range(40)), rate=25)

    empty = prepare_video(grey, FACTS, store, faces, no_landmarks, Preparation())
    broken = prepare_video(text_file(tmp_path / "t.mp4"), FACTS, store, faces, no_landmarks, Preparation())

    assert empty.trouble == "no clip with a face that is large and clear enough"
    assert broken.trouble.startswith("ContainerUnsupported")
    assert Store.open(tmp_path / "store").videos == ()


def test_a_photo_becomes_a_clip_of_one_frame(faces: MtcnnFaceDetector, tmp_path: Path) -> None:
    store = Store.create(tmp_path / "store", Geometry(32), "v")
    path = tmp_path / "face.png"
    cv2.imwrite(str(path), cv2.cvtColor(face_picture(), cv2.COLOR_RGB2BGR))
    (tmp_path / "no.jpg").write_text("no picture")

    kept = prepare_photo(path, FACTS, store, faces, no_landmarks)
    refused = prepare_photo(tmp_path / "no.jpg", replace(FACTS, key="b"), store, faces, no_landmarks)

    assert (kept.clips, refused.trouble) == (1, "not a readable picture")
    (photo,) = Store.open(tmp_path / "store").photos
    assert photo.frames(0).shape == (1, 44, 44, 3)
