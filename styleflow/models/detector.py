"""The whole network: a clip's content and its style flow become one logit."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from styleflow.components import COMPONENTS, CONTENT_ONLY, Component
from styleflow.models.content import ContentNetwork
from styleflow.models.fused_style_encoder import FusedStyleEncoder
from styleflow.models.mobile_content import MobileContentNetwork
from styleflow.models.sizes import COMPACT, PAPER, SMALL, ContentSizes, DetectorSizes, MobileContentSizes
from styleflow.models.style_attention import StyleAttention
from styleflow.models.style_encoder import GradualStyleEncoder
from styleflow.models.style_gru import StyleGRU
from styleflow.models.temporal_transformer import TimeTransformer

__all__ = ["COMPACT", "PAPER", "SMALL", "ClipOutput", "DetectorSizes", "StyleFlowDetector", "skeleton"]


@dataclass(frozen=True)
class ClipOutput:
    """What the network says about B clips of T frames. All float32."""

    logit: Tensor
    """[B], unbounded, uncalibrated; larger means more likely manipulated."""
    flow_norms: Tensor
    """[B,T-1,3], >= 0: L2 norm of the style flow at each step, for coarse, middle and fine styles; NaN for a
    level that the network does not compute."""
    attention: Tensor
    """[B,T] in 0..1: the cls attention over content tokens, each token's weight standing at both its frames."""


class StyleFlowDetector(nn.Module):
    """StyleFlow (Choi et al., CVPR 2024): style encoder, StyleGRU, content network, style attention, transformer.

    Of these only `components` are built. Without the style branch (`components.CONTENT_ONLY`) it is FTCN, where the
    content network is FTCN's: the style input is not looked at, and no flow norm is known.
    """

    def __init__(self, sizes: DetectorSizes, components: Collection[Component] = COMPONENTS) -> None:
        super().__init__()
        self.sizes = sizes
        self.has_style_branch = set(components) != set(CONTENT_ONLY)
        if "style_encoder" in components:
            self.style_encoder: GradualStyleEncoder | FusedStyleEncoder = GradualStyleEncoder(sizes.style_encoder)
        if "style_gru" in components:
            self.style_gru = StyleGRU(
                features=sizes.flow_features,
                hidden=sizes.style_gru.hidden,
                steps=sizes.flow_steps,
                layers=sizes.style_gru.layers,
            )
        self.content = _content_network(sizes.content)
        if "style_attention" in components:
            self.style_attention = StyleAttention(sizes.content.width, sizes.style_attention)
        self.temporal_transformer = TimeTransformer(
            tokens=sizes.content_tokens, width=sizes.content.width, sizes=sizes.transformer
        )

    def forward(self, content: Tensor, style: Tensor) -> ClipOutput:
        """content [B,3,T,S,S] RGB, normalised as `sizes.content` says; style [B,T,3,R,R] RGB in [-1,1]. Any float.

        Each branch computes in the precision of its convolutions; what joins them is float32 (precision.py).
        """
        tokens = self.content(_as_read_by(self.content, content))
        if not self.has_style_branch:
            return self._judge(tokens, style.new_full((*style.shape[:1], self.sizes.flow_steps, 3), torch.nan))
        flow = self.style_flow(style)
        fused, _ = self.fuse(tokens, self.style_gru(flow.flatten(2)))
        return self._judge(fused, self.flow_norms(flow))

    def _judge(self, tokens: Tensor, flow_norms: Tensor) -> ClipOutput:
        """Tokens [B,N,C] and flow norms [B,T-1,3] -> the output."""
        logit, attention = self.temporal_transformer(tokens)
        frames_per_token = self.sizes.clip_frames // self.sizes.content_tokens
        return ClipOutput(
            logit=logit.squeeze(1),
            flow_norms=flow_norms.float(),
            attention=attention.repeat_interleave(frames_per_token, dim=1),
        )

    def style_flow(self, style: Tensor) -> Tensor:
        """[B,T,3,R,R] in [-1,1] -> [B,T-1,styles,width], float32: the change of each style from frame to frame."""
        batch, frames = style.shape[:2]
        crops = _as_read_by(self.style_encoder, style.flatten(0, 1))
        latents = self.style_encoder(crops, self.sizes.style_gru.level)
        return torch.diff(latents.float().view(batch, frames, *latents.shape[1:]), dim=1)

    def flow_norms(self, flow: Tensor) -> Tensor:
        """[B,T-1,styles,width] -> [B,T-1,3]: coarse, middle, fine."""
        read = self.sizes.style_encoder.read_by(self.sizes.style_gru.level)
        missing = flow.new_full(flow.shape[:2], torch.nan)
        norms = [
            flow[:, :, level.start - read.start : level.stop - read.start].flatten(2).norm(dim=2)
            if read.start <= level.start and level.stop <= read.stop
            else missing
            for level in self.sizes.style_encoder.levels()
        ]
        return torch.stack(norms, dim=2)

    def fuse(self, tokens: Tensor, embedding: Tensor) -> tuple[Tensor, Tensor]:
        """tokens [B,N,C], embedding [B,M*C] -> (fused [B,N,C], attention [B,N,M])."""
        fused, attention = self.style_attention(tokens, embedding.view(len(embedding), -1, tokens.shape[2]))
        return fused, attention


def _content_network(sizes: ContentSizes | MobileContentSizes) -> ContentNetwork | MobileContentNetwork:
    return ContentNetwork(sizes) if isinstance(sizes, ContentSizes) else MobileContentNetwork(sizes)


def _as_read_by(branch: nn.Module, pictures: Tensor) -> Tensor:
    convolution = next(module for module in branch.modules() if isinstance(module, nn.Conv2d | nn.Conv3d))
    return pictures.to(convolution.weight.dtype)


def skeleton(sizes: DetectorSizes, components: Collection[Component] = COMPONENTS) -> StyleFlowDetector:
    """The network without memory for its parameters (on torch's `meta` device)."""
    with torch.device("meta"):
        return StyleFlowDetector(sizes, components)
