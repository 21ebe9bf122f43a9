"""How far a picture that came back is from the one that went in. Pictures are float32 [N,3,R,R] in [-1,1]."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

Features = Callable[[Tensor], Tensor]
"""Pictures [N,3,R,R] in [-1,1] -> features [N,...] that differ where people see a difference."""


@dataclass(frozen=True, kw_only=True)
class LossWeights:
    """What each part counts."""

    pixels: float = 1.0
    pyramid: float = 1.0
    change: float = 2.0
    """Of how a picture differs from its neighbour in time; what the style flow has to follow."""
    features: float = 0.05
    """Of what `models.mobile_content.Trunk.early` sees: its features are about thirty times as far apart as pixels."""
    face: float = 4.0
    """What a pixel in the middle of the face counts, in parts of one at the rim."""


def face_weights(size: int, face: float) -> Tensor:
    """[size,size], mean 1: a bell around eyes, nose and mouth as FFHQ's framing places them."""
    steps = (torch.arange(size, dtype=torch.float32) + 0.5) / size
    ys, xs = torch.meshgrid(steps, steps, indexing="ij")
    bell = torch.exp(-0.5 * (((xs - 0.5) / 0.17) ** 2 + ((ys - 0.58) / 0.19) ** 2))
    weights = 1 + (face - 1) * bell
    return weights / weights.mean()


def laplacian_pyramid(pictures: Tensor, levels: int = 4) -> list[Tensor]:
    """Bands from fine to coarse; each is what halving loses, and the last is what is left. Sums back exactly."""
    bands = []
    for _ in range(levels - 1):
        half = functional.avg_pool2d(pictures, 2)
        bands.append(pictures - _grown(half, pictures))
        pictures = half
    return [*bands, pictures]


def summed(bands: list[Tensor]) -> Tensor:
    """The pictures that `laplacian_pyramid` was given."""
    whole = bands[-1]
    for band in reversed(bands[:-1]):
        whole = band + _grown(whole, band)
    return whole


def _grown(half: Tensor, like: Tensor) -> Tensor:
    return functional.interpolate(half, like.shape[2:], mode="bilinear", align_corners=False)


def reconstruction_loss(
    made: Tensor, wanted: Tensor, neighbours: Tensor, weights: LossWeights, features: Features | None = None
) -> tuple[Tensor, dict[str, float]]:
    """The weighted sum, and its parts. `neighbours` [N/2] bool says which pairs of pictures are close in time."""
    mask = face_weights(made.shape[-1], weights.face).to(made.device)
    parts = {"pixels": _off(made, wanted, mask), "pyramid": made.new_zeros(())}
    for one, other in zip(laplacian_pyramid(made), laplacian_pyramid(wanted), strict=True):
        parts["pyramid"] = parts["pyramid"] + _off(
            one, other, functional.adaptive_avg_pool2d(mask[None], one.shape[-1])
        )
    if weights.change and bool(neighbours.any()):
        moved, should = ((pictures[1::2] - pictures[::2])[neighbours] for pictures in (made, wanted))
        parts["change"] = _off(moved, should, mask)
    if features is not None and weights.features:
        with torch.no_grad():
            target = features(wanted)
        parts["features"] = (features(made).float() - target.float()).abs().mean()
    loss = torch.stack([getattr(weights, name) * value for name, value in parts.items()]).sum()
    return loss, {name: value.item() for name, value in parts.items()}


def weighted_error(made: Tensor, wanted: Tensor, face: float) -> float:
    """Mean absolute difference, the middle of the face counting `face` times as much as the rim."""
    return _off(made, wanted, face_weights(wanted.shape[-1], face).to(wanted.device)).item()


def _off(made: Tensor, wanted: Tensor, mask: Tensor) -> Tensor:
    return ((made - wanted).abs() * mask).mean()
