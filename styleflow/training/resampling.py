"""Pictures shrunk, blurred and warped on the training device. Pictures are float32 [N,C,H,W]; any range."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from styleflow.training.geometry import Geometry


def resized(pictures: Tensor, size: int | tuple[int, int]) -> Tensor:
    """[N,C,H,W] -> [N,C,size,size], bilinear; over the covered area where it shrinks."""
    return functional.interpolate(pictures, size, mode="bilinear", antialias=True, align_corners=False)


def blurred(pictures: Tensor, sigma: float) -> Tensor:
    """Gaussian blur with `sigma` in pixels, edges repeated. Below 0.1 px the pictures themselves."""
    if sigma < 0.1:
        return pictures
    radius = min(max(1, math.ceil(3 * sigma)), min(pictures.shape[2:]) - 1)
    steps = torch.arange(-radius, radius + 1, dtype=pictures.dtype, device=pictures.device)
    kernel = torch.exp(-(steps**2) / (2 * sigma**2))
    kernel = kernel / kernel.sum()
    channels = pictures.shape[1]
    across = kernel.view(1, 1, 1, -1).expand(channels, 1, 1, -1)
    padded = functional.pad(pictures, (radius, radius, radius, radius), mode="replicate")
    rows = functional.conv2d(padded, across, groups=channels)
    return functional.conv2d(rows, across.transpose(2, 3), groups=channels)


def sharpened(pictures: Tensor, amount: float) -> Tensor:
    """Unsharp mask: what a blur of one pixel takes away, added `amount` times."""
    return pictures + amount * (pictures - blurred(pictures, 1.0))


def displaced(pictures: Tensor, shift: Tensor) -> Tensor:
    """Each pixel read at its place plus `shift` [N,2,h,w] (x, y in pixels of the picture), which may be coarser than
    the picture. [N,C,H,W] -> [N,C,H,W], edges repeated."""
    height, width = pictures.shape[2:]
    fine = functional.interpolate(shift, (height, width), mode="bilinear", align_corners=True)
    ys = torch.linspace(-1, 1, height, device=pictures.device).view(1, height, 1)
    xs = torch.linspace(-1, 1, width, device=pictures.device).view(1, 1, width)
    grid = torch.stack([xs + 2 * fine[:, 0] / (width - 1), ys + 2 * fine[:, 1] / (height - 1)], dim=3)
    return functional.grid_sample(pictures, grid, mode="bilinear", padding_mode="border", align_corners=True)


def landmark_shift(source: Tensor, target: Tensor, size: int, cells: int = 24, stiffness: float = 0.02) -> Tensor:
    """Where to read, so that a picture with landmarks `source` gets landmarks `target`: thin-plate splines.

    source and target [N,P,2] in pixels of a `size` px picture -> shift [N,2,cells,cells] for `displaced`. `stiffness`
    regularises: 0 meets every point exactly, more lets noisy points be missed.
    """
    to, come = (points.double() / size for points in (target, source))
    corners = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]], dtype=torch.float64, device=source.device)
    anchors = corners.expand(len(to), 4, 2)
    knots = torch.cat([to, anchors], dim=1)
    moves = torch.cat([come - to, torch.zeros_like(anchors)], dim=1)
    weights = _spline(knots, moves, stiffness)
    places = _places(cells, source.device)
    basis = torch.cat([_radial(torch.cdist(places.expand(len(to), -1, -1), knots)), _linear(places, len(to))], dim=2)
    return (basis @ weights).transpose(1, 2).reshape(-1, 2, cells, cells).float() * size


def _spline(knots: Tensor, moves: Tensor, stiffness: float) -> Tensor:
    count = knots.shape[1]
    radial = _radial(torch.cdist(knots, knots)) + stiffness * torch.eye(count, dtype=knots.dtype, device=knots.device)
    linear = _linear(knots, len(knots))
    top = torch.cat([radial, linear], dim=2)
    bottom = torch.cat([linear.transpose(1, 2), linear.new_zeros(len(knots), 3, 3)], dim=2)
    wanted = torch.cat([moves, moves.new_zeros(len(moves), 3, 2)], dim=1)
    return torch.as_tensor(torch.linalg.solve(torch.cat([top, bottom], dim=1), wanted))


def _radial(distance: Tensor) -> Tensor:
    squared: Tensor = distance.square()
    return torch.as_tensor(squared * torch.log(squared.clamp_min(1e-12)))


def _linear(places: Tensor, batch: int) -> Tensor:
    full = places.expand(batch, -1, -1)
    return torch.cat([torch.ones_like(full[..., :1]), full], dim=2)


def _places(cells: int, device: torch.device) -> Tensor:
    steps = torch.linspace(0, 1, cells, dtype=torch.float64, device=device)
    ys, xs = torch.meshgrid(steps, steps, indexing="ij")
    return torch.stack([xs.flatten(), ys.flatten()], dim=1)[None]


def style_part(wide: Tensor, geometry: Geometry, *, flipped: bool = False) -> Tensor:
    """[T,3,W,W] -> [T,3,F,F]: FFHQ's square of a wide picture, which may be mirrored."""
    left, top, side = geometry.style_square
    left = geometry.wide_size - side - left if flipped else left
    return wide[:, :, top : top + side, left : left + side]
