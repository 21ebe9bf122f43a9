"""One clip's crops become the two pictures per frame that the network reads, and a word on their quality."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from styleflow.detection.stream import FaceClip
from styleflow.faces.align import (
    ALIGNED_PX,
    Affine,
    clip_alignment,
    compose,
    ffhq_alignment,
    ffhq_framing,
    warp,
)
from styleflow.packs import Preprocessing

QUALITY_EVERY = 8
"""Quality is measured on every eighth frame of a clip."""
_INNER_FACE = (slice(32, 224), slice(48, 208))
"""Rows and columns of the aligned picture that lie on the face itself."""


@dataclass(frozen=True, eq=False)
class ClipInput:
    """Both inputs of one clip, RGB uint8 as on the screen; the engine normalises them."""

    content: NDArray[np.uint8]
    """(frames, S, S, 3)"""
    style: NDArray[np.uint8]
    """(frames, R, R, 3)"""


@dataclass(frozen=True, kw_only=True)
class ClipQuality:
    """What can be measured about a clip before it is judged."""

    confidence: float
    """Mean over the frames on which the face was detected, 0..1."""
    sharpness: float
    """Variance of the Laplacian of the aligned face at 128 px, in squared grey levels; median over frames."""
    contrast: float
    """Standard deviation of the aligned face in grey levels of 255; median over frames."""


@dataclass(frozen=True, kw_only=True)
class QualityFloor:
    """Below any of these a clip is left out.

    Measured on the sample videos: as they are, their clips have a sharpness of 16 to 180 and a contrast of 25 to
    41. A Gaussian blur whose sigma is a sixteenth of the face leaves a sharpness near 4; light cut to a tenth a
    contrast of 2 to 4. What a network says about such pictures, it says about the blur. MTCNN is less sure than
    0.95 on average where a face is turned away or covered, so that its points cannot be trusted.
    """

    confidence: float = 0.95
    sharpness: float = 5.0
    contrast: float = 5.0

    def admits(self, quality: ClipQuality) -> bool:
        """Whether a clip is worth judging."""
        return (
            quality.confidence >= self.confidence
            and quality.sharpness >= self.sharpness
            and quality.contrast >= self.contrast
        )


def prepare(clip: FaceClip, preprocessing: Preprocessing) -> tuple[ClipInput, ClipQuality]:
    """Align the clip by one transform and frame it for both branches.

    Raises UnusablePoints where the points of the clip span no face.
    """
    alignment = clip_alignment(np.stack([sighting.points for sighting in clip.sightings]))
    aligned = [warp(crop, alignment, ALIGNED_PX) for crop in clip.crops]
    content = resized(np.stack(aligned), preprocessing.content_size)
    return ClipInput(content, _style_pictures(clip, alignment, aligned, preprocessing)), measure(clip, aligned)


def resized(pictures: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """(frames, H, W, 3) -> (frames, size, size, 3), bilinear over the whole area that a new pixel covers.

    The published networks were trained on pictures that Pillow resized (256 to 224 for the content): this gives
    the same bytes up to one grey level, which plain bilinear sampling and averaging over areas do not.
    """
    if pictures.shape[1:3] == (size, size):
        return pictures
    channels_first = torch.from_numpy(pictures).permute(0, 3, 1, 2)
    smaller = functional.interpolate(channels_first, (size, size), mode="bilinear", antialias=True)
    return np.ascontiguousarray(smaller.permute(0, 2, 3, 1).numpy())


def measure(clip: FaceClip, aligned: Sequence[NDArray[np.uint8]]) -> ClipQuality:
    """The quality of a clip from its aligned 256-px pictures."""
    faces = [cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)[_INNER_FACE] for picture in aligned[::QUALITY_EVERY]]
    halves = [cv2.resize(face, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA) for face in faces]
    detail = [cv2.Laplacian(half.astype(np.float32), cv2.CV_32F).var() for half in halves]
    seen = [sighting.confidence for sighting in clip.sightings if sighting.confidence is not None]
    return ClipQuality(
        confidence=float(np.mean(seen)) if seen else 0.0,
        sharpness=float(np.median(detail)),
        contrast=float(np.median([face.std() for face in faces])),
    )


def _style_pictures(
    clip: FaceClip, alignment: Affine, aligned: Sequence[NDArray[np.uint8]], preprocessing: Preprocessing
) -> NDArray[np.uint8]:
    size = preprocessing.style_size
    if preprocessing.style_framing == "ftcn256":
        return resized(np.stack(aligned), size)
    if preprocessing.style_framing == "ffhq":
        one_for_all = compose(ffhq_framing(size), alignment)
        return np.stack([warp(crop, one_for_all, size) for crop in clip.crops])
    return np.stack(
        [
            warp(crop, ffhq_alignment(sighting.points, size), size)
            for crop, sighting in zip(clip.crops, clip.sightings, strict=True)
        ]
    )
