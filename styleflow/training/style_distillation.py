"""The other way to a compact style encoder: it learns the latents of a large one, for whoever holds a pSp encoder.

Each compact style, mapped linearly, must give the large encoder's style of the same number, and so must the difference
between neighbouring frames. The maps are thrown away: what is linear in between, the StyleGRU's first layer can learn.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from styleflow.models.style_encoder import GradualStyleEncoder
from styleflow.training.chance import Chance
from styleflow.training.loop import Fitted, LoopWish, Numbers, fit
from styleflow.training.reencoding import Reencoding, reencoded
from styleflow.training.resampling import resized
from styleflow.training.store import Store

Pairs = Callable[[Chance], Tensor]
"""Draws faces in FFHQ's framing, any size: [2P,3,W,W] in 0..1, each two beside each other close in time."""


@dataclass(frozen=True, kw_only=True)
class Distillation:
    """How a large encoder is distilled."""

    loop: LoopWish = field(
        default_factory=lambda: LoopWish(steps=20_000, learning_rate=1e-3, weight_decay=0.0, average=0.998)
    )
    change: float = 1.0
    """What the differences of neighbouring frames' styles count, in parts of the styles themselves."""


@dataclass(eq=False)
class DistillationTrainee:
    """Encoder and linear maps; the teacher stays as it is. Errors are relative to the spread of its styles."""

    encoder: GradualStyleEncoder
    teacher: GradualStyleEncoder
    pairs: Pairs
    wish: Distillation

    def __post_init__(self) -> None:
        own, others = self.encoder.sizes, self.teacher.sizes
        if own.styles != others.styles:
            raise ValueError(f"{own.styles} styles cannot learn {others.styles}")
        self.maps = nn.ModuleList(nn.Linear(own.style_width, others.style_width) for _ in range(own.styles))
        self.teacher.eval().requires_grad_(False)
        self.module: nn.Module = nn.ModuleDict({"encoder": self.encoder, "maps": self.maps})

    def groups(self, wish: LoopWish) -> list[dict[str, Any]]:
        return [{"params": list(self.module.parameters()), "lr": wish.learning_rate}]

    def draw(self, step: int, chance: Chance) -> tuple[Tensor, Tensor]:  # noqa: ARG002  # every step is alike
        """The compact encoder's pictures and the teacher's styles of the same faces, on the training device."""
        wide = self.pairs(chance).to(next(self.encoder.parameters()).device)
        small, large = (resized(wide, one.sizes.input_size) * 2 - 1 for one in (self.encoder, self.teacher))
        with torch.no_grad():
            return small, self.teacher(large).float()

    def loss(self, drawn: tuple[Tensor, Tensor]) -> tuple[Tensor, Numbers]:
        small, wanted = drawn
        styles = self.encoder(small).float()
        found = torch.stack([onto(style) for onto, style in zip(self.maps, styles.unbind(1), strict=True)], dim=1)
        latents, change = _relative(found, wanted), _relative(found[1::2] - found[::2], wanted[1::2] - wanted[::2])
        return latents + self.wish.change * change, {"latents": latents.item(), "change": change.item()}

    def judge(self) -> Numbers:
        """Nothing: what a distilled encoder is worth, the figures of its flow say (style_flow_figures.py)."""
        return {}


def _relative(found: Tensor, wanted: Tensor) -> Tensor:
    """Mean squared error in parts of what answering with the batch's mean would cost."""
    spread = (wanted - wanted.mean(dim=0)).square().mean()
    return functional.mse_loss(found, wanted) / spread.clamp_min(1e-8)


def distil(
    encoder: GradualStyleEncoder,
    teacher: GradualStyleEncoder,
    pairs: Pairs,
    out: Path,
    wish: Distillation,
    *,
    device: torch.device | str = "cpu",
    stop_after_seconds: float = math.inf,
    say: Callable[[str], None] = lambda _: None,
) -> Fitted:
    """Teach `encoder` the teacher's latents, from the folder's checkpoint where there is one.

    When it is finished, `encoder` holds the average of its parameters. Raises TrainingDiverged, and ValueError where
    the two encoders have different numbers of styles.
    """
    trainee = DistillationTrainee(encoder, teacher.to(device), pairs, wish)
    return fit(trainee, out, wish.loop, device=device, stop_after_seconds=stop_after_seconds, say=say)


def wide_pairs(
    store: Store, count: int, *, held_back: Collection[str], furthest: int = 6, split: str = "train"
) -> Pairs:
    """`Pairs` of a store's clips at the size they are kept in, lit and re-encoded a little.

    `held_back` names the identities that are never distilled from; empty for none. Raises ValueError where no clips
    are left.
    """
    videos = [
        video
        for video in store.videos
        if video.clips and video.facts.split == split and video.facts.identity not in held_back
    ]
    if not videos:
        raise ValueError(f"the store has no clips of the split {split}, besides who is held back")

    def drawn(chance: Chance) -> Tensor:
        pairs = []
        for _ in range(count):
            video = chance.one_of(videos)
            frames = video.frames(chance.whole(0, video.clips))
            apart = min(chance.whole(1, furthest + 1), len(frames) - 1)
            first = chance.whole(0, len(frames) - apart)
            chosen = torch.from_numpy(np.ascontiguousarray(frames[[first, first + apart]]))
            pairs.append(reencoded(chosen.permute(0, 3, 1, 2).float() / 255, Reencoding.draw(chance, 0.3)))
        return torch.cat(pairs)

    return drawn
