from __future__ import annotations

import sys

import cv2
import numpy as np
import pytest
import torch

from styleflow.errors import ConfigurationError, GpuOutOfMemory
from styleflow.faces.detect import LONG_SIDE_PX, MtcnnFaceDetector, shrink_to
from tests.media import canvas, face_picture, paste


@pytest.fixture(scope="module")
def detector() -> MtcnnFaceDetector:
    return MtcnnFaceDetector()


def test_a_face_is_found_with_its_points_in_the_order_of_the_template(detector: MtcnnFaceDetector) -> None:
    [[face]] = detector.detect([face_picture()])

    eye, other_eye, nose, mouth, other_mouth = face.points
    assert face.confidence > 0.99
    assert eye[0] < nose[0] < other_eye[0]
    assert mouth[0] < other_mouth[0]
    assert max(eye[1], other_eye[1]) < nose[1] < min(mouth[1], other_mouth[1])
    assert all(face.box[0] < x < face.box[2] and face.box[1] < y < face.box[3] for x, y in face.points)


def test_each_frame_of_a_batch_gets_its_own_faces(detector: MtcnnFaceDetector) -> None:
    two = paste(
        paste(canvas(480, 240), face_picture(), 10, 20, 200), face_picture("anitalker-aiface4.mp4"), 250, 20, 200
    )
    left = paste(canvas(480, 240), face_picture(), 10, 20, 200)

    found = detector.detect([two, canvas(480, 240), left])

    assert [len(faces) for faces in found] == [2, 0, 1]
    assert found[2][0].box[2] < 240


@pytest.mark.parametrize("count", [1, 2])
def test_frames_with_equally_many_faces_give_plain_numbers(detector: MtcnnFaceDetector, count: int) -> None:
    found = detector.detect([face_picture()] * count)

    assert len(found) == count
    for [face] in found:
        assert face.points.shape == (5, 2)
        assert face.points.dtype == np.float64
        assert all(type(value) is float for value in (*face.box, face.confidence))


def test_a_large_frame_is_shrunk_first_and_its_boxes_are_in_its_own_pixels(detector: MtcnnFaceDetector) -> None:
    small = face_picture()
    factor = 8
    large = cv2.resize(small, None, fx=factor, fy=factor, interpolation=cv2.INTER_LINEAR).astype(np.uint8)

    [[in_small]], [[in_large]] = detector.detect([small]), detector.detect([large])

    assert max(large.shape) > LONG_SIDE_PX
    assert np.allclose(np.array(in_large.box) / factor, in_small.box, atol=0.06 * in_small.size)


def test_a_face_of_48_pixels_is_found_on_a_full_hd_frame(detector: MtcnnFaceDetector) -> None:
    frame = paste(canvas(1920, 1080), face_picture(), 900, 500, 110)

    [[face]] = detector.detect([frame])

    assert face.size == pytest.approx(52, abs=8)


def test_the_same_frames_give_the_same_faces(detector: MtcnnFaceDetector) -> None:
    first, second = (detector.detect([face_picture()] * 3) for _ in range(2))

    assert [[face.box for face in faces] for faces in first] == [[face.box for face in faces] for faces in second]


@pytest.mark.parametrize(("width", "height"), [(8, 8), (640, 10), (19, 300)])
def test_a_frame_too_small_for_any_face_has_none(detector: MtcnnFaceDetector, width: int, height: int) -> None:
    assert detector.detect([canvas(width, height)] * 2) == [[], []]


def test_no_frames_have_no_faces(detector: MtcnnFaceDetector) -> None:
    assert detector.detect([]) == []


def test_a_face_below_the_least_confidence_is_left_out() -> None:
    assert MtcnnFaceDetector(min_confidence=1.1).detect([face_picture()]) == [[]]


def test_a_missing_torchvision_is_told_in_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "facenet_pytorch", None)

    with pytest.raises(ConfigurationError, match=r"^Face detection needs [^.]+2\.5\.3 and the torchvision .*\.$"):
        MtcnnFaceDetector()


def test_memory_that_does_not_suffice_is_an_error_that_can_be_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def out_of_memory(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    detector = MtcnnFaceDetector()
    monkeypatch.setattr(detector._network, "detect", out_of_memory)

    with pytest.raises(GpuOutOfMemory) as raised:
        detector.detect([face_picture()])
    assert raised.value.retryable


def test_shrinking_averages_instead_of_skipping_pixels() -> None:
    stripes = np.zeros((400, 400, 3), np.uint8)
    stripes[:, ::2] = 200

    assert np.all(shrink_to(stripes, 200) == 100)
