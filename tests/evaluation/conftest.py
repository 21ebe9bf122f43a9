"""The detector of the detection tests, which sees coloured squares as faces and knows that red ones are manipulated."""

from __future__ import annotations

from pathlib import Path

import pytest

from styleflow.detection.engine import Detector
from tests.detection.conftest import detector, pack  # noqa: F401 (fixtures)
from tests.detection.drawn_faces import Square, square_detector, squares_clip

REAL, FAKE = [[Square()]] * 40, [[Square(red=True)]] * 40


@pytest.fixture(scope="session")
def squares(detector: Detector) -> Detector:  # noqa: F811 (the fixture)
    return square_detector(detector)


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`real-0.mp4` to `real-3.mp4` and their fakes; do not write to it."""
    folder = tmp_path_factory.mktemp("clips")
    for number in range(4):
        squares_clip(folder / f"real-{number}.mp4", REAL)
        squares_clip(folder / f"fake-{number}.mp4", FAKE)
    return folder
