"""Test media drawn in code: each function writes one file and returns its path. The same call writes the same video.

Faces are cut from the sample videos at run time, so that a real face detector finds them.
"""

from __future__ import annotations

import io
import os
import random
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from fractions import Fraction
from functools import cache, wraps
from itertools import islice
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, cast

import av
import cv2
import numpy as np
from av.stream import Disposition
from av.video.stream import VideoStream
from numpy.typing import NDArray

Picture = NDArray[np.uint8]
Asked = ParamSpec("Asked")
Made = TypeVar("Made")

SAMPLES = Path(__file__).resolve().parents[1] / "samples"
RED, GREEN, BLUE, GREY = (220, 30, 30), (30, 200, 30), (30, 30, 220), (128, 128, 128)
NUMBER_BITS = 12
ENCODER_OPTIONS = {
    "libx264": {"preset": "ultrafast", "crf": "20", "threads": "1"},
    "libx265": {"preset": "ultrafast", "x265-params": "log-level=none:pools=none"},
    "libsvtav1": {"preset": "12", "svtav1-params": "lp=1"},
    "libvpx": {"deadline": "realtime", "cpu-used": "8"},
    "libvpx-vp9": {"deadline": "realtime", "cpu-used": "8"},
}
PIXEL_FORMATS = {"mjpeg": "yuvj420p", "prores_ks": "yuv422p10le"}


# --- pictures -------------------------------------------------------------------------------------


def canvas(width: int, height: int, colour: tuple[int, int, int] = GREY) -> Picture:
    """HWC RGB of one colour."""
    return np.full((height, width, 3), colour, np.uint8)


def numbered_picture(number: int, width: int, height: int) -> Picture:
    """A picture that `read_number` reads its number from, after any codec: a row of black and white blocks."""
    picture = canvas(width, height)
    block = width // NUMBER_BITS
    for bit in range(NUMBER_BITS):
        picture[: height // 2, bit * block : (bit + 1) * block] = 255 if number >> bit & 1 else 0
    # Something that moves, so that frames differ by more than the blocks.
    column = number * 3 % max(1, width - 8)
    picture[height // 2 :, column : column + 8] = GREEN
    return picture


def read_number(picture: Picture) -> int:
    """The number of a `numbered_picture`, as decoded."""
    height, width, _ = picture.shape
    block = width // NUMBER_BITS
    centres = picture[height // 4, block // 2 : block * NUMBER_BITS : block].mean(axis=1)
    return sum(1 << bit for bit, level in enumerate(centres) if level > 127)


def corner_picture(width: int, height: int) -> Picture:
    """Red top left, green top right, blue bottom left, grey elsewhere."""
    picture = canvas(width, height)
    high, wide = height // 3, width // 3
    picture[:high, :wide] = RED
    picture[:high, -wide:] = GREEN
    picture[-high:, :wide] = BLUE
    return picture


@cache
def face_picture(sample: str = "anitalker-aiface3.mp4") -> Picture:
    """A frame of a sample video with open eyes: head and shoulders, HWC RGB. Do not write to it."""
    with av.open(str(SAMPLES / sample)) as container:
        frame = next(islice(container.decode(video=0), 40, None))
        return np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)


def paste(picture: Picture, part: Picture, left: int, top: int, side: int) -> Picture:
    """Draw a square part, resized, into a picture; changes and returns the picture."""
    rows, columns, _ = part.shape
    square = min(rows, columns)
    first_row, first_column = (rows - square) // 2, (columns - square) // 2
    cut = part[first_row : first_row + square, first_column : first_column + square]
    picture[top : top + side, left : left + side] = cv2.resize(cut, (side, side), interpolation=cv2.INTER_AREA)
    return picture


# --- videos ---------------------------------------------------------------------------------------


def _scheduled_as_before(write: Callable[Asked, Made]) -> Callable[Asked, Made]:
    """SVT-AV1 makes the thread that opens it a real-time one where it may, and leaves it so: whatever the thread starts
    afterwards, servers too, would keep others from the processor."""

    @wraps(write)
    def written(*args: Asked.args, **kwargs: Asked.kwargs) -> Made:
        policy, parameter = os.sched_getscheduler(0), os.sched_getparam(0)
        try:
            return write(*args, **kwargs)
        finally:
            if os.sched_getscheduler(0) != policy:
                os.sched_setscheduler(0, policy, parameter)

    return written


@_scheduled_as_before
def write_video(
    path: Path,
    pictures: Iterable[Picture],
    *,
    codec: str = "libx264",
    rate: int = 25,
    pixel_format: str | None = None,
    options: dict[str, str] | None = None,
    movflags: str | None = None,
    rotation: int = 0,
    pixel_aspect: Fraction | None = None,
    times: Sequence[Fraction] | None = None,
    keyframe_every: int = 12,
    b_frames: int = 0,
    sound: bool = False,
) -> Path:
    """Encode HWC RGB pictures of one size. `rotation` is clockwise; `times` in seconds replace an even rate."""
    frames = iter(pictures)
    first = next(frames)
    container = av.open(str(path), "w", options={"movflags": movflags} if movflags else {})
    with container as output:
        settings = {**ENCODER_OPTIONS.get(codec, {}), **(options or {})}
        stream = cast("VideoStream", output.add_stream(codec, rate=rate, options=settings))
        stream.height, stream.width = first.shape[:2]
        stream.pix_fmt = pixel_format or PIXEL_FORMATS.get(codec, "yuv420p")
        stream.codec_context.gop_size = keyframe_every
        stream.codec_context.max_b_frames = b_frames
        if times is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        if pixel_aspect is not None:
            stream.codec_context.sample_aspect_ratio = pixel_aspect
        if rotation:
            stream.set_display_rotation(-rotation)
        audio = output.add_stream("aac", rate=16000, layout="mono") if sound else None
        number = -1
        for number, picture in enumerate(_chain(first, frames)):
            frame = av.VideoFrame.from_ndarray(picture, "rgb24")
            frame.pts = number if times is None else round(times[number] * 1000)
            frame.time_base = Fraction(1, rate) if times is None else Fraction(1, 1000)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
        if audio is not None:
            _write_tone(output, audio, (number + 1) / rate)
    return path


def _chain(first: Picture, rest: Iterator[Picture]) -> Iterator[Picture]:
    yield first
    yield from rest


def _write_tone(output: av.container.OutputContainer, stream: av.AudioStream, seconds: float) -> None:
    samples = np.sin(np.arange(round(16000 * seconds)) * 0.1).astype(np.float32)[None] * 0.1
    for start in range(0, samples.shape[1], 1024):
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples[:, start : start + 1024]), "fltp", "mono")
        frame.sample_rate, frame.pts = 16000, start
        output.mux(stream.encode(frame))
    output.mux(stream.encode(None))


def plain_clip(
    path: Path, *, width: int = 192, height: int = 128, rate: int = 25, seconds: float = 2.0, **how: Any
) -> Path:
    """Numbered pictures without a face. `how` as in `write_video`."""
    pictures = (numbered_picture(number, width, height) for number in range(max(1, round(rate * seconds))))
    return write_video(path, pictures, rate=rate, **how)


def one_frame_clip(path: Path) -> Path:
    return plain_clip(path, seconds=0.01)


def rotated_clip(path: Path, rotation: int, *, width: int = 96, height: int = 64) -> Path:
    """Coloured corners, stored upright, to be shown turned clockwise by 0, 90, 180 or 270 degrees."""
    return write_video(path, [corner_picture(width, height)] * 5, rotation=rotation)


def stretched_clip(path: Path, pixel_aspect: Fraction, *, width: int = 96, height: int = 64) -> Path:
    """Coloured corners in pixels that are not square."""
    return write_video(path, [corner_picture(width, height)] * 5, pixel_aspect=pixel_aspect)


def variable_rate_clip(path: Path, times: Sequence[Fraction]) -> Path:
    """Numbered pictures shown from the given seconds on (multiples of a millisecond)."""
    return write_video(path, (numbered_picture(n, 192, 128) for n in range(len(times))), times=times)


def eight_k_clip(path: Path, *, width: int = 8192, height: int = 4320, frames: int = 2) -> Path:
    """A tiny file that is huge when decoded."""
    return write_video(path, [canvas(width, height)] * frames)


def audio_only(path: Path, *, cover: bool = False) -> Path:
    """One second of sound; with `cover`, an attached picture beside it (which needs a name ending in .mp4)."""
    with av.open(str(path), "w") as output:
        audio = output.add_stream("aac", rate=16000, layout="mono")
        picture = None
        if cover:
            picture = output.add_stream("mjpeg", rate=25)
            picture.width, picture.height, picture.pix_fmt = 64, 64, "yuvj420p"
            picture.disposition = Disposition.attached_pic
            output.mux(picture.encode(av.VideoFrame.from_ndarray(corner_picture(64, 64), "rgb24")))
            output.mux(picture.encode(None))
        _write_tone(output, audio, 1.0)
    return path


# --- faces ----------------------------------------------------------------------------------------


def moving_face(number: int, width: int, height: int, side: int, sample: str = "anitalker-aiface3.mp4") -> Picture:
    """A face that goes back and forth sideways, a pixel or two a frame, in the middle of the height."""
    room = width - side
    step = number * 2 % (2 * room) if room else 0
    left = step if step <= room else 2 * room - step
    return paste(canvas(width, height), face_picture(sample), left, (height - side) // 2, side)


def face_clip(
    path: Path, *, width: int = 320, height: int = 240, side: int = 200, rate: int = 25, seconds: float = 2.0
) -> Path:
    """One moving face in every frame."""
    return write_video(
        path, (moving_face(n, width, height, side) for n in range(round(rate * seconds))), rate=rate, b_frames=2
    )


def two_face_clip(path: Path, *, seconds: float = 2.0, rate: int = 25) -> Path:
    """Two different faces beside each other in every frame, each moving a little."""

    def picture(number: int) -> Picture:
        sway = number % 20 if number % 40 < 20 else 20 - number % 20
        both = paste(canvas(480, 240), face_picture("anitalker-aiface3.mp4"), 10 + sway, 20, 200)
        return paste(both, face_picture("anitalker-aiface4.mp4"), 250 + sway, 20, 200)

    return write_video(path, (picture(n) for n in range(round(rate * seconds))), rate=rate)


def long_face_clip(path: Path, *, minutes: float, width: int = 1920, height: int = 1080, rate: int = 25) -> Path:
    """A moving face in every frame of a long video: two seconds are encoded, and their packets repeated."""
    seconds = 2
    piece = io.BytesIO()
    part = path.with_name(f"{path.stem}-part.mp4")
    write_video(
        part,
        (moving_face(n, width, height, 400) for n in range(rate * seconds)),
        rate=rate,
        keyframe_every=rate * seconds,
    )
    piece.write(part.read_bytes())
    part.unlink()
    return _repeat(piece, path, round(minutes * 60 / seconds))


def _repeat(piece: io.BytesIO, path: Path, times: int) -> Path:
    piece.seek(0)
    with av.open(piece, "r") as source, av.open(str(path), "w") as output:
        stream = source.streams.video[0]
        target = output.add_stream_from_template(stream)
        packets = [(bytes(p), p.pts, p.dts, p.is_keyframe) for p in source.demux(stream) if p.dts is not None]
        length = (max(pts for _, pts, _, _ in packets if pts is not None) // (len(packets) - 1)) * len(packets)
        for turn in range(times):
            for data, pts, dts, key in packets:
                packet = av.Packet(data)
                packet.pts, packet.dts = (pts or 0) + turn * length, (dts or 0) + turn * length
                packet.stream, packet.is_keyframe = target, key
                packet.time_base = stream.time_base or Fraction(1, 1000)
                output.mux(packet)
    return path


# --- files that are no good video -----------------------------------------------------------------


def empty_file(path: Path) -> Path:
    path.write_bytes(b"")
    return path


def text_file(path: Path) -> Path:
    path.write_text("This is a letter, not a film.\n" * 200)
    return path


def zip_file(path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("film.txt", "not a film\n" * 200)
    return path


def playlist_file(path: Path, target: Path) -> Path:
    """An HLS playlist that names another file of the machine as its segment."""
    path.write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nfile://{target}\n#EXT-X-ENDLIST\n")
    return path


def truncated(source: Path, path: Path, keep: float) -> Path:
    """The first part of a file's bytes; `keep` in 0..1."""
    data = source.read_bytes()
    path.write_bytes(data[: round(len(data) * keep)])
    return path


def corrupt_middle(source: Path, path: Path, *, seed: int = 0) -> Path:
    """The fourth and fifth tenth of the bytes are noise."""
    data = bytearray(source.read_bytes())
    first, last = len(data) * 4 // 10, len(data) * 6 // 10
    data[first:last] = random.Random(seed).randbytes(last - first)
    path.write_bytes(data)
    return path


def mutated(source: Path, path: Path, seed: int) -> Path:
    """A file with seeded damage: flipped bytes, a cut, a repeated or zeroed piece."""
    rng = random.Random(seed)
    data = bytearray(source.read_bytes())
    kind = rng.randrange(4)
    start, length = rng.randrange(len(data)), rng.randrange(1, 400)
    if kind == 0:
        for position in islice(iter(lambda: rng.randrange(len(data)), None), 40):
            data[position] = rng.randrange(256)
    elif kind == 1:
        del data[start:]
    elif kind == 2:
        del data[start : start + length]
    else:
        data[start : start + length] = bytes(len(data[start : start + length]))
    path.write_bytes(data)
    return path
