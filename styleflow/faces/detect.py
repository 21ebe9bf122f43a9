"""Faces on single frames: boxes, five points and how sure the detector is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from styleflow.errors import ConfigurationError, GpuOutOfMemory
from styleflow.faces.look import Look
from styleflow.report import Box

SMALLEST_FACE_PX = 20
"""The smallest face that MTCNN is asked for, in pixels of the picture it sees."""
LONG_SIDE_PX = 800
"""Frames with a longer side are shrunk to it. A face of 48 px on a Full HD frame then still has MTCNN's 20
px."""
MIN_CONFIDENCE = 0.9
"""MTCNN's last stage passes windows from 0.7 on. True faces of the sample videos lie above 0.99 and textures
that look like one mostly below 0.9; a face lost for a moment costs less than a track of wallpaper."""


@dataclass(frozen=True, eq=False)
class Face:
    """One face on one frame, in pixels of that frame."""

    box: Box
    points: NDArray[np.float64]
    """(5, 2), x and y: the eye on the left of the picture, the other eye, nose, mouth corner left, right."""
    confidence: float
    """0..1."""
    look: Look | None = None
    """Of the picture around it, where somebody looked."""

    @property
    def size(self) -> float:
        """The shorter side of the box, in pixels."""
        return min(self.box[2] - self.box[0], self.box[3] - self.box[1])


class FaceDetector(Protocol):
    """Anything that finds faces."""

    def detect(self, frames: Sequence[NDArray[np.uint8]]) -> list[list[Face]]:
        """The faces of each frame; frames are HWC RGB uint8 and all of one size."""
        ...


class MtcnnFaceDetector:
    """MTCNN (Zhang et al. 2016) as packaged by facenet-pytorch; its weights are part of that wheel.

    The same frames in the same order give the same faces. Raises ConfigurationError when facenet-pytorch or a
    torchvision that fits torch is not installed.
    """

    def __init__(
        self,
        device: torch.device | str = "cpu",
        *,
        min_confidence: float = MIN_CONFIDENCE,
        long_side: int = LONG_SIDE_PX,
        batch_size: int = 8,
    ) -> None:
        self._network = _load_mtcnn(torch.device(device))
        self._min_confidence = min_confidence
        self._long_side = long_side
        self._batch_size = batch_size

    def detect(self, frames: Sequence[NDArray[np.uint8]]) -> list[list[Face]]:
        """The faces of each frame, the largest first; frames are HWC RGB uint8 and all of one size.

        Raises GpuOutOfMemory.
        """
        found: list[list[Face]] = []
        for start in range(0, len(frames), self._batch_size):
            found.extend(self._detect_batch(frames[start : start + self._batch_size]))
        return found

    def _detect_batch(self, frames: Sequence[NDArray[np.uint8]]) -> list[list[Face]]:
        height, width = frames[0].shape[:2]
        small = [shrink_to(frame, self._long_side) for frame in frames]
        seen_height, seen_width = small[0].shape[:2]
        if min(seen_height, seen_width) < SMALLEST_FACE_PX:
            return [[] for _ in frames]  # MTCNN's pyramid would be empty, on which it fails
        scale = np.array([width / seen_width, height / seen_height])
        try:
            with torch.inference_mode():
                boxes, confidences, points = self._network.detect(np.stack(small), landmarks=True)
        except torch.OutOfMemoryError as error:
            raise GpuOutOfMemory from error
        return [
            list(self._faces(*of_frame, scale, (width, height)))
            for of_frame in zip(boxes, confidences, points, strict=True)
        ]

    def _faces(
        self, boxes: Any, confidences: Any, points: Any, scale: NDArray[np.float64], size: tuple[int, int]
    ) -> Iterator[Face]:
        if boxes is None:
            return
        # where all frames of a batch have equally many faces the arrays come back with dtype object
        corners = np.asarray(boxes, dtype=np.float64).reshape(-1, 2, 2) * scale
        five = np.asarray(points, dtype=np.float64).reshape(-1, 5, 2) * scale
        corners = np.clip(corners, 0.0, np.array(size, dtype=np.float64))
        for box, landmarks, confidence in zip(corners, five, np.asarray(confidences, dtype=np.float64), strict=True):
            (left, top), (right, bottom) = box.tolist()
            if confidence >= self._min_confidence and right > left and bottom > top:
                yield Face((left, top, right, bottom), landmarks, float(confidence))


def shrink_to(pixels: NDArray[np.uint8], long_side: int) -> NDArray[np.uint8]:
    """The picture with its longer side at most `long_side`, averaged over areas so that nothing aliases."""
    height, width = pixels.shape[:2]
    factor = long_side / max(height, width)
    if factor >= 1.0:
        return pixels
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    return cv2.resize(pixels, size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)


def _load_mtcnn(device: torch.device) -> Any:
    try:
        from facenet_pytorch import MTCNN
    except (
        ImportError,
        RuntimeError,
        OSError,
    ) as error:  # so fails a torchvision that does not fit
        raise ConfigurationError(
            "Face detection needs facenet-pytorch 2.5.3 and the torchvision that fits the installed torch; "
            "install styleflow[detector]."
        ) from error
    return MTCNN(keep_all=True, min_face_size=SMALLEST_FACE_PX, device=device).eval()
