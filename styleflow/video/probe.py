"""What a container says about its video, and the limits that are kept before any pixel is decoded.

Runs inside the decoder's child process (see `sandbox.py`), on a container that `decode.py` opened; the limits
themselves are plain values and travel from the parent. A stream of attached pictures (cover art) is no video.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

from av.stream import Disposition

from styleflow.errors import (
    CodecUnsupported,
    ContainerUnsupported,
    CorruptMedia,
    ResolutionLimit,
    TooLarge,
    TooLong,
)

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.stream import VideoStream

CONTAINERS = frozenset({"mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "avi", "mpegts", "mpeg"})
"""FFmpeg's demuxer names. Playlists (hls, dash, concat) and network inputs must never be among them: they open
other addresses."""
CODECS = frozenset({"h264", "hevc", "vp8", "vp9", "av1", "mpeg4", "mpeg1video", "mpeg2video", "mjpeg", "prores"})
MICROSECOND = 1_000_000
RATE_SLACK = 1.01
"""A stated rate is a rounded quotient of time stamps; one per cent is not worth a refusal."""


@dataclass(frozen=True, kw_only=True)
class MediaLimits:
    """What a video may ask of us. A value exactly at its limit is allowed."""

    max_bytes: int = 5 * 2**30
    max_seconds: float = 4 * 3600
    max_side: int = 8192
    """Pixels, of the stored and of the displayed picture alike."""
    max_pixels: int = 40_000_000
    max_frame_rate: float = 120.0
    max_streams: int = 16
    """All kinds together; phones write up to ten (sound, subtitles and several of sensor data)."""
    containers: frozenset[str] = CONTAINERS
    codecs: frozenset[str] = CODECS


@dataclass(frozen=True, kw_only=True)
class VideoHeader:
    """What the header says. Everything that belongs to a video stream is None where there is none."""

    container: str
    codec: str | None = None
    stream_index: int | None = None
    coded_width: int | None = None
    """Stored pixels, before rotation and pixel aspect."""
    coded_height: int | None = None
    pixel_aspect: float = 1.0
    """Width of a pixel divided by its height."""
    frame_rate: float | None = None
    duration_seconds: float | None = None
    frame_count: int | None = None
    has_audio: bool = False
    size_bytes: int = 0


def probe(container: InputContainer, size_bytes: int, limits: MediaLimits) -> VideoHeader:
    """Read the header of an opened container and hold it against the limits; decodes nothing.

    `size_bytes` is the size of the file. Raises the MediaError whose limit is passed.
    """
    check_size(size_bytes, limits)
    if container.format.name not in limits.containers:
        raise ContainerUnsupported
    if len(container.streams) > limits.max_streams:
        raise ResolutionLimit(f"The file has more than {limits.max_streams} streams.")
    header = read_header(container, size_bytes)
    if header.codec is not None:
        check_header(header, limits)
    return header


def read_header(container: InputContainer, size_bytes: int) -> VideoHeader:
    """The facts of the first real video stream, unchecked."""
    stream = video_stream(container)
    has_audio = bool(container.streams.audio)
    duration = _seconds(container, stream)
    if stream is None:
        return VideoHeader(
            container=container.format.name,
            duration_seconds=duration,
            has_audio=has_audio,
            size_bytes=size_bytes,
        )
    # A stream whose codec this build cannot decode has no context, whatever the annotations say.
    known = stream.codec_context is not None
    return VideoHeader(
        container=container.format.name,
        codec=stream.codec_context.codec.canonical_name if known else "unknown",
        stream_index=stream.index,
        coded_width=stream.codec_context.width if known else 0,
        coded_height=stream.codec_context.height if known else 0,
        pixel_aspect=_pixel_aspect(stream.sample_aspect_ratio if known else None),
        frame_rate=_rate(stream.average_rate) or _rate(stream.guessed_rate),
        duration_seconds=duration,
        frame_count=stream.frames if stream.frames > 0 else None,
        has_audio=has_audio,
        size_bytes=size_bytes,
    )


def video_stream(container: InputContainer) -> VideoStream | None:
    """The first video stream that is not an attached picture."""
    for stream in container.streams.video:
        if not stream.disposition & (Disposition.attached_pic | Disposition.timed_thumbnails):
            return stream
    return None


def check_size(size_bytes: int, limits: MediaLimits) -> None:
    """Raises TooLarge."""
    if size_bytes > limits.max_bytes:
        raise TooLarge(f"The file has {size_bytes} bytes; {limits.max_bytes} are allowed.")


def check_header(header: VideoHeader, limits: MediaLimits) -> None:
    """Hold a header with a video stream against the limits.

    Raises CodecUnsupported, ResolutionLimit, TooLong or, for a header that cannot be true, CorruptMedia.
    """
    if header.codec not in limits.codecs:
        raise CodecUnsupported(f"Video of the codec {header.codec!r} is not accepted.")
    width, height = header.coded_width or 0, header.coded_height or 0
    if width <= 0 or height <= 0:
        raise CorruptMedia("The video stream does not say how large its pictures are.")
    check_picture(width, height, limits)
    check_picture(*displayed_size(width, height, header.pixel_aspect, 0), limits)
    check_rate(header, limits)
    if header.duration_seconds is not None and header.duration_seconds > limits.max_seconds:
        raise TooLong(f"The video lasts {header.duration_seconds:.0f} s; {limits.max_seconds:.0f} s are allowed.")
    if header.frame_count is not None and header.frame_count > header.size_bytes:
        # Every coded picture takes at least a byte: such a count is there to make a reader allocate.
        raise CorruptMedia("The header names more frames than the file has bytes.")


def check_picture(width: int, height: int, limits: MediaLimits) -> None:
    """Raises ResolutionLimit when a picture of that size, in pixels, is not allowed."""
    if max(width, height) > limits.max_side or width * height > limits.max_pixels:
        raise ResolutionLimit(
            f"Pictures of {width}x{height} are larger than the {limits.max_pixels} pixels, or the"
            f" {limits.max_side} pixels a side, that are allowed."
        )


def check_rate(header: VideoHeader, limits: MediaLimits) -> None:
    """Raises ResolutionLimit when the stated rate, or the number of frames over the time, is too high."""
    rates = [header.frame_rate or 0.0]
    if header.frame_count and header.duration_seconds:
        # Over a very short time the average says little, so at least a second is assumed.
        rates.append(header.frame_count / max(header.duration_seconds, 1.0))
    if max(rates) > limits.max_frame_rate * RATE_SLACK:
        raise ResolutionLimit(f"The video has {max(rates):.0f} frames a second; {limits.max_frame_rate:g} are allowed.")


def displayed_size(width: int, height: int, pixel_aspect: float, rotation_degrees: int) -> tuple[int, int]:
    """Width and height in square pixels, after a turn by a multiple of 90 degrees.

    Non-square pixels stretch the side that grows, so that no detail is lost.
    """
    if pixel_aspect > 1.0:
        width = max(1, round(width * pixel_aspect))
    else:
        height = max(1, round(height / pixel_aspect))
    return (height, width) if rotation_degrees % 180 else (width, height)


def _pixel_aspect(ratio: Fraction | None) -> float:
    return float(ratio) if ratio and ratio > 0 else 1.0


def _rate(rate: Fraction | None) -> float | None:
    return float(rate) if rate and rate > 0 else None


def _seconds(container: InputContainer, stream: VideoStream | None) -> float | None:
    """Duration by the stream's own header, else by the container's."""
    seconds: float | None = None
    if stream is not None and stream.duration and stream.time_base:
        seconds = float(stream.duration * stream.time_base)
    elif container.duration:
        seconds = container.duration / MICROSECOND
    return seconds if seconds is not None and seconds > 0 and math.isfinite(seconds) else None
