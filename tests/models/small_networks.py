"""Networks small enough to be built in a test: the same classes, other sizes."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from styleflow.models.detector import DetectorSizes, StyleFlowDetector
from styleflow.models.sizes import (
    ContentSizes,
    FlowLevel,
    MobileContentSizes,
    StyleEncoderSizes,
    StyleGRUSizes,
    TransformerSizes,
)
from tests.models.named_values import filled, shapes_of

TINY = DetectorSizes(
    style_encoder=StyleEncoderSizes(
        input_size=32, depths=(1, 1, 1, 1), channels=(4, 4, 6, 8), style_width=6, styles_per_level=(2, 1, 3)
    ),
    style_gru=StyleGRUSizes(hidden=8),
    content=ContentSizes(input_size=32, stem=4, inner=(2, 3, 4), depths=(1, 2, 2)),
    transformer=TransformerSizes(heads=2, head_width=5, mlp=12),
    clip_frames=8,
)

TINY_MOBILE = dataclasses.replace(TINY, content=MobileContentSizes(input_size=32, width=16))
"""TINY with the other backbone, whose trunk has one size only."""


def tiny(level: FlowLevel = "total") -> DetectorSizes:
    return dataclasses.replace(TINY, style_gru=dataclasses.replace(TINY.style_gru, level=level))


def filled_detector(sizes: DetectorSizes = TINY) -> StyleFlowDetector:
    """In eval mode, every parameter non-zero."""
    network = StyleFlowDetector(sizes)
    network.load_state_dict(filled(shapes_of(network)))
    return network.eval().requires_grad_(False)


def random_clips(sizes: DetectorSizes, clips: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """(content [B,3,T,S,S], style [B,T,3,R,R] in -1..1)."""
    generator = torch.Generator().manual_seed(seed)
    content_side, style_side = sizes.content.input_size, sizes.style_encoder.input_size
    content = torch.randn(clips, 3, sizes.clip_frames, content_side, content_side, generator=generator)
    style = torch.rand(clips, sizes.clip_frames, 3, style_side, style_side, generator=generator) * 2 - 1
    return content, style
