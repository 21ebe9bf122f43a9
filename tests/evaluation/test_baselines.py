from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from styleflow.errors import ContainerUnsupported
from styleflow.evaluation.baselines import (
    TrivialStatistics,
    cross_validated_logits,
    features,
    statistics_from_json,
    statistics_to_json,
    trivial_detector,
    trivial_logits,
    trivial_statistics,
)
from styleflow.evaluation.scores import EvaluationError
from tests.media import canvas, plain_clip, text_file, write_video

ROW = TrivialStatistics(
    width=640,
    height=480,
    frame_rate=30,
    bits_per_second=1e6,
    sharpness=100,
    sharpness_centre=100,
    jpeg_bytes_per_pixel=0.1,
    jpeg_bytes_spread=0.01,
)


def test_size_and_rate_are_those_of_the_video(tmp_path: Path) -> None:
    found = trivial_statistics(plain_clip(tmp_path / "plain.mp4", width=192, height=128, rate=20, seconds=4))

    assert (found.width, found.height, found.frame_rate) == (192, 128, 20)
    assert found.bits_per_second > 0
    assert np.isfinite(features([found])).all()


def test_a_noisy_video_is_sharper_and_larger_than_a_grey_one(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    noise = [random.integers(0, 255, (64, 96, 3), np.uint8) for _ in range(8)]
    noisy = trivial_statistics(write_video(tmp_path / "noise.mp4", noise))
    grey = trivial_statistics(write_video(tmp_path / "grey.mp4", [canvas(96, 64)] * 8))

    assert noisy.sharpness > grey.sharpness == 0
    assert noisy.sharpness_centre > grey.sharpness_centre
    assert noisy.jpeg_bytes_per_pixel > grey.jpeg_bytes_per_pixel


def test_what_is_no_video_raises_its_error(tmp_path: Path) -> None:
    with pytest.raises(ContainerUnsupported):
        trivial_statistics(text_file(tmp_path / "letter.mp4"))


def test_statistics_survive_json() -> None:
    assert statistics_from_json(statistics_to_json(ROW)) == ROW


def test_sets_that_differ_in_frame_size_are_told_apart_by_it() -> None:
    rows = [replace(ROW, width=640 + n) for n in range(10)] + [replace(ROW, width=256 + n) for n in range(10)]
    logits = trivial_logits(trivial_detector([0] * 10 + [1] * 10, rows), rows)

    assert logits[:10].max() < 0 < logits[10:].min()


def test_statistics_that_say_nothing_are_at_chance_when_cross_validated() -> None:
    random = np.random.default_rng(0)
    rows = [replace(ROW, sharpness=float(random.uniform(10, 500))) for _ in range(200)]
    labels = [number % 2 for number in range(200)]
    logits = cross_validated_logits(labels, rows, [str(n) for n in range(200)], folds=5, seed=0)

    assert abs(logits[1::2].mean() - logits[::2].mean()) < 2 * logits.std() / 200**0.5 * 2


def test_one_class_teaches_nothing() -> None:
    with pytest.raises(EvaluationError, match="both classes"):
        trivial_detector([1, 1], [ROW, ROW])
