"""Faces made of numbers, for everything that needs no pixels."""

from __future__ import annotations

import numpy as np

from styleflow.faces.align import TEMPLATE
from styleflow.faces.detect import Face


def face(left: float, top: float, side: float = 100.0, confidence: float = 0.99) -> Face:
    """A square box with five points in it."""
    points = TEMPLATE / 256 * side + np.array([left, top])
    return Face((left, top, left + side, top + side), points, confidence)
