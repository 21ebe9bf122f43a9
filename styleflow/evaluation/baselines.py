"""What can be told without looking for a manipulation: size, rate, sharpness, compressibility.

Sets of real and fake videos differ in such things, and a detector may have learnt nothing else. So a logistic
regression on them, trained where the detector was trained, stands beside every result.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean, median, pstdev
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from styleflow.errors import CorruptMedia
from styleflow.evaluation.calibration import identity_folds
from styleflow.evaluation.metrics import both_classes
from styleflow.evaluation.scores import EvaluationError
from styleflow.report import MediaFacts
from styleflow.video.clips import Sampling, plan_sampling
from styleflow.video.probe import MediaLimits
from styleflow.video.sandbox import SandboxLimits, open_video

FRAME_EVERY = 8
JPEG_QUALITY = 75
Floats = NDArray[np.float64]
Picture = NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class TrivialStatistics:
    """Of one video. All are finite."""

    width: float
    height: float
    frame_rate: float
    """Frames a second by the header; 0 where it names none."""
    bits_per_second: float
    """File size over duration; 0 where the header names no duration."""
    sharpness: float
    """Variance of the Laplacian of the grey frame, squared grey levels; median over frames."""
    sharpness_centre: float
    """The same of the middle half of the frame in both directions, where faces mostly are."""
    jpeg_bytes_per_pixel: float
    """Of the frame at JPEG quality 75; mean over frames."""
    jpeg_bytes_spread: float
    """Standard deviation of that over frames."""


def trivial_statistics(
    path: Path, limits: MediaLimits | None = None, sandbox: SandboxLimits | None = None
) -> TrivialStatistics:
    """From the header and every eighth frame of two stretches of 32. Raises MediaError and OSError as `open_video`
    does, CorruptMedia for a file without a frame."""
    with open_video(path, limits or MediaLimits(), sandbox or SandboxLimits()) as video:
        plan = plan_sampling(video.facts, Sampling(mode="uniform", clips=2))
        pictures = [frame.pixels for number, frame in enumerate(video.frames(plan)) if number % FRAME_EVERY == 0]
    if not pictures:
        raise CorruptMedia("The file has no frame to measure.")
    return statistics_of(video.facts, pictures)


def statistics_of(facts: MediaFacts, pictures: Sequence[Picture]) -> TrivialStatistics:
    """`pictures` are HWC RGB uint8, at least one."""
    seconds = facts.duration_seconds_from_header
    sizes = [_jpeg_bytes(picture) / (picture.shape[0] * picture.shape[1]) for picture in pictures]
    return TrivialStatistics(
        width=float(pictures[0].shape[1]),
        height=float(pictures[0].shape[0]),
        frame_rate=facts.frame_rate or 0.0,
        bits_per_second=8 * facts.size_bytes / seconds if seconds else 0.0,
        sharpness=median(_sharpness(picture) for picture in pictures),
        sharpness_centre=median(_sharpness(_centre(picture)) for picture in pictures),
        jpeg_bytes_per_pixel=fmean(sizes),
        jpeg_bytes_spread=pstdev(sizes),
    )


def statistics_to_json(statistics: TrivialStatistics) -> dict[str, float]:
    """`TrivialStatistics(**value)` reads it back."""
    return asdict(statistics)


def statistics_from_json(value: Mapping[str, Any]) -> TrivialStatistics:
    """Raises TypeError for other names."""
    return TrivialStatistics(**value)


def trivial_detector(labels: Sequence[int], rows: Sequence[TrivialStatistics]) -> Pipeline:
    """Logistic regression on the logarithms of the statistics, classes weighted equally. Raises EvaluationError where
    a class is missing."""
    fake = np.asarray(labels)
    if not both_classes(fake):
        raise EvaluationError("The trivial baseline needs videos of both classes to learn from.")
    model = make_pipeline(StandardScaler(), LogisticRegression(class_weight="balanced", max_iter=1000))
    return model.fit(features(rows), fake)


def trivial_logits(model: Pipeline, rows: Sequence[TrivialStatistics]) -> Floats:
    """(N,), higher for fake."""
    return np.asarray(model.decision_function(features(rows)), np.float64)


def cross_validated_logits(
    labels: Sequence[int], rows: Sequence[TrivialStatistics], identities: Sequence[str], *, folds: int, seed: int
) -> Floats:
    """(N,), each by a regression on the other identities, for a set without a training split. Raises EvaluationError
    where a class is missing in a fold's rest."""
    logits = np.empty(len(rows))
    for held in identity_folds(identities, folds, seed):
        rest = np.setdiff1d(np.arange(len(rows)), held)
        model = trivial_detector([labels[row] for row in rest], [rows[row] for row in rest])
        logits[held] = trivial_logits(model, [rows[row] for row in held])
    return logits


def features(rows: Sequence[TrivialStatistics]) -> Floats:
    """(N, 8) log(1 + x): the statistics span orders of magnitude."""
    return np.asarray([[math.log1p(value) for value in asdict(row).values()] for row in rows], np.float64)


def _jpeg_bytes(picture: Picture) -> int:
    done, data = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    assert done
    return int(data.size)


def _sharpness(picture: Picture) -> float:
    grey = cv2.cvtColor(np.ascontiguousarray(picture), cv2.COLOR_RGB2GRAY).astype(np.float32)
    return float(cv2.Laplacian(grey, cv2.CV_32F).var())


def _centre(picture: Picture) -> Picture:
    rows, columns = picture.shape[:2]
    return picture[rows // 4 : max(rows // 4 + 1, rows - rows // 4), columns // 4 : max(1, columns - columns // 4)]
