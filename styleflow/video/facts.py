"""The child's word on what the header says, checked again before anything relies on it: it has touched the video.

{"container": ..., "codec": ..., "width": ..., ...}   ->   MediaFacts
"""

from __future__ import annotations

import math

from styleflow.errors import DecoderCrash, ResolutionLimit
from styleflow.report import MediaFacts
from styleflow.video.probe import RATE_SLACK, MediaLimits, check_picture
from styleflow.video.wire import read_json

WIDEST_PIXEL = 1e4
"""Width of a pixel by its height, or the other way round; wider ones make no picture within the limits."""


def media_facts(payload: bytes | bytearray, size_bytes: int, limits: MediaLimits) -> MediaFacts:
    """Read a VideoHeader with rotation and displayed size, as JSON; `size_bytes` is the file's, as we know it.

    Every value has its type, is finite, and keeps the limits that the child had to keep. Raises DecoderCrash.
    """
    try:
        value = read_json(payload)
        if not isinstance(value, dict):
            raise TypeError("no object")
        return _facts(value, size_bytes, limits)
    except (KeyError, TypeError, ValueError, OverflowError, ResolutionLimit) as error:
        raise DecoderCrash("The decoder sent something that is no header.") from error


def _facts(value: dict[str, object], size_bytes: int, limits: MediaLimits) -> MediaFacts:
    has_video = value["codec"] is not None
    width, height = (whole(value[side], 1 if has_video else 0, limits.max_side) for side in ("width", "height"))
    check_picture(width, height, limits)
    return MediaFacts(
        container=one_of(value["container"], limits.containers),
        codec=one_of(value["codec"], limits.codecs) if has_video else None,
        width=width if has_video else None,
        height=height if has_video else None,
        rotation_degrees=whole(value["rotation_degrees"], 0, 270, step=90),
        pixel_aspect=real(value["pixel_aspect"], 1 / WIDEST_PIXEL, WIDEST_PIXEL),
        frame_rate=_or_none(value["frame_rate"], limits.max_frame_rate * RATE_SLACK),
        # The limit on length is kept for videos only; a sound may last longer than we would look at.
        duration_seconds_from_header=_or_none(value["duration_seconds"], limits.max_seconds if has_video else math.inf),
        frame_count_from_header=None if value["frame_count"] is None else whole(value["frame_count"], 1, size_bytes),
        has_audio=truth(value["has_audio"]),
        size_bytes=size_bytes,
    )


def whole(value: object, least: int, most: int, *, step: int = 1) -> int:
    """An integer within bounds, both included. Raises ValueError."""
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most or value % step:
        raise ValueError("not such an integer")
    return value


def real(value: object, least: float, most: float) -> float:
    """A finite number within bounds, both included. Raises ValueError, or OverflowError."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("not a number")
    number = float(value)
    if not (math.isfinite(number) and least <= number <= most):
        raise ValueError("not such a number")
    return number


def one_of(value: object, names: frozenset[str]) -> str:
    if not isinstance(value, str) or value not in names:
        raise ValueError("not one of these names")
    return value


def truth(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError("neither true nor false")
    return value


def _or_none(value: object, most: float) -> float | None:
    """Positive, or not told."""
    return None if value is None else real(value, math.ulp(0.0), most)
