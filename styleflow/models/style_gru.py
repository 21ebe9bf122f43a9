"""StyleGRU: the style flow of a clip becomes one embedding (StyleFlow, CVPR 2024, stage 1).

Parameter names are those of the official stage-1 checkpoint without their `module.model.` prefix.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class LatentDropout(nn.Module):
    """Drops flow features, the same ones at every step and in every clip of the batch; element j goes together
    with element j + D/2. [B,T,D] -> [B,T,D], D even; does nothing in eval mode."""

    def __init__(self, probability: float = 0.2) -> None:
        super().__init__()
        self.kept = 1.0 - probability

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        half = torch.empty(x.shape[-1] // 2, dtype=x.dtype, device=x.device).bernoulli_(self.kept)
        return x * (half.repeat(2) / self.kept)


class StyleGRU(nn.Module):
    """[B,T,D] style flow -> [B, 2 * layers * hidden] embedding.

    The embedding is layer 0 forward, layer 0 backward, layer 1 forward, ... side by side; it is not normalised.
    T is fixed by the batch norm, whose channels are the time steps. Paper: T=31, D=9216, embedding 16384.
    """

    def __init__(self, *, features: int, hidden: int, steps: int = 31, layers: int = 2) -> None:
        super().__init__()
        self.dropout = LatentDropout()
        self.bn = nn.BatchNorm1d(steps)
        self.gru = nn.GRU(features, hidden, layers, batch_first=True, dropout=0.1, bidirectional=True)
        self.hidden_state = nn.Parameter(torch.randn(2 * layers, 1, hidden))

    def forward(self, flow: Tensor) -> Tensor:
        return self.embed(flow)

    def embed(self, flow: Tensor) -> Tensor:
        """[B,T,D] -> [B, 2 * layers * hidden]."""
        start = self.hidden_state.expand(-1, flow.shape[0], -1).contiguous()
        _, last = self.gru(self.bn(self.dropout(flow)), start)
        embedding: Tensor = last.transpose(0, 1).flatten(1)
        return embedding


class FeedForward(nn.Module):
    """Linear, ReLU, dropout, linear. [B,E] -> [B,E]."""

    def __init__(self, features: int, hidden: int) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(features, hidden), nn.ReLU(), nn.Dropout(0.5), nn.Linear(hidden, features))

    def forward(self, x: Tensor) -> Tensor:
        return torch.as_tensor(self.net(x))


class Residual(nn.Module):
    """x + fn(x). [B,E] -> [B,E]."""

    def __init__(self, fn: nn.Module) -> None:
        super().__init__()
        self.fn = fn

    def forward(self, x: Tensor) -> Tensor:
        return torch.add(x, self.fn(x))


class StyleGRUClassifier(StyleGRU):
    """Stage 1: a StyleGRU with the head that it is trained with, which serving does not keep.

    [B,T,D] -> (logit [B,1], embedding [B,E]). At paper size `head_hidden` is 4096.
    """

    def __init__(self, *, features: int, hidden: int, head_hidden: int, steps: int = 31, layers: int = 2) -> None:
        super().__init__(features=features, hidden=hidden, steps=steps, layers=layers)
        embedding = 2 * layers * hidden
        self.dense = nn.Sequential(
            nn.Dropout(0.5),
            Residual(FeedForward(embedding, head_hidden)),
            nn.Dropout(0.5),
            nn.Linear(embedding, 1),
        )

    def forward(self, flow: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]  # its output is a pair
        embedding = self.embed(flow)
        return self.dense(embedding), embedding
