"""Seven ways to spoil a video, each at five severities: the protocol of robustness.

The perturbations and the values of their severities are those of DeeperForensics-1.0 (Jiang et al., CVPR 2020; the
`perturbation` folder of its public repository), which LipForensics (Haliassos et al., CVPR 2021) and later work use.
Written here from that description, with two differences: grey blocks are counted in proportion to the frame's shorter
side (there, frames under 256 px got none), and what is not compression itself is stored at a quality that hardly adds
to it. The reference is the video through the same storing, unperturbed, never the original file.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Literal, get_args

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from styleflow.errors import CorruptMedia
from styleflow.video.clips import FALLBACK_RATE, Sampling, plan_sampling
from styleflow.video.probe import MediaLimits
from styleflow.video.sandbox import SandboxLimits, open_video

Picture = NDArray[np.uint8]
Floats = NDArray[np.float32]
PerturbationName = Literal[
    "saturation", "contrast", "blocks", "gaussian_noise", "gaussian_blur", "pixelation", "compression"
]
PERTURBATIONS: tuple[PerturbationName, ...] = get_args(PerturbationName)

SEVERITIES: Mapping[PerturbationName, tuple[float, ...]] = {
    "saturation": (0.4, 0.3, 0.2, 0.1, 0.0),
    "contrast": (0.85, 0.725, 0.6, 0.475, 0.35),
    "blocks": (16, 32, 48, 64, 80),
    "gaussian_noise": (0.001, 0.002, 0.005, 0.01, 0.05),
    "gaussian_blur": (7, 9, 13, 17, 21),
    "pixelation": (2, 3, 4, 5, 6),
    "compression": (30, 32, 35, 38, 40),
}
"""Of severity 1 to 5: factor of the colour difference; factor of all levels; 8-px grey blocks per 256 px of the shorter
side; variance of the noise, with levels of 0..1; side of the kernel in px (sigma a sixth of it); factor of shrinking;
H.264 constant rate factor."""

STORING_CRF = 10
BLOCK_PX = 8
BLOCK_GREY = 128
REFERENCE = "none"


def perturbation_name(perturbation: PerturbationName | None, severity: int) -> str:
    """As predictions carry it: `gaussian_blur:3`, or `none` for the reference."""
    return REFERENCE if perturbation is None else f"{perturbation}:{severity}"


def perturb_video(
    source: Path,
    target: Path,
    perturbation: PerturbationName | None,
    severity: int = 1,
    *,
    seed: int,
    max_clips: int = 512,
    limits: MediaLimits | None = None,
    sandbox: SandboxLimits | None = None,
) -> None:
    """Write an H.264 `target` (.mp4) of the first `max_clips` * 32 frames of `source`; None stores them as they are.

    The same seed, source name and severity give the same pictures. Raises MediaError and OSError as `open_video` does,
    CorruptMedia for a file without a frame.
    """
    crf = _parameter("compression", severity) if perturbation == "compression" else STORING_CRF
    change = picture_change(perturbation, severity)
    random = np.random.default_rng([seed, severity, zlib.crc32(source.name.encode())])
    with open_video(source, limits or MediaLimits(), sandbox or SandboxLimits()) as video:
        plan = plan_sampling(video.facts, Sampling(mode="full", max_clips=max_clips))
        pictures = (change(frame.pixels, random) for frame in video.frames(plan))
        if not write_h264(target, pictures, rate=video.facts.frame_rate or FALLBACK_RATE, crf=int(crf)):
            raise CorruptMedia("The file has no frame to perturb.")


def write_h264(target: Path, pictures: Iterable[Picture], *, rate: float, crf: int) -> int:
    """Encode RGB pictures of one size and return how many; an odd last row or column is left out. Writes nothing where
    there is none."""
    frames = iter(pictures)
    first = next(frames, None)
    if first is None:
        return 0
    count = 0
    with av.open(str(target), "w") as output:
        options = {"crf": str(crf), "preset": "veryfast", "threads": "1"}
        stream = output.add_stream("libx264", rate=Fraction(rate).limit_denominator(1001), options=options)
        stream.height, stream.width = (side - side % 2 for side in first.shape[:2])
        stream.pix_fmt = "yuv420p"
        for picture in _chain(first, frames):
            even = np.ascontiguousarray(picture[: stream.height, : stream.width])
            output.mux(stream.encode(av.VideoFrame.from_ndarray(even, "rgb24")))
            count += 1
        output.mux(stream.encode(None))
    return count


def picture_change(
    perturbation: PerturbationName | None, severity: int
) -> Callable[[Picture, np.random.Generator], Picture]:
    """What is done to each frame, HWC RGB uint8 to the same shape; compression happens when the frames are stored.
    Raises ValueError for a severity outside 1..5."""
    if perturbation is None or perturbation == "compression":
        return lambda picture, _: picture
    strength, function = _parameter(perturbation, severity), _CHANGES[perturbation]
    return lambda picture, random: function(picture, strength, random)


def _parameter(perturbation: PerturbationName, severity: int) -> float:
    values = SEVERITIES[perturbation]
    if not 1 <= severity <= len(values):
        raise ValueError(f"severity goes from 1 to {len(values)}")
    return values[severity - 1]


def _chain(first: Picture, rest: Iterator[Picture]) -> Iterator[Picture]:
    yield first
    yield from rest


# --- what happens to a frame ----------------------------------------------------------------------


def saturated(picture: Picture, factor: float, _: np.random.Generator) -> Picture:
    """Colour difference times the factor; brightness stays."""
    luma, difference = _split(picture)
    return _joined(luma, difference * np.float32(factor))


def contrasted(picture: Picture, factor: float, _: np.random.Generator) -> Picture:
    """All levels times the factor, so that the picture also darkens, as in the protocol."""
    return _levels(picture.astype(np.float32) * np.float32(factor))


def blocked(picture: Picture, per_256: float, random: np.random.Generator) -> Picture:
    """Grey squares of 8 px at random places of each frame."""
    rows, columns = picture.shape[:2]
    spoiled = picture.copy()
    for _ in range(round(per_256 * min(rows, columns) / 256)):
        top = int(random.integers(0, max(1, rows - BLOCK_PX)))
        left = int(random.integers(0, max(1, columns - BLOCK_PX)))
        spoiled[top : top + BLOCK_PX, left : left + BLOCK_PX] = BLOCK_GREY
    return spoiled


def noisy(picture: Picture, variance: float, random: np.random.Generator) -> Picture:
    """White Gaussian noise on brightness and both colour differences."""
    luma, difference = _split(picture)
    deviation = 255 * float(np.sqrt(variance))
    luma = luma + random.normal(0, deviation, luma.shape).astype(np.float32)
    return _joined(luma, difference + random.normal(0, deviation, difference.shape).astype(np.float32))


def blurred(picture: Picture, side: float, _: np.random.Generator) -> Picture:
    """Gaussian kernel of so many px."""
    return np.asarray(cv2.GaussianBlur(picture, (int(side), int(side)), side / 6), np.uint8)


def pixelated(picture: Picture, factor: float, _: np.random.Generator) -> Picture:
    """Shrunk by the factor and enlarged again, bilinear both ways."""
    rows, columns = picture.shape[:2]
    small = cv2.resize(picture, (max(1, int(columns // factor)), max(1, int(rows // factor))))
    return np.asarray(cv2.resize(small, (columns, rows)), np.uint8)


_CHANGES: Mapping[str, Callable[[Picture, float, np.random.Generator], Picture]] = {
    "saturation": saturated,
    "contrast": contrasted,
    "blocks": blocked,
    "gaussian_noise": noisy,
    "gaussian_blur": blurred,
    "pixelation": pixelated,
}


def _split(picture: Picture) -> tuple[Floats, Floats]:
    """Brightness (H, W) and the two colour differences (H, W, 2) around 0, both in grey levels (BT.601, full range)."""
    converted = cv2.cvtColor(picture, cv2.COLOR_RGB2YCrCb).astype(np.float32)
    return converted[..., 0], converted[..., 1:] - np.float32(128)


def _joined(luma: Floats, difference: Floats) -> Picture:
    whole = np.dstack([luma, difference + np.float32(128)])
    return np.asarray(cv2.cvtColor(_levels(whole), cv2.COLOR_YCrCb2RGB), np.uint8)


def _levels(values: Floats) -> Picture:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)
