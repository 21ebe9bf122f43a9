"""A detector that sees coloured squares as faces and judges them by their colour: what is decided from clips can be
tested without a face detector or a network that decides."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from styleflow.detection.analyze import AnalysisOptions
from styleflow.detection.engine import Detector
from styleflow.detection.inputs import QualityFloor
from styleflow.faces.detect import Face
from styleflow.models.detector import ClipOutput
from styleflow.video.clips import Sampling
from tests.faces.made_faces import face
from tests.media import BLUE, RED, Picture, canvas, write_video

WIDTH, HEIGHT, SIDE = 240, 80, 60
RED_LOGIT, BLUE_LOGIT = 8.0, -4.0
_LEAST_AREA = 400


@dataclass(frozen=True)
class Square:
    """A face to draw; blue ones are harmless."""

    left: int = 10
    side: int = SIDE
    red: bool = False


def picture(*squares: Square) -> Picture:
    drawn = canvas(WIDTH, HEIGHT)
    for square in squares:
        drawn[10 : 10 + square.side, square.left : square.left + square.side] = RED if square.red else BLUE
    return drawn


def squares_clip(path: Path, frames: Iterable[Sequence[Square]], **how: Any) -> Path:
    """`how` as in `write_video`."""
    return write_video(path, (picture(*squares) for squares in frames), **how)


class SquareFaces:
    """Finds the squares."""

    def detect(self, frames: Sequence[NDArray[np.uint8]]) -> list[list[Face]]:
        return [list(self._squares(frame)) for frame in frames]

    def _squares(self, frame: NDArray[np.uint8]) -> Iterable[Face]:
        coloured = (np.ptp(frame.astype(int), axis=2) > 60).astype(np.uint8)
        _, _, stats, _ = cv2.connectedComponentsWithStats(coloured)
        for left, top, width, _, area in stats[1:].tolist():
            if area > _LEAST_AREA:
                yield face(left, top, width)


class ColourNetwork(nn.Module):
    """Red is manipulated."""

    def forward(self, content: Tensor, style: Tensor) -> ClipOutput:
        red, _, blue = content.mean(dim=(2, 3, 4)).unbind(dim=1)
        count = len(content)
        logit = torch.where(red > blue, RED_LOGIT, BLUE_LOGIT)
        return ClipOutput(logit, torch.zeros(count, 31, 3), torch.ones(count, 32) / 32)


def square_detector(detector: Detector) -> Detector:
    """With the card of `detector`."""
    return replace(detector, faces=SquareFaces(), network=ColourNetwork())  # type: ignore[arg-type]


def full_options(**changes: Any) -> AnalysisOptions:
    """Everything is looked at, and squares are good enough."""
    floor = QualityFloor(confidence=0.0, sharpness=0.0, contrast=0.0)
    return AnalysisOptions(**{"sampling": Sampling(mode="full"), "quality_floor": floor, **changes})
