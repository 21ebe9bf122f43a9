from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from styleflow.detection.inputs import ClipQuality, QualityFloor, prepare, resized
from styleflow.detection.stream import FaceClip
from styleflow.faces.align import TEMPLATE, cut_crop
from styleflow.faces.detect import MtcnnFaceDetector
from styleflow.faces.track import FrameMark, Sighting
from styleflow.packs import Preprocessing
from tests.media import face_picture

PREPROCESSING = Preprocessing(content_size=112, style_size=64)


def clip_of(pictures: list[NDArray[np.uint8]], points: list[NDArray[np.float64]], confidence: float = 1.0) -> FaceClip:
    box = (float(points[0][:, 0].min()) - 30, float(points[0][:, 1].min()) - 40, *(points[0].max(axis=0) + 40).tolist())
    sightings = tuple(
        Sighting(0, 0, FrameMark(0, number, number / 25), box, five, confidence) for number, five in enumerate(points)
    )
    crops = tuple(cut_crop(picture, box) for picture in pictures)
    return FaceClip(0, sightings, crops, slice(0, len(pictures)))


@pytest.fixture(scope="module")
def points() -> NDArray[np.float64]:
    [[face]] = MtcnnFaceDetector().detect([face_picture()])
    return face.points


def test_inputs_are_bytes_of_the_sizes_that_the_card_names(points: NDArray[np.float64]) -> None:
    pictures, _ = prepare(clip_of([face_picture()] * 32, [points] * 32), PREPROCESSING)

    assert pictures.content.shape == (32, 112, 112, 3)
    assert pictures.style.shape == (32, 64, 64, 3)
    assert pictures.content.dtype == pictures.style.dtype == np.uint8


def test_the_eyes_land_where_the_template_has_them() -> None:
    picture = np.zeros((400, 400, 3), np.uint8)
    points = TEMPLATE + np.array([60, 80])
    for x, y in points:
        cv2.circle(picture, (round(x), round(y)), 6, (255, 255, 255), -1)

    pictures, _ = prepare(
        clip_of([picture] * 32, [points] * 32), PREPROCESSING.model_copy(update={"content_size": 256})
    )

    for x, y in TEMPLATE:
        assert pictures.content[0, round(y), round(x)].min() > 200
    assert pictures.content[0].mean() < 10


def test_the_motion_of_the_head_inside_a_clip_survives(points: NDArray[np.float64]) -> None:
    moved = [np.roll(face_picture(), shift, axis=1) for shift in range(0, 16, 2)]
    followed = [points + np.array([shift, 0]) for shift in range(0, 16, 2)]

    pictures, _ = prepare(clip_of(moved, followed), PREPROCESSING)

    assert np.abs(pictures.content[0].astype(int) - pictures.content[-1]).mean() > 3


def test_framing_per_frame_takes_that_motion_out(points: NDArray[np.float64]) -> None:
    moved = [np.roll(face_picture(), shift, axis=1) for shift in range(0, 16, 2)]
    clip = clip_of(moved, [points + np.array([shift, 0]) for shift in range(0, 16, 2)])

    def inner_motion(framing: str) -> float:
        pictures, _ = prepare(clip, PREPROCESSING.model_copy(update={"style_framing": framing}))
        inner = pictures.style[:, 16:48, 16:48].astype(int)
        return float(np.abs(inner[0] - inner[-1]).mean())

    assert inner_motion("ffhq_per_frame") < 0.5 * inner_motion("ffhq")


@pytest.mark.parametrize(("size", "from_size"), [(224, 256), (112, 256), (64, 256), (256, 240)])
def test_resizing_gives_the_bytes_that_the_published_networks_were_trained_on(size: int, from_size: int) -> None:
    draw = np.random.default_rng(size)
    pictures = draw.integers(0, 256, (2, from_size, from_size, 3), dtype=np.uint8)

    found = resized(pictures, size)

    for picture, small in zip(pictures, found, strict=True):
        expected = Image.fromarray(picture).resize((size, size), Image.Resampling.BILINEAR)
        assert np.abs(small.astype(int) - np.asarray(expected)).max() <= 1


def test_a_paper_pack_reads_224_px_of_content_resized_and_256_px_of_style(points: NDArray[np.float64]) -> None:
    paper = Preprocessing(content_size=224, style_size=256, style_framing="ftcn256")
    pictures, _ = prepare(clip_of([face_picture()] * 4, [points] * 4), paper)

    assert pictures.content.shape == (4, 224, 224, 3)
    assert pictures.style.shape == (4, 256, 256, 3)
    expected = Image.fromarray(pictures.style[0]).resize((224, 224), Image.Resampling.BILINEAR)
    assert np.abs(pictures.content[0].astype(int) - np.asarray(expected)).max() <= 1


def test_framing_per_frame_puts_every_frames_own_eyes_in_ffhqs_places(points: NDArray[np.float64]) -> None:
    picture = np.zeros((500, 500, 3), np.uint8)
    frames, followed = [], []
    for shift in range(0, 40, 10):
        five = TEMPLATE * 0.8 + np.array([120 + shift, 140 - shift])
        frame = picture.copy()
        for x, y in five[:2]:
            cv2.circle(frame, (round(x), round(y)), 5, (255, 255, 255), -1)
        frames.append(frame)
        followed.append(five)

    pictures, _ = prepare(
        clip_of(frames, followed), Preprocessing(content_size=224, style_size=256, style_framing="ffhq_per_frame")
    )

    # The template's eyes are 83 px apart and FFHQ's square four times that: a quarter of 256.
    for frame in pictures.style:
        columns = np.flatnonzero(frame[:, :, 0].max(axis=0) > 128)
        left, right = columns[columns < 128].mean(), columns[columns >= 128].mean()
        assert right - left == pytest.approx(64, abs=2)
        assert (left + right) / 2 == pytest.approx(127.5, abs=2)


def test_ffhq_framing_is_wider_than_the_content_crop(points: NDArray[np.float64]) -> None:
    clip = clip_of([face_picture()] * 8, [points] * 8)
    wide, _ = prepare(clip, PREPROCESSING)
    tight, _ = prepare(clip, PREPROCESSING.model_copy(update={"style_framing": "ftcn256"}))
    shrunk = cv2.resize(tight.style[0], (49, 49), interpolation=cv2.INTER_AREA)

    match = cv2.matchTemplate(wide.style[0], shrunk, cv2.TM_CCOEFF_NORMED)

    assert match.max() > 0.9


def test_points_that_coincide_are_refused() -> None:
    clip = clip_of([face_picture()] * 4, [np.full((5, 2), 100.0)] * 4)

    with pytest.raises(ValueError, match="no face"):
        prepare(clip, PREPROCESSING)


def test_a_plain_sample_is_above_the_floor_and_a_blurred_or_dark_one_below(points: NDArray[np.float64]) -> None:
    def quality(picture: NDArray[np.uint8]) -> ClipQuality:
        return prepare(clip_of([picture] * 32, [points] * 32), PREPROCESSING)[1]

    floor = QualityFloor()
    plain = face_picture()
    blurred = cv2.GaussianBlur(plain, (0, 0), 7).astype(np.uint8)

    assert floor.admits(quality(plain))
    assert not floor.admits(quality(blurred))
    assert not floor.admits(quality((plain * 0.1).astype(np.uint8)))


def test_a_face_that_the_detector_doubts_is_below_the_floor(points: NDArray[np.float64]) -> None:
    _, quality = prepare(clip_of([face_picture()] * 32, [points] * 32, confidence=0.92), PREPROCESSING)

    assert quality.confidence == pytest.approx(0.92)
    assert not QualityFloor().admits(quality)
