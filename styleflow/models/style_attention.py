"""Style attention (STA): content and style tokens meet (StyleFlow, CVPR 2024, stage 2).

Parameter names are those of the published stage-2 checkpoint without their `resnet.head.STA.` prefix.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from styleflow.models.sizes import StyleAttentionRoles

HEADS: dict[StyleAttentionRoles, int] = {
    "content_query": 1,
    "style_value": 1,
    "style_query": 1,
    "style_query_two_heads": 2,
}


class StyleAttention(nn.Module):
    """Residual attention onto the content: fused = content + lp(attention(Q, K) V).

    content [B,N,C], style [B,M,C] -> (fused [B,N,C], attention [B,queries,keys], whose rows sum to 1; with two
    heads their mean). Paper: N = M = 16, C = 1024. `lp` begins at zero, so that training begins at the content-only
    network. The roles mean exactly what they say, and what is added always goes onto the content:

    | roles | Q | K | V | heads |
    | --- | --- | --- | --- | --- |
    | `content_query` | content | style | style | 1 |
    | `style_value` | content | content | style | 1 |
    | `style_query` | style | style | content | 1 |
    | `style_query_two_heads` | style | style | content | 2 of C/2 |

    The first is the published network's; the others are variants that its authors tried, and need M = N.
    """

    def __init__(self, width: int, roles: StyleAttentionRoles = "content_query") -> None:
        super().__init__()
        self.w_q = nn.Linear(width, width)
        self.w_k = nn.Linear(width, width)
        self.w_v = nn.Linear(width, width)
        self.lp = nn.Linear(width, width)
        self.add_nothing()
        self.roles = roles
        self.heads = HEADS[roles]
        self.scale = 1 / math.sqrt(width // self.heads)

    def add_nothing(self) -> None:
        """Set `lp` to zero: what comes out is the content, whatever the style."""
        nn.init.zeros_(self.lp.weight)
        nn.init.zeros_(self.lp.bias)

    def forward(self, content: Tensor, style: Tensor) -> tuple[Tensor, Tensor]:
        query, key, value = self._by_role(content, style)
        query, key, value = self._split(self.w_q(query)), self._split(self.w_k(key)), self._split(self.w_v(value))
        attention = torch.softmax(query @ key.transpose(2, 3) * self.scale, dim=-1)
        answer = (attention @ value).transpose(1, 2).flatten(2)
        return content + self.lp(answer), attention.mean(dim=1)

    def _by_role(self, content: Tensor, style: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        if self.roles == "content_query":
            return content, style, style
        return (content, content, style) if self.roles == "style_value" else (style, style, content)

    def _split(self, tokens: Tensor) -> Tensor:
        """[B,N,C] -> [B,heads,N,C/heads]."""
        return tokens.reshape(*tokens.shape[:2], self.heads, -1).transpose(1, 2)
