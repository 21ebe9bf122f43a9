"""What one training step sees: clips in pairs, drawn fresh, every clip through some re-encoding.

Of a pair, the original and what was made of it (a pseudo-fake, or the swap that the data pairs with its original) go
through the same re-encoding and the same framing. A generated clip without an original goes beside an unrelated real
one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional

from styleflow.training.bank import Bank, BankedVideo
from styleflow.training.chance import Chance
from styleflow.training.geometry import Geometry
from styleflow.training.masks import MaskChoice, soft_masks
from styleflow.training.pseudo_fakes import MAKERS, Material, Reconstruct, pseudo_fake
from styleflow.training.reencoding import Reencoding, reencoded
from styleflow.training.resampling import resized, style_part

PSEUDO_MIX: Mapping[str, float] = {
    "self_blend": 0.3,
    "reconstruction": 0.2,
    "smoothed_flow": 0.15,
    "swap": 0.2,
    "animation": 0.15,
}

SWAPPED = MaskChoice(hull="face", grow=0.0, feather=0.02, lift=0.0, bend_across=(), bend_down=())
"""Which part of a swap of the data is taken to be not the original's."""


@dataclass(frozen=True, kw_only=True)
class BatchMix:
    """What a batch is made of."""

    pairs: int = 8
    """A batch has twice as many clips."""
    frames: int = 16
    """Frames per clip that the content branch sees."""
    frame_step: int = 2
    """From one of them to the next, in frames of the stored clip."""
    generated: float = 0.25
    """Share of pairs whose fake is a generated video of the data."""
    generated_whole: bool = True
    """Whether a generated clip without an original is generated in every patch, as talking heads are; else nothing is
    said of its patches."""
    swaps: float = 0.25
    """Share of pairs that are a swap of the data beside its own original."""
    pseudo: Mapping[str, float] = field(default_factory=lambda: dict(PSEUDO_MIX))
    reencoding: float = 1.0
    """Strength, 0..1."""
    style: bool = False
    """Whether the style branch's pictures are made too; needs frame_step 1."""

    def __post_init__(self) -> None:
        unknown = sorted(set(self.pseudo) - set(MAKERS))
        if unknown:
            raise ValueError(f"there is no pseudo-fake {', '.join(unknown)}; known are {', '.join(MAKERS)}")
        if min(self.pairs, self.frames, self.frame_step) < 1:
            raise ValueError("pairs, frames and frame_step must be 1 or more")
        if min(self.generated, self.swaps) < 0 or self.generated + self.swaps > 1:
            raise ValueError("generated and swaps must be shares, of 1 together at most")
        if min(self.pseudo.values(), default=0.0) < 0 or not sum(self.pseudo.values()):
            raise ValueError("the weights of pseudo-fakes must not be negative, and one must be above 0")
        if self.style and self.frame_step != 1:
            raise ValueError("style needs a frame_step of 1: a flow is that between neighbours")


@dataclass(frozen=True, eq=False)
class Batch:
    """Clips [original, fake, original, fake, ...] on the training device."""

    content: Tensor
    """[B,T,3,S,S] in 0..1."""
    labels: Tensor
    """[B] float32: 1 is fake."""
    masks: Tensor
    """[B,T,1,S,S] in 0..1: which part is not the original's."""
    mask_known: Tensor
    """[B] bool."""
    kinds: tuple[str, ...]
    style: Tensor | None = None
    """[B,T,3,R,R] in 0..1."""


_Row = tuple[Tensor, Tensor, Tensor, bool, str]
"""Content, mask, style, whether the mask is known, kind."""


@dataclass(frozen=True, eq=False)
class _Pair:
    """Two clips in the wide framing, before re-encoding: [T,3,W,W] in 0..1."""

    original: Tensor
    fake: Tensor
    mask: Tensor
    mask_known: bool
    same_source: bool
    kind: str


def batches(
    bank: Bank,
    mix: BatchMix,
    geometry: Geometry,
    chance: Chance,
    *,
    device: torch.device | str = "cpu",
    style_size: int = 64,
    reconstruct: Reconstruct | None = None,
) -> Iterator[Batch]:
    """Batches without end."""
    framing = Framing(geometry, style_size)
    while True:
        yield drawn_batch(bank, mix, framing, chance, torch.device(device), reconstruct)


def drawn_batch(
    bank: Bank,
    mix: BatchMix,
    framing: Framing,
    chance: Chance,
    device: torch.device,
    reconstruct: Reconstruct | None = None,
) -> Batch:
    """One batch."""
    rows: list[_Row] = []
    for _ in range(mix.pairs):
        pair = _drawn_pair(bank, mix, chance, device, reconstruct)
        rows.extend(_framed(pair, mix, framing, chance))
    content, masks, styles = zip(*(row[:3] for row in rows), strict=True)
    return Batch(
        content=torch.stack(content),
        labels=torch.tensor([0.0, 1.0] * mix.pairs, device=device),
        masks=torch.stack(masks),
        mask_known=torch.tensor([row[3] for row in rows], device=device),
        kinds=tuple(row[4] for row in rows),
        style=torch.stack(styles) if mix.style else None,
    )


def _drawn_pair(
    bank: Bank, mix: BatchMix, chance: Chance, device: torch.device, reconstruct: Reconstruct | None
) -> _Pair:
    kind = chance.uniform()
    if kind < mix.generated and bank.fakes:
        fake = bank.fake(chance)
        return _beside_original(bank, fake, mix, chance, device)
    if kind < mix.generated + mix.swaps and bank.swaps:
        return _beside_original(bank, chance.one_of(bank.swaps), mix, chance, device)
    video = bank.real(chance)
    number = chance.whole(0, video.clips)
    frames = _some_frames(video.frames_per_clip, mix, chance)
    clip, marks = (part.to(device) for part in video.clip(number, frames))
    stranger, at = bank.other_face(chance, video.identity)
    other, other_marks = (
        part.to(device) for part in stranger.clip(at, frames if stranger.frames_per_clip > 1 else slice(None))
    )
    made = pseudo_fake(Material(clip, marks, other, other_marks, reconstruct), chance, dict(mix.pseudo))
    return _Pair(clip, made.clip, made.mask, True, True, made.kind)


def _beside_original(bank: Bank, fake: BankedVideo, mix: BatchMix, chance: Chance, device: torch.device) -> _Pair:
    """A fake of the data beside its own original at the same moment, or beside any real clip where it has none."""
    number = chance.whole(0, fake.clips)
    partner = bank.moment_in_original(fake, number)
    frames = _some_frames(fake.frames_per_clip, mix, chance)
    clip, marks = (part.to(device) for part in fake.clip(number, frames))
    if partner is not None:
        video, at = partner
        original = video.clip(at, frames)[0].to(device)
        return _Pair(original, clip, soft_masks(marks, clip.shape[-1], SWAPPED), True, True, fake.generator)
    stranger = bank.real(chance)
    original = stranger.clip(chance.whole(0, stranger.clips), frames)[0].to(device)
    whole = mix.generated_whole and not fake.pair
    return _Pair(original, clip, torch.ones_like(clip[:, :1]), whole, False, fake.generator)


def _some_frames(stored: int, mix: BatchMix, chance: Chance) -> slice:
    """Consecutive frames, `frame_step` apart, from anywhere in the stored clip."""
    span = (mix.frames - 1) * mix.frame_step + 1
    start = chance.whole(0, max(1, stored - span + 1))
    return slice(start, start + span, mix.frame_step)


@dataclass(frozen=True)
class Framing:
    """Cuts the network's two pictures out of the wide one."""

    geometry: Geometry
    style_size: int = 64
    jitter_px: int = 5
    """How far training moves the content's window, in pixels of the content; landmarks of other detectors differ."""

    def content(self, wide: Tensor, shift: tuple[int, int] = (0, 0), *, flipped: bool = False) -> Tensor:
        """[T,C,W,W] -> [T,C,S,S]. `flipped` says that the wide picture is mirrored: its margins are unequal."""
        size, limit = self.geometry.content_size, self.geometry.wide_size - self.geometry.content_size
        start = limit - self.geometry.content_left if flipped else self.geometry.content_left
        left = min(max(start + shift[0], 0), limit)
        top = min(max(self.geometry.content_top + shift[1], 0), limit)
        return wide[:, :, top : top + size, left : left + size]

    def style(self, wide: Tensor, *, flipped: bool = False) -> Tensor:
        """[T,3,W,W] -> [T,3,R,R]: FFHQ's square, to half a pixel."""
        return resized(style_part(wide, self.geometry, flipped=flipped), self.style_size)


def _framed(
    pair: _Pair, mix: BatchMix, framing: Framing, chance: Chance
) -> Iterator[tuple[Tensor, Tensor, Tensor, bool, str]]:
    jitter = framing.jitter_px
    shift = (chance.whole(-jitter, jitter + 1), chance.whole(-jitter, jitter + 1))
    choice = Reencoding.draw(chance, mix.reencoding)
    for member, (clip, mask) in enumerate(((pair.original, torch.zeros_like(pair.mask)), (pair.fake, pair.mask))):
        if member and not pair.same_source:
            choice = Reencoding.draw(chance, mix.reencoding)
        through = reencoded(clip, choice)
        covered = mask.flip(3) if choice.flip else mask
        style = framing.style(through, flipped=choice.flip) if mix.style else through.new_empty(0)
        kind = pair.kind if member else "real"
        yield (
            framing.content(through, shift, flipped=choice.flip),
            framing.content(covered, shift, flipped=choice.flip),
            style,
            pair.mask_known or not member,
            kind,
        )


def patch_targets(masks: Tensor, side: int) -> Tensor:
    """[...,1,S,S] in 0..1 -> [...,side,side]: the share of each patch that is not the original's."""
    flat = masks.flatten(0, -4)
    pooled = functional.adaptive_avg_pool2d(flat, side)
    return pooled.view(*masks.shape[:-3], side, side)
