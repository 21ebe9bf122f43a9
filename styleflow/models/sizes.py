"""Every size of every part of the network, as one frozen value that is stored in a pack's card. No torch here.

The standard library only: who trains has torch, and not what the service needs. Every number is positive.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar, Literal, Self

from styleflow.models.strict_reading import read

FlowLevel = Literal["coarse", "middle", "fine", "middle+", "coarse+", "total"]

StyleAttentionRoles = Literal["content_query", "style_value", "style_query", "style_query_two_heads"]
"""Who asks, who is asked and who answers in the style attention: docs/concepts/weights.md has the table."""

Triple = tuple[float, float, float]

GREATEST_SIDE = 1024
"""Pixels. No shape of a parameter depends on an input's side: nothing else keeps a card from asking for terabytes."""


@dataclass(frozen=True, kw_only=True)
class StyleEncoderSizes:
    """GradualStyleEncoder. The four groups of its body halve the image each: maps of 1/2, 1/4, 1/8 and 1/16."""

    input_size: int
    """Side of the square input in pixels, a power of two from 32."""
    depths: tuple[int, int, int, int]
    """Bottleneck units per group."""
    channels: tuple[int, int, int, int]
    """Channels per group; the last is the width of the feature pyramid too."""
    style_width: int
    """Length of one style vector."""
    styles_per_level: tuple[int, int, int] = (3, 4, 11)
    """Coarse, middle, fine."""

    def __post_init__(self) -> None:
        if not 32 <= self.input_size <= GREATEST_SIDE or self.input_size & (self.input_size - 1):
            raise ValueError(
                f"the style input's side must be a power of two from 32 to {GREATEST_SIDE}, not {self.input_size}"
            )

    @property
    def styles(self) -> int:
        return sum(self.styles_per_level)

    def levels(self) -> tuple[slice, slice, slice]:
        """Which styles are coarse, middle and fine."""
        coarse, middle, fine = self.styles_per_level
        return slice(0, coarse), slice(coarse, coarse + middle), slice(coarse + middle, coarse + middle + fine)

    def read_by(self, level: FlowLevel) -> slice:
        """The styles that a StyleGRU of this level reads."""
        coarse, middle, fine = self.levels()
        return {
            "coarse": coarse,
            "middle": middle,
            "fine": fine,
            "coarse+": slice(coarse.start, middle.stop),
            "middle+": slice(middle.start, fine.stop),
            "total": slice(coarse.start, fine.stop),
        }[level]


@dataclass(frozen=True, kw_only=True)
class StyleGRUSizes:
    """StyleGRU: bidirectional, over clip_frames - 1 steps."""

    level: FlowLevel = "total"
    hidden: int
    layers: int = 2

    @property
    def embedding(self) -> int:
        """Both directions' last hidden states of every layer, side by side."""
        return 2 * self.layers * self.hidden


@dataclass(frozen=True, kw_only=True)
class ContentSizes:
    """Fully temporal 3D ResNet up to res4. A stage's output is `4 * inner` wide; frames are halved after res2."""

    mean: ClassVar[Triple] = (0.485, 0.456, 0.406)
    std: ClassVar[Triple] = (0.229, 0.224, 0.225)
    """Of the input's RGB in 0..1: ImageNet's."""

    backbone: Literal["fully_temporal_resnet"] = "fully_temporal_resnet"
    input_size: int
    """Side of the square input in pixels, a multiple of 16."""
    stem: int
    inner: tuple[int, int, int]
    """Bottleneck channels of res2, res3 and res4."""
    depths: tuple[int, int, int] = (3, 4, 6)

    def __post_init__(self) -> None:
        _refuse_uneven(self.input_size)

    @property
    def width(self) -> int:
        """Channels of a content token."""
        return 4 * self.inner[-1]


@dataclass(frozen=True, kw_only=True)
class MobileContentSizes:
    """MobileNetV2 up to a sixteenth of the side, on every second frame, and a projection to tokens."""

    mean: ClassVar[Triple] = (0.5, 0.5, 0.5)
    std: ClassVar[Triple] = (0.5, 0.5, 0.5)
    """Of the input's RGB in 0..1, so that the network sees -1..1."""

    backbone: Literal["mobilenet_v2"] = "mobilenet_v2"
    input_size: int
    """Side of the square input in pixels, a multiple of 16."""
    width: int
    """Channels of a content token."""

    def __post_init__(self) -> None:
        _refuse_uneven(self.input_size)


def _refuse_uneven(input_size: int) -> None:
    if not 16 <= input_size <= GREATEST_SIDE or input_size % 16:
        raise ValueError(f"the content input's side must be a multiple of 16 up to {GREATEST_SIDE}, not {input_size}")


@dataclass(frozen=True, kw_only=True)
class TransformerSizes:
    """Temporal transformer over the content tokens and one cls token."""

    heads: int
    head_width: int
    mlp: int
    depth: int = 1


@dataclass(frozen=True, kw_only=True)
class DetectorSizes:
    """The whole network. Raises ValueError where the parts do not fit each other."""

    style_encoder: StyleEncoderSizes
    style_gru: StyleGRUSizes
    content: ContentSizes | MobileContentSizes
    transformer: TransformerSizes
    clip_frames: int = 32
    style_attention: StyleAttentionRoles = "content_query"

    def __post_init__(self) -> None:
        if self.clip_frames < 2 or self.clip_frames % 2:
            raise ValueError(f"a clip must have an even number of frames, not {self.clip_frames}")
        if self.style_gru.embedding % self.content.width:
            raise ValueError(
                f"the style embedding ({self.style_gru.embedding}) must split into tokens as wide as "
                f"the content's ({self.content.width})"
            )
        if self.style_attention != "content_query" and self.style_tokens != self.content_tokens:
            raise ValueError(
                f"the style attention {self.style_attention} needs as many style tokens ({self.style_tokens}) "
                f"as content tokens ({self.content_tokens})"
            )
        if self.flow_features % 2:
            raise ValueError("the style flow's width must be even: latent dropout drops its halves together")

    @property
    def flow_steps(self) -> int:
        return self.clip_frames - 1

    @property
    def flow_features(self) -> int:
        """Width of the flow that the StyleGRU reads."""
        read = self.style_encoder.read_by(self.style_gru.level)
        return int(read.stop - read.start) * self.style_encoder.style_width

    @property
    def content_tokens(self) -> int:
        return self.clip_frames // 2

    @property
    def style_tokens(self) -> int:
        """Slices of the style embedding that are as wide as a content token; no time steps."""
        return self.style_gru.embedding // self.content.width

    def to_json(self) -> dict[str, Any]:
        return dict(json.loads(json.dumps(asdict(self))))

    @classmethod
    def from_json(cls, value: object) -> Self:
        """Cards from before there was a choice of backbones mean the ResNet.

        Raises ValueError, which names the field, when the value does not describe a network.
        """
        return read(cls, value)


PAPER = DetectorSizes(
    style_encoder=StyleEncoderSizes(
        input_size=256, depths=(3, 4, 14, 3), channels=(64, 128, 256, 512), style_width=512
    ),
    style_gru=StyleGRUSizes(hidden=4096),
    content=ContentSizes(input_size=224, stem=64, inner=(64, 128, 256)),
    transformer=TransformerSizes(heads=16, head_width=64, mlp=2048),
)

SMALL = DetectorSizes(
    style_encoder=StyleEncoderSizes(input_size=64, depths=(2, 2, 4, 2), channels=(16, 24, 40, 64), style_width=48),
    style_gru=StyleGRUSizes(hidden=128),
    content=ContentSizes(input_size=112, stem=16, inner=(12, 20, 32)),
    transformer=TransformerSizes(heads=4, head_width=32, mlp=256),
)
"""The paper's architecture in small: it takes what the published layouts hold."""

COMPACT = replace(SMALL, content=MobileContentSizes(input_size=192, width=128))
"""What can be trained on few videos: its content branch begins at ImageNet weights. It has no published layout."""

SIZES: dict[str, DetectorSizes] = {"compact": COMPACT, "small": SMALL, "paper": PAPER}


def size_name(sizes: DetectorSizes) -> Literal["compact", "small", "paper", "custom"]:
    """The word for these sizes in a card; the level and the style attention's roles are not part of it."""
    plain = replace(sizes, style_gru=replace(sizes.style_gru, level="total"), style_attention="content_query")
    if plain == COMPACT:
        return "compact"
    if plain == SMALL:
        return "small"
    return "paper" if plain == PAPER else "custom"
