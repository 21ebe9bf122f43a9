"""Straightening the faces of a clip with one transform, and the two framings that the network reads.

The alignment is that of FTCN (Zheng et al., ICCV 2021): the five points of all frames of a clip are fitted at
once, so the head's own motion inside the clip survives. The fit goes from the template to the landmarks and
is then inverted; the forward fit is another transform, tens of pixels away where the head moves.

Pixel centres lie at whole numbers, as cv2.warpAffine has it. Affine maps are (2, 3) float64.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from styleflow.report import Box

Affine = NDArray[np.float64]

ALIGNED_PX: Final = 256
"""Side of the frame in which the template is given."""
TEMPLATE: Final[NDArray[np.float64]] = np.array(
    [[85.82991, 85.7792], [169.0532, 84.3381], [127.574, 137.0006], [90.6964, 174.7014], [167.3069, 173.3733]]
)
"""(5, 2) eye, eye, nose, mouth corner, mouth corner at 256 px: Face X-ray's 317-px template moved by (-30,
-60)."""
FFHQ_SIDE_PX: Final = 333.0
"""Side of the square that FFHQ's rule (eyes and mouth corners) cuts out of the template, in its 256-px
frame."""
FFHQ_CENTRE: Final = (127.6, 94.0)
"""Centre of that square. Encoders trained on FFHQ expect this wider framing; FTCN's is 1.30 times tighter."""
CROP_MARGIN: Final = 0.5
"""Part of the box's side that is added on each side before a crop is kept."""
CROP_LONG_SIDE_PX: Final = 512
"""Kept crops are shrunk to this; it is twice what the network reads."""
_ALIASING_SCALE: Final = 0.5


class UnusablePoints(ValueError):
    """Five points that all coincide, or are no numbers: no transform follows from them."""


@dataclass(frozen=True, eq=False)
class Crop:
    """A piece of a frame around one face. `pixels` is HWC RGB uint8; `to_frame` maps its pixels to the
    frame's."""

    pixels: NDArray[np.uint8]
    to_frame: Affine


def clip_alignment(points: NDArray[np.float64]) -> Affine:
    """The one map from the frame to the aligned 256-px picture for all frames of a clip.

    `points` is (frames, 5, 2) or (5, 2), x and y. Raises UnusablePoints where all points coincide.
    """
    landmarks = np.asarray(points, dtype=np.float64).reshape(-1, 2)
    template = np.tile(TEMPLATE, (len(landmarks) // len(TEMPLATE), 1))
    return cv2.invertAffineTransform(similarity(template, landmarks)).astype(np.float64, copy=False)


def similarity(source: NDArray[np.float64], target: NDArray[np.float64]) -> Affine:
    """The turn, scale and shift without reflection that takes `source` to `target` (both (n, 2)) with least
    squares. Raises UnusablePoints where all points of `target` coincide."""
    source_mean, target_mean = source.mean(axis=0), target.mean(axis=0)
    u, v = (source - source_mean).T
    x, y = (target - target_mean).T
    spread = float(u @ u + v @ v)
    cosine, sine = float(u @ x + v @ y) / spread, float(u @ y - v @ x) / spread
    if not np.hypot(cosine, sine) > 1e-9:
        raise UnusablePoints("the points span no face")
    linear = np.array([[cosine, -sine], [sine, cosine]])
    return np.column_stack([linear, target_mean - linear @ source_mean])


def ffhq_framing(size: int) -> Affine:
    """The map from the aligned 256-px picture to FFHQ's framing at `size` px: the square becomes the whole
    picture."""
    return _onto_picture(np.array(FFHQ_CENTRE), np.array([FFHQ_SIDE_PX / 2, 0.0]), size)


def ffhq_alignment(points: NDArray[np.float64], size: int) -> Affine:
    """The map from the frame to FFHQ's framing of this one face at `size` px, by FFHQ's own rule.

    `points` is (5, 2). The rule (pSp's align_all_parallel.py) uses the middles of the eyes, here points themselves,
    and the corners of the mouth. Raises ValueError where they span no face.
    """
    left_eye, right_eye, _, left_mouth, right_mouth = np.asarray(points, dtype=np.float64)
    eyes, mouth = (left_eye + right_eye) / 2, (left_mouth + right_mouth) / 2
    across, down = right_eye - left_eye, mouth - eyes
    side = across - np.array([-down[1], down[0]])
    length = np.hypot(*side)
    if not length > 1e-9:
        raise ValueError("the points span no face")
    half = side / length * max(2.0 * np.hypot(*across), 1.8 * np.hypot(*down))
    return _onto_picture(eyes + 0.1 * down, half, size)


def compose(outer: Affine, inner: Affine) -> Affine:
    """The map that applies `inner`, then `outer`."""
    return np.column_stack([outer[:, :2] @ inner[:, :2], outer[:, :2] @ inner[:, 2] + outer[:, 2]])


def cut_crop(pixels: NDArray[np.uint8], box: Box) -> Crop:
    """A copy of the frame around `box`, grown by half its size on every side, clipped to the frame, and
    shrunk without aliasing where it is larger than any use of it."""
    height, width = pixels.shape[:2]
    left, top, right, bottom = box
    grow_x, grow_y = CROP_MARGIN * (right - left), CROP_MARGIN * (bottom - top)
    x0, x1 = _span(left - grow_x, right + grow_x, width)
    y0, y1 = _span(top - grow_y, bottom + grow_y, height)
    piece = pixels[y0:y1, x0:x1]
    shrunk, to_piece = shrink(piece, min(1.0, CROP_LONG_SIDE_PX / max(piece.shape[:2])))
    offset = np.array([[1.0, 0.0, x0], [0.0, 1.0, y0]])
    return Crop(np.ascontiguousarray(shrunk) if shrunk is not piece else piece.copy(), compose(offset, to_piece))


def warp(crop: Crop, from_frame: Affine, size: int) -> NDArray[np.uint8]:
    """The crop seen through a map from the frame to a (size, size) picture: bilinear, black outside the crop.

    A map that would read fewer than every second pixel is preceded by a shrink over areas: plain bilinear
    sampling aliases large faces, and a network learns that instead of the face.
    """
    to_picture = compose(from_frame, crop.to_frame)
    scale = float(np.sqrt(abs(np.linalg.det(to_picture[:, :2]))))
    pixels, to_crop = shrink(crop.pixels, min(1.0, scale / _ALIASING_SCALE))
    picture = cv2.warpAffine(
        pixels,
        compose(to_picture, to_crop),
        (size, size),
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=(0.0, 0.0, 0.0),
    )
    return picture.astype(np.uint8, copy=False)


def shrink(pixels: NDArray[np.uint8], factor: float) -> tuple[NDArray[np.uint8], Affine]:
    """The picture resized by `factor` <= 1 over areas, and the map from its pixels to the given picture's."""
    if factor >= 1.0:
        return pixels, np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    height, width = pixels.shape[:2]
    new_width, new_height = max(1, round(width * factor)), max(1, round(height * factor))
    small = cv2.resize(pixels, (new_width, new_height), interpolation=cv2.INTER_AREA)
    x, y = width / new_width, height / new_height
    # resizing keeps the outer edges in place, half a pixel outside the centres
    back = np.array([[x, 0.0, (x - 1) / 2], [0.0, y, (y - 1) / 2]])
    return small.astype(np.uint8, copy=False), back


def _onto_picture(centre: NDArray[np.float64], half: NDArray[np.float64], size: int) -> Affine:
    """The map that takes the square around `centre`, whose half side to the right is `half`, onto a picture.

    The square's edges fall on the picture's, which lie half a pixel outside the outer centres.
    """
    x, y = half * size / 2 / (half @ half)
    linear = np.array([[x, y], [-y, x]])
    return np.column_stack([linear, (size - 1) / 2 - linear @ centre])


def _span(low: float, high: float, length: int) -> tuple[int, int]:
    start = min(max(0, int(np.floor(low))), length - 1)
    return start, max(start + 1, min(length, int(np.ceil(high))))
