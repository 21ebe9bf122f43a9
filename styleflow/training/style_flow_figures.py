"""What a style encoder's flow is worth: does it follow what moves, and is it small where nothing does?

The StyleGRU reads differences of neighbouring frames' styles and nothing else of them, so an encoder that reconstructs
well and jitters is of no use. Norms are root mean squares over all numbers of a style flow.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from styleflow.training.chance import Chance
from styleflow.training.reconstruction import face_weights
from styleflow.training.reencoding import Reencoding, reencoded
from styleflow.training.style_pictures import PictureRun

Encode = Callable[[Tensor], Tensor]
"""[N,3,R,R] in [-1,1] -> [N,styles,width]."""


def flow_figures(encode: Encode, runs: Sequence[PictureRun], seed: int = 0) -> dict[str, float]:
    """Of clips of at least two frames:

    - `styles`: the root mean square of styles around their mean;
    - `flow/next`, `flow/clip`, `flow/people`: between neighbouring frames, two random frames of a clip, two identities;
    - `flow/coding`: between a frame and itself after mild compression, which is what nothing moving looks like;
    - `follows` and `follows/in_clip`: the correlation of a flow's norm with the pixels' true change, over all
      neighbouring frames and as the mean over clips.
    """
    chance = Chance.seeded(seed)
    found = [_of_clip(encode, run, chance) for run in runs if len(run.pictures) > 1]
    if not found:
        return {}
    means = {name: sum(figures[name] for _, figures in found) / len(found) for name in found[0][1]}
    every = torch.cat([pairs for pairs, _ in found])
    centres = torch.stack([_clip_centre(encode, run) for run in runs])
    return {
        **means,
        "styles": _rms(centres - centres.mean(dim=0)),
        "flow/people": _between(centres, [run.identity for run in runs]),
        "follows": correlation(every[:, 0], every[:, 1]),
    }


def correlation(one: Tensor, other: Tensor) -> float:
    """Pearson's, of two rows of numbers; 0 where one of them is constant."""
    one, other = one - one.mean(), other - other.mean()
    length = float(one.norm() * other.norm())
    return float(one @ other) / length if length > 0 else 0.0


def pixel_change(pictures: Tensor) -> Tensor:
    """[T,3,R,R] in [-1,1] -> [T-1]: the mean change from one to the next, the face counting more than the rim."""
    return ((pictures[1:] - pictures[:-1]).abs() * face_weights(pictures.shape[-1], 4.0)).mean(dim=(1, 2, 3))


def _of_clip(encode: Encode, run: PictureRun, chance: Chance) -> tuple[Tensor, dict[str, float]]:
    plain = run.pictures.float() / 255
    coded = reencoded(plain, Reencoding(quality=85, offset=(chance.whole(0, 8), chance.whole(0, 8))))
    styles = encode(plain * 2 - 1)
    order = torch.randperm(len(plain), generator=chance.generator)
    steps = (styles[1:] - styles[:-1]).flatten(1).square().mean(dim=1).sqrt()
    change = pixel_change(plain * 2 - 1)
    figures = {
        "flow/next": _rms(styles[1:] - styles[:-1]),
        "flow/clip": _rms(styles[order] - styles[order.roll(1)]),
        "flow/coding": _rms(encode(coded * 2 - 1) - styles),
        "follows/in_clip": correlation(steps, change),
    }
    return torch.stack([steps, change], dim=1), figures


def _clip_centre(encode: Encode, run: PictureRun) -> Tensor:
    middle = run.pictures[len(run.pictures) // 2 :][:1]
    return encode(middle.float() / 127.5 - 1)[0]


def _between(centres: Tensor, identities: Sequence[str]) -> float:
    others = [
        centres[one] - centres[other]
        for one in range(len(centres))
        for other in range(one)
        if identities[one] != identities[other]
    ]
    return _rms(torch.stack(others)) if others else 0.0


def _rms(values: Tensor) -> float:
    return float(values.square().mean().sqrt())
