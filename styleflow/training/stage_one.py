"""Stage 1: the StyleGRU learns to tell the style flow of fakes from that of real faces (StyleFlow, CVPR 2024).

As published: cross entropy over anchor, positive and negative of a triplet, and margin ranking of their distances on
the raw embedding, equally weighted. Mended: the published script's loader gave flows in training and latents in
testing, its best value was compared with a tuple, and it read an option that nothing defined.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from styleflow.errors import ConfigurationError
from styleflow.models.style_gru import StyleGRUClassifier
from styleflow.training.batches import Batch
from styleflow.training.chance import Chance
from styleflow.training.content_stage import parameter_groups
from styleflow.training.loop import LoopWish, Numbers
from styleflow.training.reservoir import Reservoir, Rows

MARGIN = 1.0
FlowOf = Callable[[Tensor], Tensor]
"""[B,T,3,R,R] in [-1,1] -> style flow [B,T-1,styles,width]: `StyleFlowDetector.style_flow`."""


@dataclass(eq=False)
class StageOneTrainee:
    """A StyleGRU with its head; flows come from a reservoir of drawn clips."""

    network: StyleGRUClassifier
    reservoir: Reservoir
    batch: int = 64
    """Triplets a step."""
    judge_by: Callable[[], Numbers] = dict

    def __post_init__(self) -> None:
        self.module: nn.Module = self.network

    def groups(self, wish: LoopWish) -> list[dict[str, Any]]:
        return parameter_groups(self.module, wish)

    def judge(self) -> Numbers:
        return self.judge_by()

    def draw(self, step: int, chance: Chance) -> tuple[Tensor, Tensor]:
        """Flows [3B,T-1,D] and labels [3B] of triplets."""
        rows = self.reservoir.at(step)
        triplets = drawn_triplets(rows["labels"], self.batch, chance).flatten()
        device = next(self.network.parameters()).device
        return rows["flow"][triplets].float().to(device), rows["labels"][triplets].to(device)

    def loss(self, drawn: tuple[Tensor, Tensor]) -> tuple[Tensor, Numbers]:
        flows, labels = drawn
        logits, embeddings = self.network(flows)
        entropy = functional.binary_cross_entropy_with_logits(logits.squeeze(1), labels)
        ranked = triplet_ranking(embeddings.view(-1, 3, embeddings.shape[1]))
        right = float(((logits.squeeze(1) > 0).float() == labels).float().mean())
        return entropy + ranked, {"entropy": entropy.item(), "ranked": ranked.item(), "right": right}


def drawn_triplets(labels: Tensor, count: int, chance: Chance) -> Tensor:
    """[count,3] positions: an anchor of either class, another clip of its class, one of the other class.

    Raises ConfigurationError where a class has fewer than two clips.
    """
    of_class = [torch.nonzero(labels == value).flatten() for value in (0.0, 1.0)]
    if min(map(len, of_class)) < 2:
        raise ConfigurationError("triplets need two clips of each class: the reservoir is too small")
    rows = []
    for _ in range(count):
        kind = chance.whole(0, 2)
        same, other = of_class[kind], of_class[1 - kind]
        anchor = chance.whole(0, len(same))
        positive = (anchor + 1 + chance.whole(0, len(same) - 1)) % len(same)
        rows.append(torch.stack([same[anchor], same[positive], other[chance.whole(0, len(other))]]))
    return torch.stack(rows)


def triplet_ranking(embeddings: Tensor, margin: float = MARGIN) -> Tensor:
    """Mean of max(0, d(anchor, positive) - d(anchor, negative) + margin), d the Euclidean distance. [B,3,E]."""
    anchor, positive, negative = embeddings.unbind(1)
    near, far = functional.pairwise_distance(anchor, positive), functional.pairwise_distance(anchor, negative)
    return functional.relu(near - far + margin).mean()


def flow_rows(batch: Batch, flow_of: FlowOf) -> Rows:
    """The flows of a batch that was drawn with its style pictures, flattened to [B,T-1,D] and kept in float16."""
    if batch.style is None:
        raise ValueError("the batch was drawn without style pictures")
    with torch.inference_mode():
        flow = flow_of(batch.style * 2 - 1).flatten(2)
    return {"flow": flow.half().cpu(), "labels": batch.labels.cpu()}


def round_of(draw: Callable[[Chance], Batch], flow_of: FlowOf, batches: int) -> Callable[[Chance], Rows]:
    """What makes one round of a reservoir: so many batches of flows."""

    def make(chance: Chance) -> Rows:
        drawn = [flow_rows(draw(chance), flow_of) for _ in range(batches)]
        return {name: torch.cat([rows[name] for rows in drawn]) for name in drawn[0]}

    return make
