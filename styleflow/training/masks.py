"""Soft masks of a face from its landmarks: where a pseudo-fake is fake. One random choice serves all frames of a clip.

A convex hull is kept as how far its points reach in evenly spread directions. Where a pixel lies inside is then a
handful of half-plane tests that are the same for every frame, and growing or shrinking moves those reaches; the corners
of a grown hull come out round. Point numbers are those of the 68-point scheme (iBUG 300-W). Works on any device.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import reduce

import torch
from torch import Tensor

from styleflow.training.chance import Chance

FEW, MANY = 12, 24
"""Directions for a part of the face, and for a face."""
STEP = 2
"""Pixels of the mask to one pixel of the raster it is blurred from."""


@dataclass(frozen=True)
class Hull:
    """Which points are wrapped, each group by itself, and how far the wrapping may be off."""

    weight: float
    """How often it is drawn, beside the others' weights."""
    groups: tuple[tuple[int, ...], ...]
    grow: tuple[float, float]
    """Least and most that is added all round, in parts of the picture's side."""
    directions: int = MANY
    lifted: bool = False
    """Whether the brows, moved up the forehead, are wrapped too."""


JAW, BROWS, NOSE, MOUTH = range(17), range(17, 27), range(27, 36), range(48, 68)
EYES = (range(36, 42), range(42, 48))
HULLS: dict[str, Hull] = {
    "face": Hull(0.3, (tuple(range(68)),), (-0.05, 0.03)),
    "extended": Hull(0.25, (tuple(range(68)),), (-0.05, 0.02), lifted=True),
    "inner": Hull(0.2, ((*NOSE, *EYES[0], *EYES[1], *MOUTH),), (-0.01, 0.06)),
    "mouth": Hull(0.1, (tuple(MOUTH),), (0.005, 0.06)),
    "components": Hull(0.15, tuple(tuple(part) for part in (*EYES, NOSE, MOUTH)), (0.012, 0.045), FEW),
}
"""How swaps mask faces: all of it with or without the forehead, what moves in its middle, lips alone, parts apart."""
GREATEST_BEND = 0.02
"""About how far an outline is bent at most, in parts of the picture's side."""
WAVES = 3
"""Waves that bend the mask's outline, for each of x and y."""


@dataclass(frozen=True)
class Wave:
    """One plane wave of displacement; cycles are per side of the picture."""

    strength: float
    across: float
    down: float
    phase: float


@dataclass(frozen=True)
class MaskChoice:
    """Everything random about a mask. Lengths are in parts of the picture's side."""

    hull: str
    """A name in HULLS."""
    grow: float
    """Added all round; negative takes away."""
    feather: float
    """Standard deviation of the Gaussian that softens the edge."""
    lift: float
    """How far the brows go up where the hull takes them along, in lengths of the nose bridge and tip."""
    bend_across: tuple[Wave, ...]
    bend_down: tuple[Wave, ...]


def draw_mask_choice(generator: torch.Generator) -> MaskChoice:
    """One clip's choice. The generator is on the CPU; the same state gives the same choice."""
    chance = Chance(generator)
    name = chance.weighted(list(HULLS), [hull.weight for hull in HULLS.values()])
    bend = chance.uniform(0.0, GREATEST_BEND)
    return MaskChoice(
        hull=name,
        grow=chance.uniform(*HULLS[name].grow),
        feather=math.exp(chance.uniform(math.log(0.006), math.log(0.05))),
        lift=chance.uniform(0.3, 1.0),
        bend_across=_draw_waves(chance, bend),
        bend_down=_draw_waves(chance, bend),
    )


def soft_masks(landmarks: Tensor, size: int, choice: MaskChoice) -> Tensor:
    """[T,68,2] in pixels of `size` px pictures -> [T,1,size,size] float32 in 0..1, on the landmarks' device.

    1 is deep inside. A clip whose landmarks all move by the same amount gets the same masks moved by it.
    """
    points = landmarks.float()
    centre = points.mean(dim=(0, 1))
    places = _bent(_raster(size, points.device), centre, size, choice)
    hull = HULLS[choice.hull]
    if hull.lifted:
        points = torch.cat([points, _forehead(points, choice.lift)], dim=1)
    forehead = range(68, points.shape[1])
    depths = (
        _depth(points[:, [*group, *forehead]] - centre, places, choice.grow * size, hull.directions)
        for group in hull.groups
    )
    coarse = (reduce(torch.maximum, depths) / STEP + 0.5).clamp_(0, 1)
    spread = _spreading(size, choice.feather * size, points.device)
    return (spread @ coarse.view(len(points), spread.shape[1], -1) @ spread.t()).clamp_(0, 1)[:, None]


def _depth(points: Tensor, places: Tensor, grow: float, directions: int) -> Tensor:
    """How deep places [2,P] lie inside the hull of each frame's points [T,N,2]: [T,P], in pixels, negative outside."""
    angles = torch.arange(directions, device=points.device) * (2 * math.pi / directions)
    normals = torch.stack([angles.cos(), angles.sin()])
    reach = (points @ normals).amax(dim=1) + grow
    along = normals.t() @ places
    depth = reach[:, :1] - along[0]
    for direction in range(1, directions):
        torch.minimum(depth, reach[:, direction, None] - along[direction], out=depth)
    return depth


def _raster(size: int, device: torch.device) -> Tensor:
    """[2,P], x and y of the coarse pixels' middles in pixels of the mask."""
    steps = _middles(size, device)
    ys, xs = torch.meshgrid(steps, steps, indexing="ij")
    return torch.stack([xs.flatten(), ys.flatten()])


def _middles(size: int, device: torch.device) -> Tensor:
    return (torch.arange(-(-size // STEP), device=device) + 0.5) * STEP


def _bent(places: Tensor, centre: Tensor, size: int, choice: MaskChoice) -> Tensor:
    """Places from the face's centre, moved along the waves. The waves hang on the centre, so they go with the face."""
    away = places - centre[:, None]
    moves = [_sum_of(waves, away / size) for waves in (choice.bend_across, choice.bend_down)]
    return away + size * torch.stack(moves)


def _sum_of(waves: tuple[Wave, ...], places: Tensor) -> Tensor:
    total = torch.zeros_like(places[0])
    for wave in waves:
        angle = 2 * math.pi * (wave.across * places[0] + wave.down * places[1]) + wave.phase
        total = total + wave.strength * torch.sin(angle)
    return total


def _forehead(points: Tensor, lift: float) -> Tensor:
    """The brows moved along the nose's line, [T,10,2]."""
    up = points[:, 27] - points[:, 33]
    return points[:, list(BROWS)] + lift * up[:, None]


def _spreading(size: int, sigma: float, device: torch.device) -> Tensor:
    """[size, coarse]: one side's Gaussian blur and enlargement as one matrix; rows sum to 1, so edges are repeated."""
    fine = torch.arange(size, device=device) + 0.5
    apart = fine[:, None] - _middles(size, device)[None]
    return torch.softmax(-(apart**2) / (2 * max(sigma, STEP / 2) ** 2), dim=1)


def _draw_waves(chance: Chance, bend: float) -> tuple[Wave, ...]:
    """Waves that together displace by about `bend`, none shorter than a third of the side."""
    waves = []
    for _ in range(WAVES):
        turn, cycles = chance.uniform(0.0, 2 * math.pi), chance.uniform(1.0, 3.0)
        strength = bend * chance.uniform(0.3, 1.0) * math.sqrt(2 / WAVES)
        phase = chance.uniform(0.0, 2 * math.pi)
        waves.append(Wave(strength, cycles * math.cos(turn), cycles * math.sin(turn), phase))
    return tuple(waves)
