"""Stage 2: content, style attention and temporal transformer learn together, the style branch frozen.

StyleFlow, CVPR 2024.

The style attention's last projection begins at zero, so training begins at the content-only network. With the content
branch's trunk frozen too, what the two branches say of a drawn clip is kept in a reservoir and used many times;
otherwise every step draws its own clips.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from styleflow.models.detector import StyleFlowDetector
from styleflow.models.mobile_content import MobileContentNetwork
from styleflow.training.batches import Batch
from styleflow.training.chance import Chance
from styleflow.training.content_stage import clip_loss, parameter_groups
from styleflow.training.loop import LoopWish, Numbers
from styleflow.training.reservoir import Reservoir, Rows


@dataclass(eq=False)
class StageTwoTrainee:
    """What joins the branches. `source` gives the rows of a step: a reservoir, or a batch drawn for it alone."""

    detector: StyleFlowDetector
    source: Callable[[int, Chance], Rows]
    with_style: bool = True
    """Without it this is the ablation: the same training, deaf to style."""
    pair_weight: float = 0.5
    judge_by: Callable[[], Numbers] = dict

    def __post_init__(self) -> None:
        parts: dict[str, nn.Module] = {
            "content": self.detector.content,
            "temporal_transformer": self.detector.temporal_transformer,
        }
        if self.with_style:
            parts["style_attention"] = self.detector.style_attention
        self.module: nn.Module = nn.ModuleDict(parts)

    def groups(self, wish: LoopWish) -> list[dict[str, Any]]:
        return parameter_groups(self.module, wish)

    def judge(self) -> Numbers:
        return self.judge_by()

    def draw(self, step: int, chance: Chance) -> Rows:
        device = next(self.detector.temporal_transformer.parameters()).device
        return {name: column.to(device) for name, column in self.source(step, chance).items()}

    def loss(self, drawn: Rows) -> tuple[Tensor, Numbers]:
        return clip_loss(self.logits(drawn), drawn["labels"], self.pair_weight)

    def logits(self, rows: Rows) -> Tensor:
        """[B], float32."""
        tokens = content_tokens(self.detector, rows)
        if self.with_style:
            tokens, _ = self.detector.fuse(tokens, rows["embedding"].float())
        logits, _ = self.detector.temporal_transformer(tokens)
        return torch.as_tensor(logits).float().squeeze(1)


def content_tokens(detector: StyleFlowDetector, rows: Rows) -> Tensor:
    """[B,N,C] from what the trunk said (`pooled`), or from the pictures (`content` [B,T,3,S,S], normalised)."""
    content = detector.content
    if "pooled" in rows:
        assert isinstance(content, MobileContentNetwork)
        return content.tokens(rows["pooled"].float())
    return torch.as_tensor(content(rows["content"].transpose(1, 2)))


def style_embedding(detector: StyleFlowDetector, style: Tensor) -> Tensor:
    """[B,T,3,R,R] in [-1,1] -> [B,E], without gradients."""
    with torch.no_grad():
        return torch.as_tensor(detector.style_gru(detector.style_flow(style).flatten(2)))


def pooled_rows(batch: Batch, detector: StyleFlowDetector) -> Rows:
    """What the frozen parts say of a batch: pooled content [B,N,P] and style embedding [B,E], float16, and labels."""
    content = detector.content
    assert isinstance(content, MobileContentNetwork)
    with torch.inference_mode():
        pooled = content.pooled_of_clip(batch.content.transpose(1, 2) * 2 - 1)
        rows = {"pooled": pooled.half().cpu(), "labels": batch.labels.cpu()}
        if batch.style is not None:
            rows["embedding"] = style_embedding(detector, batch.style * 2 - 1).half().cpu()
    return rows


def from_reservoir(reservoir: Reservoir, pairs: int) -> Callable[[int, Chance], Rows]:
    """Some pairs of what the reservoir holds, each an original and its fake."""

    def source(step: int, chance: Chance) -> Rows:
        rows = reservoir.at(step)
        held = len(rows["labels"]) // 2
        chosen = torch.tensor([chance.whole(0, held) for _ in range(pairs)])
        index = torch.stack([2 * chosen, 2 * chosen + 1], dim=1).flatten()
        return {name: column[index] for name, column in rows.items()}

    return source


def picture_rows(batch: Batch, detector: StyleFlowDetector) -> Rows:
    """The content's pictures [B,T,3,S,S], normalised, for a trunk that learns too; style embedding [B,E]; labels."""
    sizes, device = detector.sizes.content, batch.content.device
    mean, std = (torch.tensor(values, device=device).view(3, 1, 1) for values in (sizes.mean, sizes.std))
    rows = {"content": (batch.content - mean) / std, "labels": batch.labels}
    if batch.style is not None:
        rows["embedding"] = style_embedding(detector, batch.style * 2 - 1)
    return rows


def drawn_each_step(
    draw_batch: Callable[[Chance], Batch], rows_of: Callable[[Batch], Rows]
) -> Callable[[int, Chance], Rows]:
    """A batch for every step."""
    return lambda _, chance: rows_of(draw_batch(chance))


def rows_round(
    draw_batch: Callable[[Chance], Batch], rows_of: Callable[[Batch], Rows], batches: int
) -> Callable[[Chance], Rows]:
    """What makes one round of a reservoir."""

    def make(chance: Chance) -> Rows:
        drawn = [rows_of(draw_batch(chance)) for _ in range(batches)]
        return {name: torch.cat([rows[name] for rows in drawn]) for name in drawn[0]}

    return make
