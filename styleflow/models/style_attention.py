"""Style attention (STA): content tokens ask, style tokens answer (StyleFlow, CVPR 2024, stage 2).

Parameter names are those of the published stage-2 checkpoint without their `resnet.head.STA.` prefix.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class StyleAttention(nn.Module):
    """Residual single-head cross-attention: Q = content, K = V = style.

    content [B,N,C], style [B,M,C] -> (fused [B,N,C], attention [B,N,M], whose rows sum to 1). The projection
    `lp` begins at zero, so that training begins at the content-only network. Paper: N = M = 16, C = 1024.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.w_q = nn.Linear(width, width)
        self.w_k = nn.Linear(width, width)
        self.w_v = nn.Linear(width, width)
        self.lp = nn.Linear(width, width)
        nn.init.zeros_(self.lp.weight)
        self.scale = 1 / math.sqrt(width)

    def forward(self, content: Tensor, style: Tensor) -> tuple[Tensor, Tensor]:
        similarity = self.w_q(content) @ self.w_k(style).transpose(1, 2) * self.scale
        attention = torch.softmax(similarity, dim=-1)
        return content + self.lp(attention @ self.w_v(style)), attention
