"""Fakes made of real clips while training: every random choice is drawn once per clip and replayed on its frames.

Written from descriptions of self-blended images and video (Shiohara & Yamasaki, CVPR 2022; FakeSTormer, ICCV 2025),
Face X-ray (Li et al., CVPR 2020), artificial fingerprints (ECCV 2022), and from what head-animating generators do: one
picture is moved through the landmarks of another video.

Clips are float32 [T,3,W,W] RGB in 0..1, landmarks float32 [T,68,2] in their pixels. Each maker gives the fake and, in
[T,1,W,W] of 0..1, how much of each pixel is not the original's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from styleflow.training.chance import Chance
from styleflow.training.masks import draw_mask_choice, soft_masks
from styleflow.training.resampling import blurred, displaced, landmark_shift, resized, sharpened

Reconstruct = Callable[[Tensor], Tensor]
"""A learned network that paints a clip again: [T,3,W,W] in 0..1 -> the same."""


@dataclass(frozen=True, eq=False)
class Material:
    """What a fake can be made of."""

    clip: Tensor
    landmarks: Tensor
    other: Tensor
    """[T or 1,3,W,W] of another person: a clip or a photo."""
    other_landmarks: Tensor
    """[T or 1,68,2]."""
    reconstruct: Reconstruct | None = None


@dataclass(frozen=True, eq=False)
class PseudoFake:
    clip: Tensor
    """[T,3,W,W] in 0..1."""
    mask: Tensor
    """[T,1,W,W] in 0..1."""
    kind: str


def self_blend(material: Material, chance: Chance) -> PseudoFake:
    """The face, slightly recoloured, resharpened and moved, blended onto its own frame."""
    clip = material.clip
    source = moved(_recoloured(_refocused(clip, chance), chance, 1.0), _small_motion(chance), chance)
    return _blended(clip, source, material, chance, "self_blend")


def reconstruction(material: Material, chance: Chance) -> PseudoFake:
    """The face painted again through a bottleneck, as an autoencoder of low resolution would, blended back."""
    painted = _painted_again(material, chance)
    return _blended(material.clip, _recoloured(painted, chance, 0.5), material, chance, "reconstruction")


def smoothed_flow(material: Material, chance: Chance) -> PseudoFake:
    """Inside the mask the frames are mixed with their neighbours, or drift along a smooth path of their own."""
    if chance.happens(0.5):
        source = _mixed_over_time(material.clip, chance.uniform(0.7, 2.5))
    else:
        source = _drifting(material.clip, chance)
    return _blended(material.clip, _refocused(source, chance), material, chance, "smoothed_flow")


def swap(material: Material, chance: Chance) -> PseudoFake:
    """Another face, bent to this one's landmarks frame by frame, given its colours and blended in."""
    size = material.clip.shape[-1]
    other, marks = _as_long(material.other, material.other_landmarks, len(material.clip))
    bent = displaced(other, landmark_shift(marks, material.landmarks, size, stiffness=chance.uniform(0.0, 0.05)))
    if chance.happens(0.7):
        bent = _low_resolution(bent, chance)
    coloured = _with_colours_of(
        bent, material.clip, soft_masks(material.landmarks, size, draw_mask_choice(chance.generator))
    )
    return _blended(material.clip, coloured, material, chance, "swap")


def animation(material: Material, chance: Chance) -> PseudoFake:
    """One picture moved through the landmarks of a clip: what talking-head generators do. The whole frame is fake."""
    clip, marks, size = material.clip, material.landmarks, material.clip.shape[-1]
    start = chance.whole(0, len(clip))
    still = clip[start : start + 1].expand_as(clip)
    path = _smoothed_path(marks, chance.uniform(0.0, 1.5))
    stiffness, came_from = chance.uniform(0.01, 0.08), marks[start : start + 1].expand_as(marks)
    moving = displaced(still, landmark_shift(came_from, path, size, stiffness=stiffness))
    painted = _low_resolution(moving, chance) if chance.happens(0.8) else moving
    if material.reconstruct is not None and chance.happens(0.3):
        painted = _mixed(painted, material.reconstruct(painted), chance.uniform(0.3, 0.8))
    return PseudoFake(painted.clamp(0, 1), torch.ones_like(clip[:, :1]), "animation")


MAKERS: dict[str, Callable[[Material, Chance], PseudoFake]] = {
    "self_blend": self_blend,
    "reconstruction": reconstruction,
    "smoothed_flow": smoothed_flow,
    "swap": swap,
    "animation": animation,
}


def pseudo_fake(material: Material, chance: Chance, mix: dict[str, float]) -> PseudoFake:
    """A fake of a kind drawn by the weights of `mix`, whose names are those of MAKERS."""
    kind = chance.weighted(list(mix), list(mix.values()))
    return MAKERS[kind](material, chance)


def _blended(clip: Tensor, source: Tensor, material: Material, chance: Chance, kind: str) -> PseudoFake:
    mask = soft_masks(material.landmarks, clip.shape[-1], draw_mask_choice(chance.generator))
    mask = mask * chance.one_of((0.5, 0.75, 1.0, 1.0, 1.0))
    return PseudoFake((mask * source + (1 - mask) * clip).clamp(0, 1), mask, kind)


def _recoloured(clip: Tensor, chance: Chance, strength: float) -> Tensor:
    shift = torch.tensor([chance.uniform(-0.06, 0.06) * strength for _ in range(3)], device=clip.device)
    mean = clip.mean(dim=(2, 3), keepdim=True)
    contrast = 1 + chance.uniform(-0.12, 0.12) * strength
    grey = clip.mean(dim=1, keepdim=True)
    saturation = 1 + chance.uniform(-0.25, 0.25) * strength
    return grey + saturation * ((clip - mean) * contrast + mean + shift.view(1, 3, 1, 1) - grey)


def _refocused(clip: Tensor, chance: Chance) -> Tensor:
    kind = chance.one_of(("blur", "sharpen", "low_resolution", "none"))
    if kind == "blur":
        return blurred(clip, chance.uniform(0.4, 1.4))
    if kind == "sharpen":
        return sharpened(clip, chance.uniform(0.3, 1.0))
    return _low_resolution(clip, chance) if kind == "low_resolution" else clip


def _low_resolution(clip: Tensor, chance: Chance) -> Tensor:
    """Shrunk and enlarged by one of the ways in which decoders enlarge; sometimes sharpened after."""
    size = clip.shape[-1]
    small = resized(clip, round(size * chance.uniform(0.3, 0.75)))
    mode = chance.one_of(("bilinear", "bicubic", "nearest"))
    corners = None if mode == "nearest" else False
    large = functional.interpolate(small, (size, size), mode=mode, align_corners=corners)
    if mode == "nearest":
        large = blurred(large, 0.8)
    return sharpened(large, chance.uniform(0.2, 0.8)) if chance.happens(0.4) else large


def _painted_again(material: Material, chance: Chance) -> Tensor:
    if material.reconstruct is None or chance.happens(0.5):
        return _low_resolution(material.clip, chance)
    painted = material.reconstruct(material.clip)
    return _mixed(material.clip, painted, chance.uniform(0.3, 1.0))


def _mixed(first: Tensor, second: Tensor, share: float) -> Tensor:
    return first + share * (second - first)


def _mixed_over_time(clip: Tensor, sigma: float) -> Tensor:
    """Gaussian over frames, `sigma` in frames."""
    steps = torch.arange(len(clip), dtype=clip.dtype, device=clip.device)
    weights = torch.exp(-((steps[:, None] - steps[None]) ** 2) / (2 * sigma**2))
    return torch.einsum("st,tchw->schw", weights / weights.sum(dim=1, keepdim=True), clip)


def _drifting(clip: Tensor, chance: Chance) -> Tensor:
    """A coarse smooth displacement that goes from one field to another over the clip."""
    fields = chance.normal(2, 2, 4, 4).to(clip.device) * chance.uniform(0.5, 2.5) * clip.shape[-1] / 252
    time = torch.linspace(0, 1, len(clip), device=clip.device).view(-1, 1, 1, 1)
    shift = fields[0] * torch.cos(time * torch.pi / 2) + fields[1] * torch.sin(time * torch.pi / 2)
    return displaced(clip, functional.interpolate(shift, (24, 24), mode="bicubic", align_corners=True))


def _small_motion(chance: Chance) -> tuple[float, float, float]:
    """Shift in parts of the side, and scale."""
    return chance.uniform(-0.02, 0.02), chance.uniform(-0.015, 0.015), chance.uniform(0.96, 1.04)


def moved(clip: Tensor, motion: tuple[float, float, float], chance: Chance) -> Tensor:
    """Shifted and scaled about the middle, with a slight elastic bend; the same for all frames."""
    right, down, scale = motion
    size = clip.shape[-1]
    steps = torch.linspace(-0.5, 0.5, 24, device=clip.device) * size
    ys, xs = torch.meshgrid(steps, steps, indexing="ij")
    shift = torch.stack([xs * (scale - 1) + right * size, ys * (scale - 1) + down * size])
    bend = functional.interpolate(chance.normal(1, 2, 4, 4), (24, 24), mode="bicubic", align_corners=True)
    shift = shift[None] + bend.to(clip.device) * chance.uniform(0.0, 0.006) * size
    return displaced(clip, shift.expand(len(clip), -1, -1, -1))


def _as_long(clip: Tensor, marks: Tensor, frames: int) -> tuple[Tensor, Tensor]:
    """A photo repeated, a clip cut or repeated at its end to so many frames."""
    index = torch.arange(frames).clamp_max(len(clip) - 1)
    return clip[index], marks[index]


def _smoothed_path(marks: Tensor, sigma: float) -> Tensor:
    if sigma < 0.2:
        return marks
    flat = _mixed_over_time(marks.reshape(len(marks), -1, 1, 1), sigma)
    return flat.reshape(marks.shape)


def _with_colours_of(source: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Mean and spread of each channel inside the mask taken over from the target, for the whole clip at once."""
    weight = mask / mask.sum().clamp_min(1e-6)

    def moments(clip: Tensor) -> tuple[Tensor, Tensor]:
        mean = (clip * weight).sum(dim=(0, 2, 3), keepdim=True)
        return mean, (((clip - mean) ** 2) * weight).sum(dim=(0, 2, 3), keepdim=True).sqrt()

    (mean, spread), (wanted_mean, wanted_spread) = moments(source), moments(target)
    return (source - mean) / spread.clamp_min(1e-3) * wanted_spread + wanted_mean
