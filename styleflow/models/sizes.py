"""Every size of every part of the network, as one frozen value that is stored in a pack's card. No torch here."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal, Self

from pydantic import ConfigDict, PositiveInt, TypeAdapter, with_config

FlowLevel = Literal["coarse", "middle", "fine", "middle+", "coarse+", "total"]

StyleAttentionRoles = Literal["content_query", "style_value", "style_query", "style_query_two_heads"]
"""Who asks, who is asked and who answers in the style attention: docs/concepts/weights.md has the table."""

_NO_OTHER_FIELDS = ConfigDict(extra="forbid")


@with_config(_NO_OTHER_FIELDS)
@dataclass(frozen=True, kw_only=True)
class StyleEncoderSizes:
    """GradualStyleEncoder. The four groups of its body halve the image each: maps of 1/2, 1/4, 1/8 and 1/16."""

    input_size: PositiveInt
    """Side of the square input in pixels, a power of two from 32."""
    depths: tuple[PositiveInt, PositiveInt, PositiveInt, PositiveInt]
    """Bottleneck units per group."""
    channels: tuple[PositiveInt, PositiveInt, PositiveInt, PositiveInt]
    """Channels per group; the last is the width of the feature pyramid too."""
    style_width: PositiveInt
    """Length of one style vector."""
    styles_per_level: tuple[PositiveInt, PositiveInt, PositiveInt] = (3, 4, 11)
    """Coarse, middle, fine."""

    def __post_init__(self) -> None:
        if self.input_size < 32 or self.input_size & (self.input_size - 1):
            raise ValueError(f"the style input's side must be a power of two from 32, not {self.input_size}")

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


@with_config(_NO_OTHER_FIELDS)
@dataclass(frozen=True, kw_only=True)
class StyleGRUSizes:
    """StyleGRU: bidirectional, over clip_frames - 1 steps."""

    level: FlowLevel = "total"
    hidden: PositiveInt
    layers: PositiveInt = 2

    @property
    def embedding(self) -> int:
        """Both directions' last hidden states of every layer, side by side."""
        return 2 * self.layers * self.hidden


@with_config(_NO_OTHER_FIELDS)
@dataclass(frozen=True, kw_only=True)
class ContentSizes:
    """Fully temporal 3D ResNet up to res4. A stage's output is `4 * inner` wide; frames are halved after res2."""

    input_size: PositiveInt
    """Side of the square input in pixels, a multiple of 16."""
    stem: PositiveInt
    inner: tuple[PositiveInt, PositiveInt, PositiveInt]
    """Bottleneck channels of res2, res3 and res4."""
    depths: tuple[PositiveInt, PositiveInt, PositiveInt] = (3, 4, 6)

    def __post_init__(self) -> None:
        if self.input_size < 16 or self.input_size % 16:
            raise ValueError(f"the content input's side must be a multiple of 16, not {self.input_size}")

    @property
    def width(self) -> int:
        """Channels of a content token."""
        return 4 * self.inner[-1]


@with_config(_NO_OTHER_FIELDS)
@dataclass(frozen=True, kw_only=True)
class TransformerSizes:
    """Temporal transformer over the content tokens and one cls token."""

    heads: PositiveInt
    head_width: PositiveInt
    mlp: PositiveInt
    depth: PositiveInt = 1


@with_config(_NO_OTHER_FIELDS)
@dataclass(frozen=True, kw_only=True)
class DetectorSizes:
    """The whole network. Raises ValueError where the parts do not fit each other."""

    style_encoder: StyleEncoderSizes
    style_gru: StyleGRUSizes
    content: ContentSizes
    transformer: TransformerSizes
    clip_frames: PositiveInt = 32
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
        return dict(_ADAPTER.dump_python(self, mode="json"))

    @classmethod
    def from_json(cls, value: object) -> Self:
        """Raises pydantic.ValidationError (a ValueError) when the value does not describe a network."""
        return cls(**vars(_ADAPTER.validate_python(value)))


_ADAPTER: TypeAdapter[DetectorSizes] = TypeAdapter(DetectorSizes)

PAPER = DetectorSizes(
    style_encoder=StyleEncoderSizes(
        input_size=256, depths=(3, 4, 14, 3), channels=(64, 128, 256, 512), style_width=512
    ),
    style_gru=StyleGRUSizes(hidden=4096),
    content=ContentSizes(input_size=224, stem=64, inner=(64, 128, 256)),
    transformer=TransformerSizes(heads=16, head_width=64, mlp=2048),
)

COMPACT = DetectorSizes(
    style_encoder=StyleEncoderSizes(input_size=64, depths=(2, 2, 4, 2), channels=(16, 24, 40, 64), style_width=48),
    style_gru=StyleGRUSizes(hidden=128),
    content=ContentSizes(input_size=112, stem=16, inner=(12, 20, 32)),
    transformer=TransformerSizes(heads=4, head_width=32, mlp=256),
)

SIZES: dict[str, DetectorSizes] = {"compact": COMPACT, "paper": PAPER}


def size_name(sizes: DetectorSizes) -> Literal["compact", "paper", "custom"]:
    """The word for these sizes in a card; the level and the style attention's roles are not part of it."""
    plain = replace(sizes, style_gru=replace(sizes.style_gru, level="total"), style_attention="content_query")
    if plain == COMPACT:
        return "compact"
    return "paper" if plain == PAPER else "custom"
