"""StyleGRU: the style flow of a clip becomes one embedding (StyleFlow, CVPR 2024, stage 1).

Parameter names are those of the official stage-1 checkpoint without their `module.model.` prefix.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


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
        steps = self.bn(self.dropout(flow))
        if self.gru.weight_hh_l0.dtype == torch.float32:
            _, last = self.gru(steps, start)
        else:
            last = last_states(self.gru, steps, start)
        embedding: Tensor = last.transpose(0, 1).flatten(1)
        return embedding


def last_states(gru: nn.GRU, steps: Tensor, start: Tensor) -> Tensor:
    """What a GRU with matrices of reduced precision ends in, its state kept in float32 over all steps.

    steps [B,T,D] and start [layers * 2, B, hidden] float32 -> [layers * 2, B, hidden] float32. Bidirectional, eval
    mode. torch's own GRU would round the state at every step.
    """
    ends: list[Tensor] = []
    for layer in range(gru.num_layers):
        both = []
        for backward, suffix in enumerate(("", "_reverse")):
            states = _states(gru, f"l{layer}{suffix}", steps.flip(1) if backward else steps, start[len(ends)])
            ends.append(states[:, -1])
            both.append(states.flip(1) if backward else states)
        steps = torch.cat(both, dim=2)
    return torch.stack(ends)


def _states(gru: nn.GRU, name: str, steps: Tensor, state: Tensor) -> Tensor:
    """One layer in one direction: steps [B,T,D], state [B,hidden] -> the state after each step [B,T,hidden]."""
    matrices = [getattr(gru, f"weight_{side}_{name}") for side in ("ih", "hh")]
    of_input, of_state = (getattr(gru, f"bias_{side}_{name}").float() for side in ("ih", "hh"))
    inputs = functional.linear(steps.to(matrices[0].dtype), matrices[0]).float() + of_input
    states = []
    for given in inputs.unbind(1):
        own = functional.linear(state.to(matrices[1].dtype), matrices[1]).float() + of_state
        reset_given, update_given, new_given = given.chunk(3, dim=1)
        reset_own, update_own, new_own = own.chunk(3, dim=1)
        update = torch.sigmoid(update_given + update_own)
        new = torch.tanh(new_given + torch.sigmoid(reset_given + reset_own) * new_own)
        state = new + update * (state - new)
        states.append(state)
    return torch.stack(states, dim=1)


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
