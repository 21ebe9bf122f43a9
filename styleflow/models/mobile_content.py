"""A compact content branch: MobileNetV2's first fourteen blocks on every second frame (Sandler et al., CVPR 2018).

The trunk has the form in which its batch norms are folded: convolutions with a bias, ReLU6, nothing else, padded as
TensorFlow's `SAME` pads. Its parameters are those of a file of folded ImageNet weights, `conv00` to `conv39`, where
they are taken from when a training begins.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from styleflow.errors import PackError
from styleflow.models.layout import differences, entries, layout_of, listing
from styleflow.models.sizes import MobileContentSizes

FRAME_STEP: Final = 2
STEM: Final = 32
GROUPS: Final = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1))
"""Of inverted-residual blocks: expansion, channels, how many, stride of the first."""
EXPANDED: Final = 6 * 96
"""Channels of the last convolution here, the expansion of block 14, whose side is a sixteenth of the input's."""
WHOLE_NETWORK: Final = 53
"""Convolutions of MobileNetV2 with its classifier: a file of all of them is welcome."""
BYTES_AT_ONCE: Final = {"cpu": 16 << 20, "cuda": 4 << 30}
"""Size of the widest map that is computed at once: small enough for a CPU's cache."""
EARLY_LAYERS: Final = 9
"""Convolutions up to the end of block 3, a quarter of the side."""
LEAST_VARIANCE: Final = 1e-4
"""Keeps the slope of a standard deviation finite where a map is the same everywhere."""


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One convolution of the trunk."""

    name: str
    channels_in: int
    channels: int
    kernel: int = 1
    stride: int = 1
    depthwise: bool = False
    rectified: bool = True
    """By ReLU6 behind it; a block's last convolution is not."""
    closes_residual: bool = False
    """Its output is added to what entered the block."""

    @property
    def opens_block(self) -> bool:
        return self.kernel == 1 and self.rectified


def _layers() -> Iterator[Layer]:
    """Of the trunk, in order."""
    yield Layer(name="conv00", channels_in=3, channels=STEM, kernel=3, stride=2)
    number, channels_in = 1, STEM
    for expansion, channels, count, first_stride in GROUPS:
        for stride in (first_stride, *[1] * (count - 1)):
            inner = channels_in * expansion
            if expansion > 1:
                yield Layer(name=f"conv{number:02}", channels_in=channels_in, channels=inner)
                number += 1
            yield Layer(
                name=f"conv{number:02}", channels_in=inner, channels=inner, kernel=3, stride=stride, depthwise=True
            )
            yield Layer(
                name=f"conv{number + 1:02}",
                channels_in=inner,
                channels=channels,
                rectified=False,
                closes_residual=stride == 1 and channels_in == channels,
            )
            number, channels_in = number + 2, channels
    yield Layer(name=f"conv{number:02}", channels_in=channels_in, channels=EXPANDED)


LAYERS: Final = tuple(_layers())


class Trunk(nn.Module):
    """[N,3,S,S] RGB in -1..1, S a multiple of 16 -> [N,576,S/16,S/16] in 0..6."""

    def __init__(self) -> None:
        super().__init__()
        for layer in LAYERS:
            self.add_module(layer.name, _convolution(layer))

    def forward(self, x: Tensor) -> Tensor:
        return self._through(x, len(LAYERS))

    def early(self, x: Tensor) -> Tensor:
        """[N,3,S,S] -> [N,24,S/4,S/4]: what the first three blocks say, for a perceptual loss."""
        return self._through(x, EARLY_LAYERS)

    def _through(self, x: Tensor, count: int) -> Tensor:
        entered = x
        for layer, convolution in zip(LAYERS[:count], list(self.children())[:count], strict=True):
            if layer.opens_block:
                entered = x
            x = _halving(convolution, x) if layer.stride == 2 else convolution(x)
            if layer.rectified:
                x = functional.relu6(x, inplace=True)
            elif layer.closes_residual:
                x = entered + x
        return x


def _halving(convolution: nn.Module, x: Tensor) -> Tensor:
    """SAME padding of a stride of 2 over an even side: one pixel, right and below."""
    assert isinstance(convolution, nn.Conv2d)
    depthwise = convolution.groups > 1
    if depthwise and x.device.type == "cpu" and torch.is_grad_enabled():
        # the same values; on a CPU the gradient of a strided depthwise convolution takes several times as long
        weight, bias = convolution.weight, convolution.bias
        return functional.conv2d(x, weight, bias, padding=1, groups=convolution.groups)[..., 1::2, 1::2]
    return torch.as_tensor(convolution(functional.pad(x, (0, 1, 0, 1))))


def _convolution(layer: Layer) -> nn.Conv2d:
    convolution = nn.Conv2d(
        layer.channels_in,
        layer.channels,
        layer.kernel,
        layer.stride,
        padding=layer.kernel // 2 if layer.stride == 1 else 0,
        groups=layer.channels_in if layer.depthwise else 1,
    )
    # without norms a signal would die on its way through forty layers that begin as torch begins them
    nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu" if layer.rectified else "linear")
    if convolution.bias is not None:
        nn.init.zeros_(convolution.bias)
    return convolution


class MobileContentNetwork(nn.Module):
    """[B,3,T,S,S] RGB in -1..1 -> [B,T/2,width] content tokens, float32: one per two frames, read from the first.

    Compact: 32 frames of 192 px -> 16 tokens of 128, from maps of 128x12x12. A token is what its frame's map is on
    average, how far it varies over the picture and what it is at most, mixed, with something of the tokens before and
    behind it.
    """

    def __init__(self, sizes: MobileContentSizes) -> None:
        super().__init__()
        self.trunk = Trunk()
        self.projection = nn.Conv2d(EXPANDED, sizes.width, 1)
        self.mix = nn.Linear(3 * sizes.width, sizes.width)
        self.temporal = nn.Conv1d(sizes.width, sizes.width, 3, padding=1, groups=sizes.width)
        self.norm = nn.LayerNorm(sizes.width)
        # So that training begins with frames that do not see each other.
        nn.init.zeros_(self.temporal.weight)
        if self.temporal.bias is not None:
            nn.init.zeros_(self.temporal.bias)

    def forward(self, clip: Tensor) -> Tensor:
        return self.tokens(self.pooled_of_clip(clip))

    def pooled_of_clip(self, clip: Tensor) -> Tensor:
        """[B,3,T,S,S] RGB in -1..1 -> [B,T/2,3*width], float32: all that the trunk and the projection say of a clip."""
        frames = clip[:, :, ::FRAME_STEP].transpose(1, 2)
        maps = self.maps(frames.flatten(0, 1))
        return self.pooled(maps.view(*frames.shape[:2], *maps.shape[1:]))

    def maps(self, frames: Tensor) -> Tensor:
        """[N,3,S,S] in -1..1 -> [N,width,S/16,S/16], in the precision of the convolutions."""
        frames = frames.contiguous(memory_format=torch.channels_last)
        parts = torch.split(frames, _frames_at_once(frames))
        return torch.cat([functional.gelu(self.projection(self.trunk(part))) for part in parts])

    def tokens_of(self, maps: Tensor) -> Tensor:
        """[B,N,width,h,w], maps of N frames in their order -> [B,N,width], float32."""
        return self.tokens(self.pooled(maps))

    def pooled(self, maps: Tensor) -> Tensor:
        """[B,N,width,h,w] -> [B,N,3*width], float32: mean, standard deviation and maximum over the picture."""
        values = maps.float().flatten(3)
        spread = (values.var(dim=3, correction=0) + LEAST_VARIANCE).sqrt()
        return torch.cat([values.mean(dim=3), spread, values.amax(dim=3)], dim=2)

    def tokens(self, pooled: Tensor) -> Tensor:
        """[B,N,3*width] -> [B,N,width], float32."""
        tokens = self.mix(pooled)
        neighbours = self.temporal(tokens.transpose(1, 2)).transpose(1, 2)
        return torch.as_tensor(self.norm(tokens + neighbours)).float()


def load_trunk(network: MobileContentNetwork, state: Mapping[str, Tensor]) -> None:
    """Fill the trunk from a file of folded ImageNet weights: `conv00.weight`, `conv00.bias` and so on, in any float.

    The convolutions behind the trunk, up to the classifier `conv52`, are ignored. The values are copied. Raises
    PackError, with `differences` in its details, where any other name, or a shape, is not the expected one.
    """
    behind = {f"conv{number:02}" for number in range(len(LAYERS), WHOLE_NETWORK)}
    taken = {name: value for name, value in state.items() if re.sub(r"\.(weight|bias)$", "", name) not in behind}
    problems = differences(layout_of(network.trunk), entries(taken))
    if problems:
        raise PackError(f"The weights do not fit MobileNetV2's trunk: {listing(problems)}.", differences=problems)
    network.trunk.load_state_dict(taken)


def _frames_at_once(frames: Tensor) -> int:
    """The widest map is that of block 2's expansion: 96 channels of half the side."""
    widest = 6 * GROUPS[0][1] * (frames.shape[-1] // 2) ** 2 * frames.element_size()
    return max(1, BYTES_AT_ONCE.get(frames.device.type, BYTES_AT_ONCE["cpu"]) // widest)
