"""The content branch before stage 2, on frames and patches.

A compact content branch starts from ImageNet weights. `FrameTrainee` teaches its trunk on a few frames of many clips,
with a loss on every patch (is this part not the original's?) beside that on the frame, which is what makes small data
enough. Stage 2 goes on with whole clips.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from styleflow.models.mobile_content import MobileContentNetwork
from styleflow.training.batches import Batch, patch_targets
from styleflow.training.chance import Chance
from styleflow.training.loop import LoopWish, Numbers

TRUNK_RATE = 0.3
"""The learning rate of pretrained layers, in parts of that of new ones."""


class FrameHeads(nn.Module):
    """What judges patches and single frames while the trunk learns; no part of the served network."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.patch = nn.Conv2d(width, 1, 1)
        self.frame = nn.Linear(width, 1)


@dataclass(eq=False)
class FrameTrainee:
    """Trunk, projection and pooling of a compact content branch, with heads for patches and frames."""

    content: MobileContentNetwork
    heads: FrameHeads
    draw_batch: Callable[[Chance], Batch]
    judge_by: Callable[[], Numbers] = dict
    patch_weight: float = 1.0
    pair_weight: float = 0.5

    def __post_init__(self) -> None:
        self.module: nn.Module = nn.ModuleDict({"content": self.content, "heads": self.heads})

    def groups(self, wish: LoopWish) -> list[dict[str, Any]]:
        return parameter_groups(self.module, wish)

    def judge(self) -> Numbers:
        return self.judge_by()

    def draw(self, step: int, chance: Chance) -> Batch:  # noqa: ARG002  # every step is alike
        return self.draw_batch(chance)

    def loss(self, drawn: Batch) -> tuple[Tensor, Numbers]:
        patches, frames = self.logits(drawn.content)
        target = patch_targets(drawn.masks, patches.shape[-1])
        by_patch = functional.binary_cross_entropy_with_logits(patches, target, reduction="none").mean(dim=(1, 2, 3))
        by_patch = by_patch[drawn.mask_known].mean()
        clips = frames.mean(dim=1)
        by_frame = functional.binary_cross_entropy_with_logits(frames, drawn.labels[:, None].expand_as(frames))
        ranked = pair_ranking(clips, drawn.labels)
        loss = by_frame + self.patch_weight * by_patch + self.pair_weight * ranked
        return loss, {"frame": by_frame.item(), "patch": by_patch.item(), "paired": paired_share(clips)}

    def logits(self, content: Tensor) -> tuple[Tensor, Tensor]:
        """[B,T,3,S,S] in 0..1 -> patches [B,T,h,w], frames [B,T]; float32."""
        return frame_logits(self.content, self.heads, content)


def frame_logits(content: MobileContentNetwork, heads: FrameHeads, clips: Tensor) -> tuple[Tensor, Tensor]:
    """[B,T,3,S,S] in 0..1 -> patches [B,T,h,w], frames [B,T]; float32."""
    count, frames = clips.shape[:2]
    maps = content.maps(clips.flatten(0, 1) * 2 - 1)
    patches = heads.patch(maps).float().view(count, frames, *maps.shape[2:])
    tokens = content.tokens_of(maps.view(count, frames, *maps.shape[1:]))
    return patches, heads.frame(tokens).float().squeeze(2)


def clip_loss(logits: Tensor, labels: Tensor, pair_weight: float) -> tuple[Tensor, Numbers]:
    """Cross entropy, and the ranking of each fake above its own original."""
    entropy = functional.binary_cross_entropy_with_logits(logits, labels)
    loss = entropy + pair_weight * pair_ranking(logits, labels)
    return loss, {"entropy": entropy.item(), "paired": paired_share(logits)}


def pair_ranking(logits: Tensor, labels: Tensor, margin: float = 1.0) -> Tensor:
    """Mean hinge of each fake's logit over that of the original beside it; [B] as a batch orders them."""
    if len(labels) % 2 or bool((labels[::2] != 0).any()) or bool((labels[1::2] != 1).any()):
        raise ValueError("a batch is pairs of an original and a fake")
    return functional.relu(margin - (logits[1::2] - logits[::2])).mean()


def paired_share(logits: Tensor) -> float:
    """Share of pairs in which the fake scores higher."""
    return float((logits[1::2] > logits[::2]).float().mean())


def parameter_groups(module: nn.Module, wish: LoopWish) -> list[dict[str, Any]]:
    """Pretrained layers learn slower; biases and norms do not decay."""
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            groups.setdefault((".trunk." in name, parameter.dim() > 1), []).append(parameter)
    return [
        {
            "params": parameters,
            "lr": wish.learning_rate * (TRUNK_RATE if pretrained else 1.0),
            "weight_decay": wish.weight_decay if decays else 0.0,
        }
        for (pretrained, decays), parameters in groups.items()
    ]
