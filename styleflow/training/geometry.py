"""Where the network's two pictures lie in the one picture per frame that the store keeps.

The kept picture is FTCN's aligned 256-px picture with a margin that holds the whole FFHQ square, at the scale at
which the content branch reads it. Its grid falls on the served pictures' grid: what training cuts out as content is
what serving makes, not a resampling of it. Only the standard library.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

ALIGNED_PX = 256
"""Side of FTCN's aligned picture (faces/align.py)."""
FFHQ_CENTRE, FFHQ_SIDE_PX = (127.6, 94.0), 333.0
"""FFHQ's square in it (faces/align.py)."""
LEFT_PX, TOP_PX, RIGHT_PX, BOTTOM_PX = 39, 73, 39, 4
"""Least margins around it, in its pixels. FFHQ's square of 333 px spans -38.9..294.1 by -72.5..260.5."""


@dataclass(frozen=True)
class Geometry:
    """All in pixels of the kept ("wide") picture, except the margins before scaling."""

    content_size: int
    """Side of the content branch's input, which has the scale content_size / 256."""

    @property
    def _step(self) -> int:
        """Aligned pixels after which the scaled grid meets the unscaled one again."""
        return ALIGNED_PX // math.gcd(ALIGNED_PX, self.content_size)

    @property
    def left_margin(self) -> int:
        """Aligned pixels left of the aligned picture."""
        return self._up(LEFT_PX)

    @property
    def top_margin(self) -> int:
        """Aligned pixels above the aligned picture."""
        return self._up(TOP_PX)

    @property
    def side(self) -> int:
        """Side of the wide picture before scaling, in aligned pixels; even after scaling, as 4:2:0 wants it."""
        across = self.left_margin + ALIGNED_PX + RIGHT_PX
        down = self.top_margin + ALIGNED_PX + BOTTOM_PX
        return self._up(max(across, down), 2 * self._step)

    @property
    def wide_size(self) -> int:
        """Side of the kept picture."""
        return self.side * self.content_size // ALIGNED_PX

    @property
    def content_left(self) -> int:
        return self.left_margin * self.content_size // ALIGNED_PX

    @property
    def content_top(self) -> int:
        return self.top_margin * self.content_size // ALIGNED_PX

    @property
    def style_square(self) -> tuple[int, int, int]:
        """Left, top and side of FFHQ's square, to the nearest whole pixels that the wide picture holds."""
        scale = self.content_size / ALIGNED_PX
        side = min(round(FFHQ_SIDE_PX * scale), self.wide_size)
        limit = self.wide_size - side
        corner = (
            round((margin + centre - FFHQ_SIDE_PX / 2) * scale)
            for margin, centre in zip((self.left_margin, self.top_margin), FFHQ_CENTRE, strict=True)
        )
        left, top = (min(max(start, 0), limit) for start in corner)
        return left, top, side

    def _up(self, pixels: int, step: int | None = None) -> int:
        step = step or self._step
        return -(-pixels // step) * step
