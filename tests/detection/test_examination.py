from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from styleflow.detection import examination as room
from styleflow.detection.coverage import coverage, warnings
from styleflow.detection.engine import Detector
from styleflow.detection.examination import Examination, Stopwatch
from styleflow.faces.detect import Face
from styleflow.faces.track import TrackRules
from styleflow.report import MediaFacts
from styleflow.video.clips import Sampling, plan_sampling
from styleflow.video.sandbox import Frame
from tests.detection.drawn_faces import Square, full_options, picture, square_detector


class OnePoint:
    """Faces whose five points coincide."""

    def detect(self, frames: Sequence[NDArray[np.uint8]]) -> list[list[Face]]:
        return [[Face((10.0, 10.0, 70.0, 70.0), np.full((5, 2), 40.0), 0.99)] for _ in frames]


def examined(detector: Detector, frames: int = 32) -> Examination:
    examination = Examination(
        detector,
        rules=TrackRules(),
        min_face_px=48.0,
        floor=full_options().quality_floor,
        checkpoint=lambda: None,
        clock=Stopwatch(),
    )
    for number in range(frames):
        examination.push(Frame(0, number, number / 25, picture(Square())))
    examination.finish()
    return examination


@pytest.mark.parametrize(("damaged", "expected"), [(0, []), (2, ["partial_decode"])])
def test_frames_that_the_decoder_found_damaged_are_told(detector: Detector, damaged: int, expected: list[str]) -> None:
    facts = MediaFacts(container="mpegts", codec="h264", width=240, height=80, duration_seconds_from_header=32 / 25)
    video: Any = SimpleNamespace(facts=facts, decode_error=None, damaged_frames=damaged)
    examination, plan = examined(square_detector(detector)), plan_sampling(facts, Sampling(mode="full"))
    told = warnings(video, plan, examination, list(examination.records.values()))

    assert [warning.code for warning in told] == expected
    assert coverage(video, plan, examination).truncated is bool(expected)


def test_a_face_whose_points_span_nothing_is_not_judged(detector: Detector) -> None:
    [record] = examined(replace(square_detector(detector), faces=OnePoint())).records.values()

    assert (record.large_clips, record.judgeable_clips, record.clips) == (1, 0, [])


def test_an_unusable_clip_is_told_apart_from_a_mistake_of_ours(
    detector: Detector, monkeypatch: pytest.MonkeyPatch
) -> None:
    def mistaken(*_: object) -> None:
        raise ValueError("all input arrays must have the same shape")

    monkeypatch.setattr(room, "prepare", mistaken)

    with pytest.raises(ValueError, match="same shape"):
        examined(square_detector(detector))
