"""Published checkpoints' names against the names used here, and a network from each of the four state dicts.

| part | its official names | wrappers taken off | here |
| --- | --- | --- | --- |
| pSp encoder | `input_layer.…`, `body.…`, `styles.…`, `latlayer…` | `encoder.` | `style_encoder.` |
| StyleGRU | `hidden_state`, `gru.…`, `bn.…` | `module.model.`, `module.` | `style_gru.` |
| stage 2, FTCN | `resnet.s1.…` to `resnet.s4.…`, `resnet.head.time_T.…`, `resnet.head.STA.…` | `module.`; `resnet.` may
  be absent | `content.`, `temporal_transformer.`, `style_attention.` |

What serving does not need is left out by the lists below, and only that: anything else without a place is refused. A
batch counter is left out beside a batch norm that the network has.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

import torch
from torch import Tensor, nn

from styleflow.components import CONTENT_ONLY, Component
from styleflow.errors import PackError
from styleflow.models.detector import StyleFlowDetector, skeleton
from styleflow.models.layout import Layout, described, entries, layout_of, listing
from styleflow.models.sizes import PAPER, DetectorSizes, StyleEncoderSizes
from styleflow.models.style_encoder import GradualStyleEncoder
from styleflow.models.style_gru import StyleGRU, StyleGRUClassifier

Network = TypeVar("Network", bound=nn.Module)

COUNTER = "num_batches_tracked"
"""Training counts batches in every batch norm; eval mode never reads it, so a network here begins at zero."""
COUNTED = "batch counters of training"


@dataclass(frozen=True, kw_only=True)
class PublishedPart:
    """One published file: how its names become ours."""

    title: str
    components: tuple[Component, ...]
    prefixes: Mapping[str, str]
    """Official prefix → ours; the first that fits counts."""
    wrappers: tuple[str, ...]
    ignored: Mapping[str, str] = field(default_factory=dict)
    """Official name → why serving does not need it."""
    beside: Mapping[str, str] = field(default_factory=dict)
    """Beginning of another network's names in the same file, outside the wrapper → why serving does not need it."""
    implied: str = ""
    """A beginning that a file may leave out."""

    def official(self, key: str) -> str:
        """A file's key without its wrapper, as the official layout has it."""
        wrapper = next((wrapper for wrapper in self.wrappers if key.startswith(wrapper)), "")
        name = key.removeprefix(wrapper)
        return name if name.startswith(self.implied) else self.implied + name

    def ours(self, name: str) -> str:
        """Our name for an official one; the name itself where no prefix fits."""
        prefix = next((prefix for prefix in self.prefixes if name.startswith(prefix)), None)
        return name if prefix is None else self.prefixes[prefix] + name.removeprefix(prefix)

    def published(self, name: str) -> str:
        """The official name for one of ours."""
        prefix, ours = next((there, here) for there, here in self.prefixes.items() if name.startswith(here))
        return prefix + name.removeprefix(ours)

    def reason_to_ignore(self, key: str) -> str | None:
        """Why serving does not need what a file holds under this key; None where it must have a place."""
        outside = key.removeprefix("module.")
        neighbour = next((reason for start, reason in self.beside.items() if outside.startswith(start)), None)
        return self.ignored.get(self.official(key), neighbour)


STYLE_ENCODER = PublishedPart(
    title="pSp encoder",
    components=("style_encoder",),
    prefixes={"": "style_encoder."},
    wrappers=("module.encoder.", "encoder.", "module."),
    beside={"decoder.": "StyleGAN2, which turns latents back into pictures"},
)
STAGE_ONE_HEAD = tuple(
    f"{layer}.{kind}" for layer in ("dense.1.fn.net.0", "dense.1.fn.net.3", "dense.3") for kind in ("weight", "bias")
)
STYLE_GRU = PublishedPart(
    title="StyleGRU",
    components=("style_gru",),
    prefixes={"": "style_gru."},
    wrappers=("module.model.", "module.", "model."),
    ignored=dict.fromkeys(STAGE_ONE_HEAD, "the head of stage 1"),
)
STAGE_TWO = PublishedPart(
    title="stage 2",
    components=("style_attention", "content", "temporal_transformer"),
    prefixes={
        "resnet.head.STA.": "style_attention.",
        "resnet.head.time_T.": "temporal_transformer.",
        "resnet.": "content.",
    },
    wrappers=("module.",),
    implied="resnet.",
)


@dataclass(frozen=True, kw_only=True)
class Match:
    """A file's entries against the expected layout. It fits when only `taken` and `ignored` hold anything."""

    taken: Mapping[str, str]
    """Our name → the file's key."""
    ignored: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Reason → the file's keys."""
    missing: tuple[str, ...] = ()
    """Official names that the file lacks."""
    left_over: tuple[str, ...] = ()
    """The file's keys that have no place."""
    unlike: tuple[str, ...] = ()
    """A sentence part for each entry of another shape or kind."""

    @property
    def problems(self) -> list[str]:
        """One sentence part each; empty when everything fits."""
        missing = [f"{name} is missing" for name in self.missing]
        return missing + [f"{key} is left over" for key in self.left_over] + list(self.unlike)


def match(part: PublishedPart, found: Layout, expected: Layout) -> Match:
    """Compare a file's keys and shapes with the parameters (our names) that the part must give."""
    wanted = {name: entry for name, entry in expected.items() if not name.endswith(COUNTER)}
    counted = set(expected.keys() - wanted.keys())
    taken: dict[str, str] = {}
    ignored: dict[str, tuple[str, ...]] = {}
    left_over, unlike = [], []
    for key, entry in found.items():
        ours = part.ours(part.official(key))
        reason = COUNTED if ours in counted else part.reason_to_ignore(key)
        if ours in wanted and ours not in taken:
            taken[ours] = key
            if entry != wanted[ours]:
                unlike.append(f"{key} is {described(entry)}, expected {described(wanted[ours])}")
        elif ours not in wanted and reason is not None:
            counted.discard(ours)
            ignored[reason] = (*ignored.get(reason, ()), key)
        else:
            left_over.append(key)
    missing = tuple(part.published(name) for name in wanted if name not in taken)
    return Match(taken=taken, ignored=ignored, missing=missing, left_over=tuple(left_over), unlike=tuple(unlike))


def load_style_encoder(
    state: Mapping[str, Tensor], sizes: StyleEncoderSizes = PAPER.style_encoder
) -> GradualStyleEncoder:
    """pSp's encoder from its state dict, `encoder.` before the names or not; `decoder.` entries are ignored.

    The network takes crops [N,3,R,R] RGB in [-1,1] and gives latents [N,styles,width] (paper: 256 px, 18x512; the
    average latent not added). As for all loaders here: float32, eval mode, no gradients, and the parameters share the
    caller's memory where that is float32, but are parameters of their own. Raises PackError with `differences` where
    the state dict does not fit, or is none.
    """
    return _filled(lambda: GradualStyleEncoder(sizes), STYLE_ENCODER, state, "style_encoder.")


def load_style_gru(state: Mapping[str, Tensor]) -> StyleGRU:
    """StyleGRU as it is served, without the head of stage 1, which is ignored; sizes are read off the shapes.

    The network takes style flow [B,T,D] (paper: 31 steps of 9216) and gives the embedding [B,E] (16384).
    """
    _refuse_no_state_dict(STYLE_GRU, state)
    sizes = _gru_sizes(state)
    return _filled(lambda: StyleGRU(**sizes), STYLE_GRU, state, "style_gru.")


def load_style_gru_classifier(state: Mapping[str, Tensor]) -> StyleGRUClassifier:
    """StyleGRU with the head of stage 1: [B,T,D] -> (logit [B,1], embedding [B,E])."""
    _refuse_no_state_dict(STYLE_GRU, state)
    head = _shape(state, STYLE_GRU, "dense.1.fn.net.0.weight", dimensions=2)
    sizes = _gru_sizes(state)
    return _filled(lambda: StyleGRUClassifier(**sizes, head_hidden=head[0]), STYLE_GRU, state, "style_gru.")


def load_ftcn(state: Mapping[str, Tensor], sizes: DetectorSizes = PAPER) -> StyleFlowDetector:
    """The fully temporal ResNet and the temporal transformer: FTCN, or a StyleFlow stage 2 without style attention.

    `network.content` takes a clip [B,3,T,S,S], ImageNet-normalised RGB, and gives tokens [B,T/2,C];
    `network.temporal_transformer` takes tokens and gives (logit [B,1], cls attention [B,T/2]).
    """
    return _filled(lambda: StyleFlowDetector(sizes, CONTENT_ONLY), STAGE_TWO, state)


def load_stage_two(state: Mapping[str, Tensor], sizes: DetectorSizes = PAPER) -> StyleFlowDetector:
    """FTCN with style attention: as `load_ftcn`, and `network.fuse(tokens, embedding)` in between.

    That takes tokens [B,N,C] and a StyleGRU's embedding [B,E] and gives (fused tokens [B,N,C], attention [B,N,M]).
    """
    return _filled(lambda: StyleFlowDetector(sizes, STAGE_TWO.components), STAGE_TWO, state)


def expected_layout(sizes: DetectorSizes, components: tuple[Component, ...]) -> Layout:
    """What a pack of these components holds, by our names."""
    return layout_of(skeleton(sizes, components))


def unfit(title: str, problems: list[str]) -> PackError:
    """The refusal, which names the first differences in its message and all of them in its details."""
    return PackError(f"{title} does not fit: {listing(problems)}.", differences=problems)


def gru_width(part_keys: Layout) -> int | None:
    """Width of the flow that a StyleGRU reads, from its file; None where the file does not say."""
    for key, (_, shape) in part_keys.items():
        if STYLE_GRU.official(key) == "gru.weight_ih_l0" and len(shape) == 2:
            return shape[1]
    return None


def counters(expected: Layout) -> dict[str, Tensor]:
    """The batch counters that serving does not read, at zero."""
    return {name: torch.zeros(shape, dtype=torch.int64) for name, (_, shape) in expected.items() if COUNTER in name}


def _filled(
    build: Callable[[], Network], part: PublishedPart, state: Mapping[str, Tensor], prefix: str = ""
) -> Network:
    _refuse_no_state_dict(part, state)
    with torch.device("meta"):
        network = build()
    expected = {prefix + name: entry for name, entry in layout_of(network).items()}
    found = match(part, entries(state), expected)
    if found.problems:
        raise unfit(f"The {part.title}'s state dict", found.problems)
    values = {name: state[key].detach().to(torch.float32) for name, key in found.taken.items()} | counters(expected)
    network.load_state_dict({name.removeprefix(prefix): value for name, value in values.items()}, assign=True)
    return network.eval().requires_grad_(False)


def _refuse_no_state_dict(part: PublishedPart, state: object) -> None:
    """From Python anything can be given, whatever the annotations say."""
    if not isinstance(state, Mapping):
        raise unfit(f"The {part.title}'s state dict", [f"it is no mapping but {type(state).__name__}"])
    unnamed = [f"the key {key!r:.60} is no name" for key in state if not isinstance(key, str)]
    strange = [f"{key} is no tensor" for key, value in state.items() if not isinstance(value, Tensor)]
    if unnamed or strange:
        raise unfit(f"The {part.title}'s state dict", unnamed + strange)


def _gru_sizes(state: Mapping[str, Tensor]) -> dict[str, int]:
    gates, features = _shape(state, STYLE_GRU, "gru.weight_ih_l0", dimensions=2)
    (steps,) = _shape(state, STYLE_GRU, "bn.weight", dimensions=1)
    layers = sum(bool(re.fullmatch(r"gru\.weight_ih_l\d+", STYLE_GRU.official(key))) for key in state)
    return {"features": features, "hidden": max(1, gates // 3), "steps": steps, "layers": layers}


def _shape(state: Mapping[str, Tensor], part: PublishedPart, name: str, *, dimensions: int) -> tuple[int, ...]:
    for key, tensor in state.items():
        if part.official(key) == name and tensor.dim() == dimensions and tensor.numel():
            return tuple(tensor.shape)
    problem = f"{name} is missing, or has not {dimensions} dimensions, or has no values"
    raise unfit(f"The {part.title}'s state dict", [problem])
