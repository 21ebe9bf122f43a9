"""What the picture around a face looks like, in a few numbers: enough to notice a cut, by far not enough to know a
person.

On 40 videos of talking people, `changed` held for none of 903 pairs of key frames that follow each other, and for 93 of
a hundred of the 780 pairs of two videos. A cut between two people of like pose, dress and light goes unnoticed.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from styleflow.faces.align import CROP_MARGIN
from styleflow.report import Box

SAME_LAYOUT = 0.6
"""Correlation of two layouts; within a shot quick turns of the head go down to 0.5."""
SAME_COLOURS = 0.9
"""Overlap of two distributions of colour; within a shot a flash goes down to 0.8."""
PLAIN_STD = 2.0
"""Grey levels of a thumbnail below which its layout is noise."""
_SEEN_PX = 64
_LAYOUT_PX = 8
_BINS = 8


@dataclass(frozen=True, eq=False)
class Look:
    """Of a face with its surroundings, half a box on each side."""

    layout: NDArray[np.float64]
    """(8 * 8 * 3,) a thumbnail without its mean colour, of length 1: light does not matter. Zeros where it is plain."""
    colours: NDArray[np.float64]
    """(512,) square roots of the shares of each colour: place does not matter."""


def look_at(pixels: NDArray[np.uint8], box: Box) -> Look:
    """`pixels` is the frame, HWC RGB; `box` lies in it."""
    height, width = pixels.shape[:2]
    left, top, right, bottom = box
    grow_x, grow_y = CROP_MARGIN * (right - left), CROP_MARGIN * (bottom - top)
    rows = slice(max(0, int(top - grow_y)), min(height, int(bottom + grow_y) + 1))
    columns = slice(max(0, int(left - grow_x)), min(width, int(right + grow_x) + 1))
    seen = cv2.resize(pixels[rows, columns], (_SEEN_PX, _SEEN_PX), interpolation=cv2.INTER_AREA)
    thumbnail = cv2.resize(seen, (_LAYOUT_PX, _LAYOUT_PX), interpolation=cv2.INTER_AREA).astype(np.float64)
    layout = (thumbnail - thumbnail.mean(axis=(0, 1))).ravel()
    counts = cv2.calcHist([seen], [0, 1, 2], None, [_BINS] * 3, [0, 256] * 3).ravel().astype(np.float64)
    plain = layout.std() < PLAIN_STD
    return Look(layout * (0.0 if plain else 1 / np.linalg.norm(layout)), np.sqrt(counts / counts.sum()))


def changed(before: Look | None, after: Look | None) -> bool:
    """Whether both layout and colours differ by more than they do within a shot. What was not looked at, or is plain,
    did not change."""
    if before is None or after is None or not (before.layout.any() and after.layout.any()):
        return False
    return bool(before.layout @ after.layout < SAME_LAYOUT and before.colours @ after.colours < SAME_COLOURS)
