from __future__ import annotations

from itertools import islice, pairwise

import av
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from styleflow.faces.look import changed, look_at
from styleflow.report import Box
from tests.media import SAMPLES, canvas, face_picture

PEOPLE = ("anitalker-aiface3.mp4", "grid-swiz3n.mpg", "intel-asl-book.mkv")
BOX = (80.0, 60.0, 180.0, 180.0)


def picture(sample: str = PEOPLE[0]) -> NDArray[np.uint8]:
    return cv2.resize(face_picture(sample), (256, 256)).astype(np.uint8)


@pytest.mark.parametrize("other", PEOPLE[1:])
def test_the_look_changes_from_one_person_to_another(other: str) -> None:
    assert changed(look_at(picture(), BOX), look_at(picture(other), BOX))
    assert changed(look_at(picture(other), BOX), look_at(picture(), BOX))


@pytest.mark.parametrize("sample", PEOPLE)
def test_a_person_who_speaks_looks_the_same(sample: str) -> None:
    with av.open(str(SAMPLES / sample)) as container:
        looks = [
            look_at(np.asarray(frame.to_ndarray(format="rgb24", width=256, height=256), np.uint8), BOX)
            for frame in islice(container.decode(video=0), 0, 64, 4)
        ]

    assert not any(changed(before, after) for before, after in pairwise(looks))


@pytest.mark.parametrize("gain", [0.5, 1.5])
def test_light_that_changes_is_no_cut(gain: float) -> None:
    lit = np.clip(picture() * gain, 0, 255).astype(np.uint8)

    assert not changed(look_at(picture(), BOX), look_at(lit, BOX))


def test_a_box_that_jitters_is_no_cut() -> None:
    jittered = (BOX[0] + 8, BOX[1] - 8, BOX[2] + 10, BOX[3] + 6)

    assert not changed(look_at(picture(), BOX), look_at(picture(), jittered))


@pytest.mark.parametrize("box", [(-50.0, -50.0, 20.0, 20.0), (250.0, 250.0, 256.0, 256.0), (0.0, 0.0, 256.0, 256.0)])
def test_a_box_at_the_edge_of_the_frame_has_a_look(box: Box) -> None:
    assert np.linalg.norm(look_at(picture(), box).colours) == pytest.approx(1.0)


def test_a_plain_picture_has_no_layout_that_could_change() -> None:
    assert not changed(look_at(canvas(256, 256, (10, 10, 10)), BOX), look_at(picture(), BOX))


def test_what_was_not_looked_at_did_not_change() -> None:
    assert not changed(None, look_at(picture(), BOX))
    assert not changed(look_at(picture(), BOX), None)
