"""Temporal transformer and head: tokens over time become one logit (FTCN, ICCV 2021).

Pre-norm, learned positions, cls pooling. Parameter names are those of the published checkpoint without their
`resnet.head.time_T.` prefix; the nesting below (`0.fn.fn.to_qkv`) is theirs.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from styleflow.models.sizes import TransformerSizes

DROPOUT = 0.1


class SelfAttention(nn.Module):
    """[B,N,C] -> (output [B,N,C], weights [B,heads,N,N], whose rows sum to 1)."""

    def __init__(self, width: int, heads: int, head_width: int) -> None:
        super().__init__()
        self.heads = heads
        self.scale = 1 / math.sqrt(head_width)
        self.to_qkv = nn.Linear(width, 3 * heads * head_width, bias=False)
        self.to_out = nn.Sequential(nn.Linear(heads * head_width, width), nn.Dropout(DROPOUT))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        query, key, value = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in self.to_qkv(x).chunk(3, dim=-1)
        )
        weights = torch.softmax(query @ key.transpose(-2, -1) * self.scale, dim=-1)
        return self.to_out((weights @ value).transpose(1, 2).flatten(2)), weights


class FeedForward(nn.Module):
    """[B,N,C] -> [B,N,C]."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(width, hidden),
            nn.GELU(),
            nn.Dropout(DROPOUT),
            nn.Linear(hidden, width),
            nn.Dropout(DROPOUT),
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.as_tensor(self.net(x))


class AttentionBranch(nn.Module):
    """Norm, then self-attention; the caller adds the residual. Output as SelfAttention."""

    def __init__(self, width: int, sizes: TransformerSizes) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.fn = SelfAttention(width, sizes.heads, sizes.head_width)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        output, weights = self.fn(self.norm(x))
        return output, weights


class FeedForwardBranch(nn.Module):
    """Norm, then feed-forward; the caller adds the residual. [B,N,C] -> [B,N,C]."""

    def __init__(self, width: int, sizes: TransformerSizes) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.fn = FeedForward(width, sizes.mlp)

    def forward(self, x: Tensor) -> Tensor:
        return torch.as_tensor(self.fn(self.norm(x)))


class AttentionResidual(nn.Module):
    """x + attention(norm(x)). [B,N,C] -> ([B,N,C], weights [B,heads,N,N])."""

    def __init__(self, width: int, sizes: TransformerSizes) -> None:
        super().__init__()
        self.fn = AttentionBranch(width, sizes)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        output, weights = self.fn(x)
        return x + output, weights


class FeedForwardResidual(nn.Module):
    """x + feed_forward(norm(x)). [B,N,C] -> [B,N,C]."""

    def __init__(self, width: int, sizes: TransformerSizes) -> None:
        super().__init__()
        self.fn = FeedForwardBranch(width, sizes)

    def forward(self, x: Tensor) -> Tensor:
        return torch.add(x, self.fn(x))


class TransformerLayer(nn.ModuleList):
    """Attention, then feed-forward. A list, because the published names number the two."""

    def __init__(self, width: int, sizes: TransformerSizes) -> None:
        super().__init__([AttentionResidual(width, sizes), FeedForwardResidual(width, sizes)])

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """[B,N,C] -> ([B,N,C], weights [B,heads,N,N])."""
        attend, feed_forward = self
        x, weights = attend(x)
        return feed_forward(x), weights


class Transformer(nn.Module):
    """[B,N,C] -> ([B,N,C], the last layer's weights [B,heads,N,N])."""

    def __init__(self, width: int, sizes: TransformerSizes) -> None:
        super().__init__()
        self.layers = nn.ModuleList(TransformerLayer(width, sizes) for _ in range(sizes.depth))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        weights = x.new_empty(0)
        for layer in self.layers:
            x, weights = layer(x)
        return x, weights


class TimeTransformer(nn.Module):
    """[B,N,C] tokens -> (logit [B,1], cls attention [B,N]).

    The attention is what the cls token gives to each token in the last layer, averaged over heads: each >= 0, their
    sum <= 1, what is missing to 1 being the cls token's attention to itself. Paper: N=16, C=1024.
    """

    def __init__(self, *, tokens: int, width: int, sizes: TransformerSizes) -> None:
        super().__init__()
        self.pos_embedding = nn.Parameter(torch.randn(1, tokens + 1, width))
        self.cls_token = nn.Parameter(torch.randn(1, 1, width))
        self.dropout = nn.Dropout(DROPOUT)
        self.transformer = Transformer(width, sizes)
        self.mlp_head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 1))

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        cls = self.cls_token.expand(tokens.shape[0], -1, -1)
        x = torch.cat([cls, tokens], dim=1) + self.pos_embedding
        x, weights = self.transformer(self.dropout(x))
        return self.mlp_head(x[:, 0]), weights[:, :, 0, 1:].mean(dim=1)
