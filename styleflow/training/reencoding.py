"""What happens to a video between camera and moderator, drawn once per clip: scale, blur, light, blocks, noise.

Both members of a pair, and every clip without a partner, go through the same choice, so that what compression leaves
never tells them apart (docs/decisions/0009-training.md). Pictures are float32 [T,3,H,W] RGB in 0..1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor
from torch.nn import functional

from styleflow.training.chance import Chance
from styleflow.training.resampling import blurred, resized

BLOCK = 8
_LUMA_TABLE = torch.tensor(
    [
        [16, 11, 10, 16, 24, 40, 51, 61],
        [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77],
        [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101],
        [72, 92, 95, 98, 112, 100, 103, 99],
    ],
    dtype=torch.float32,
)
"""ITU-T T.81, table K.1. Chroma: K.2, whose upper left is below and whose rest is 99."""
_CHROMA_CORNER = torch.tensor(
    [[17, 18, 24, 47], [18, 21, 26, 66], [24, 26, 56, 99], [47, 66, 99, 99]], dtype=torch.float32
)
_TO_YCC = torch.tensor([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]])


@dataclass(frozen=True, kw_only=True)
class Reencoding:
    """One clip's way through the world. The neutral value of every field leaves the clip as it is."""

    flip: bool = False
    scale: float = 1.0
    """The clip is shrunk to this part of its size, encoded there, and enlarged again."""
    blur: float = 0.0
    """Sigma in pixels."""
    contrast: float = 1.0
    brightness: float = 0.0
    saturation: float = 1.0
    gamma: float = 1.0
    quality: float = 100.0
    """JPEG quality, 1..100; at 100 nothing is quantised."""
    predicted: bool = False
    """Whether frames after the first are coded as differences from the frame before, as video is."""
    offset: tuple[int, int] = (0, 0)
    """Where the block grid begins, 0..7."""
    noise: float = 0.0
    """Standard deviation, in 0..1 units."""
    noise_seed: int = 0

    @classmethod
    def draw(cls, chance: Chance, strength: float = 1.0) -> Self:
        """`strength` 0 changes little, 1 is what the network is trained with."""
        coded = chance.happens(0.85)
        return cls(
            flip=chance.happens(0.5),
            scale=chance.uniform(1 - 0.55 * strength, 1.0) if chance.happens(0.5) else 1.0,
            blur=chance.uniform(0.0, 1.2 * strength) if chance.happens(0.3) else 0.0,
            contrast=1 + chance.uniform(-0.2, 0.2) * strength,
            brightness=chance.uniform(-0.1, 0.1) * strength,
            saturation=1 + chance.uniform(-0.3, 0.3) * strength,
            gamma=1 + chance.uniform(-0.2, 0.2) * strength,
            quality=chance.uniform(100 - 65 * strength, 97.0) if coded else 100.0,
            predicted=chance.happens(0.5),
            offset=(chance.whole(0, BLOCK), chance.whole(0, BLOCK)),
            noise=chance.uniform(0.0, 0.03 * strength) if chance.happens(0.3) else 0.0,
            noise_seed=chance.whole(0, 2**31),
        )


def reencoded(clip: Tensor, choice: Reencoding) -> Tensor:
    """The clip [T,3,H,W] in 0..1 after its way through the world, same shape, 0..1."""
    size = (clip.shape[2], clip.shape[3])
    clip = _lit(clip.flip(3) if choice.flip else clip, choice)
    if choice.scale < 1:
        clip = resized(clip, (max(16, round(size[0] * choice.scale)), max(16, round(size[1] * choice.scale))))
    clip = blurred(clip, choice.blur)
    if choice.noise > 0:
        generator = torch.Generator().manual_seed(choice.noise_seed)
        grain = torch.randn(clip.shape, generator=generator).to(clip.device)
        clip = (clip + choice.noise * grain).clamp(0, 1)
    if choice.quality < 100:
        clip = _coded(clip, choice)
    return resized(clip, size).clamp(0, 1) if choice.scale < 1 else clip.clamp(0, 1)


def _lit(clip: Tensor, choice: Reencoding) -> Tensor:
    grey = (clip * _TO_YCC[0].to(clip.device).view(1, 3, 1, 1)).sum(dim=1, keepdim=True)
    clip = grey + choice.saturation * (clip - grey)
    clip = (clip - 0.5) * choice.contrast + 0.5 + choice.brightness
    clip = clip.clamp(0, 1)
    return clip if choice.gamma == 1 else clip.pow(choice.gamma)


def _coded(clip: Tensor, choice: Reencoding) -> Tensor:
    """Through blocks of 8 x 8 cosines, chroma at half the resolution; [T,3,H,W] in 0..1."""
    height, width = clip.shape[2:]
    top, left = choice.offset
    down, right = -(height + top) % (2 * BLOCK), -(width + left) % (2 * BLOCK)
    padded = functional.pad(clip, (left, right, top, down), mode="replicate")
    ycc = torch.einsum("kc,tchw->tkhw", _TO_YCC.to(clip.device), padded * 255)
    luma = ycc[:, :1] - 128
    chroma = functional.avg_pool2d(ycc[:, 1:], 2)
    through = _predicted if choice.predicted else _quantised
    luma = through(luma, _LUMA_TABLE.to(clip.device) * _table_scale(choice.quality)) + 128
    chroma = through(chroma, _chroma_table().to(clip.device) * _table_scale(choice.quality))
    whole = torch.cat([luma, functional.interpolate(chroma, scale_factor=2, mode="bilinear")], dim=1)
    rgb = torch.einsum("kc,tchw->tkhw", torch.linalg.inv(_TO_YCC).to(clip.device), whole) / 255
    return rgb[:, :, top : top + height, left : left + width].clamp(0, 1)


def _predicted(planes: Tensor, table: Tensor) -> Tensor:
    """Frame by frame, each as its quantised difference from the frame before as decoded."""
    decoded = [_quantised(planes[:1], table)]
    for index in range(1, len(planes)):
        before = decoded[-1]
        decoded.append(before + _quantised(planes[index : index + 1] - before, table, dead_zone=0.3))
    return torch.cat(decoded)


def _quantised(planes: Tensor, table: Tensor, dead_zone: float = 0.5) -> Tensor:
    """[T,C,H,W], sides multiples of 8: every block's cosines rounded to multiples of the table."""
    count, channels, height, width = planes.shape
    cosines = _cosines(planes.device)
    blocks = planes.view(count, channels, height // BLOCK, BLOCK, width // BLOCK, BLOCK).transpose(3, 4)
    levels = cosines @ blocks @ cosines.T / table
    rounded = torch.sign(levels) * torch.floor(levels.abs() + dead_zone)
    return (cosines.T @ (rounded * table) @ cosines).transpose(3, 4).reshape(planes.shape)


def _cosines(device: torch.device) -> Tensor:
    """The orthonormal DCT-II of eight samples."""
    k = torch.arange(BLOCK, dtype=torch.float32, device=device).view(-1, 1)
    n = torch.arange(BLOCK, dtype=torch.float32, device=device).view(1, -1)
    matrix = torch.cos((2 * n + 1) * k * torch.pi / (2 * BLOCK)) * math.sqrt(2 / BLOCK)
    matrix[0] /= math.sqrt(2)
    return matrix


def _table_scale(quality: float) -> float:
    """As the Independent JPEG Group's library scales the tables for a quality of 1..100."""
    return (50 / quality) if quality < 50 else 2 - quality / 50


def _chroma_table() -> Tensor:
    table = torch.full((BLOCK, BLOCK), 99.0)
    table[:4, :4] = _CHROMA_CORNER
    return table
