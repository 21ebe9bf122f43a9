"""The style encoder arranged for serving: the same function with fewer and larger steps.

What is done to a loaded GradualStyleEncoder, each exact up to rounding:

- the heads of a level read the same map, so their first convolutions become one, and their later ones one grouped
  convolution per step; where a map of 2x2 remains, the convolution is a matrix product with the four taps that meet it;
- every batch norm behind a convolution is folded into it (folding.py);
- the shortcut's max-pool over one pixel becomes what it is, a stride;
- channels lie last in memory;
- heads of a level that the StyleGRU does not read are not there at all.

The published names are gone, so this is made from a loaded network and never stored. Measured by
`benchmarks/style_branch.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from styleflow.models.folding import folded
from styleflow.models.sizes import FlowLevel
from styleflow.models.style_encoder import BottleneckIRSE, GradualStyleBlock, GradualStyleEncoder, SqueezeExcitation

CHUNK_BYTES = {"cpu": 256 << 20, "cuda": 4 << 30}
"""Size of the widest map that is computed at once. A CPU gets no faster by more frames, only fuller; an accelerator
needs enough of them to be busy."""


class FusedUnit(nn.Module):
    """One residual unit of the body. [N,in,H,W] -> [N,out,H/stride,W/stride]."""

    def __init__(self, unit: BottleneckIRSE) -> None:
        super().__init__()
        norm, first, activation, second, behind, gate = unit.res_layer
        self.norm, self.first, self.activation = norm, first, activation
        self.second = folded(cast("nn.Conv2d", second), cast("nn.BatchNorm2d", behind))
        self.gate = cast("SqueezeExcitation", gate)
        self.stride = self.second.stride[0]
        self.projection: nn.Module | None = None
        if isinstance(unit.shortcut_layer, nn.Sequential):
            convolution, norm = unit.shortcut_layer
            self.projection = folded(cast("nn.Conv2d", convolution), cast("nn.BatchNorm2d", norm))

    def forward(self, x: Tensor) -> Tensor:
        straight = x[:, :, :: self.stride, :: self.stride] if self.projection is None else self.projection(x)
        branch = self.second(self.activation(self.first(self.norm(x))))
        return torch.addcmul(straight, branch, self.gate.weights(branch))


class FusedHeads(nn.Module):
    """All styles of one level. [N,C,S,S] -> [N,heads,width], float32."""

    def __init__(self, blocks: Sequence[GradualStyleBlock]) -> None:
        super().__init__()
        heads = len(blocks)
        steps = [[cast("nn.Conv2d", block.convs[index]) for block in blocks] for index in range(0, _length(blocks), 2)]
        self.heads = heads
        self.convolutions = nn.ModuleList(
            _side_by_side(step, groups=1 if number == 0 else heads) for number, step in enumerate(steps[:-1])
        )
        # The last step sees 2x2 pixels inside a border of zeros: only taps 1 and 2 of each side meet a pixel.
        taps = [convolution.weight.detach()[:, :, 1:, 1:].flatten(1).T for convolution in steps[-1]]
        self.last_weight = _constant(torch.stack(taps))
        self.last_bias = _constant(torch.stack([_bias(convolution) for convolution in steps[-1]])[:, None])
        self.linear_weight = _constant(torch.stack([block.linear.weight.T * block.linear.scale for block in blocks]))
        self.linear_bias = _constant(torch.stack([block.linear.bias for block in blocks])[:, None])

    def forward(self, x: Tensor) -> Tensor:
        for convolution in self.convolutions:
            x = functional.leaky_relu_(convolution(x))
        parts = x.chunk(self.heads, dim=1) if self.convolutions else [x] * self.heads
        pixels = torch.stack([part.flatten(1) for part in parts]).to(self.last_weight.dtype)
        styles = functional.leaky_relu_(torch.baddbmm(self.last_bias, pixels, self.last_weight))
        return torch.baddbmm(self.linear_bias, styles.float(), self.linear_weight).transpose(0, 1)


class FusedStyleEncoder(nn.Module):
    """As GradualStyleEncoder for one level: [N,3,R,R] in [-1,1] -> [N,styles of the level,width], float32.

    Frames are put through in chunks whose widest map is at most CHUNK_BYTES.
    """

    def __init__(self, encoder: GradualStyleEncoder, level: FlowLevel) -> None:
        super().__init__()
        self.sizes, self.level = encoder.sizes, level
        convolution, norm, self.activation = encoder.input_layer
        self.stem = folded(cast("nn.Conv2d", convolution), cast("nn.BatchNorm2d", norm))
        self.body = nn.ModuleList(FusedUnit(cast("BottleneckIRSE", unit)) for unit in encoder.body)
        wanted = encoder.sizes.read_by(level)
        levels = encoder.sizes.levels()
        self.reads = [wanted.start <= part.start and part.stop <= wanted.stop for part in levels]
        self.heads = nn.ModuleList(
            FusedHeads([cast("GradualStyleBlock", block) for block in encoder.styles[part]])
            for part, read in zip(levels, self.reads, strict=True)
            if read
        )
        laterals = (encoder.latlayer1, encoder.latlayer2)
        self.laterals = nn.ModuleList(laterals[: _last(self.reads)])
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub lacks it alone

    def forward(self, crops: Tensor, level: FlowLevel | None = None) -> Tensor:
        """Raises ValueError for another level than the one that it was made for."""
        if level is not None and level != self.level:
            raise ValueError(f"this encoder computes {self.level}, not {level}")
        return torch.cat([self._encoded(part) for part in torch.split(crops, self.frames_at_once(crops))])

    def frames_at_once(self, crops: Tensor) -> int:
        """The widest map is the stem's, as large as the crop."""
        widest = self.sizes.channels[0] * self.sizes.input_size**2 * crops.element_size()
        return max(1, CHUNK_BYTES.get(crops.device.type, CHUNK_BYTES["cpu"]) // widest)

    def _encoded(self, crops: Tensor) -> Tensor:
        maps = [maps for maps, read in zip(self._pyramid(crops), self.reads, strict=False) if read]
        return torch.cat([heads(level) for heads, level in zip(self.heads, maps, strict=True)], dim=1)

    def _pyramid(self, crops: Tensor) -> list[Tensor]:
        """The maps of R/16, R/8, R/4, up to the finest that is read."""
        _, second, third = (sum(self.sizes.depths[: group + 1]) for group in range(3))
        x = self.activation(self.stem(crops.contiguous(memory_format=torch.channels_last)))
        skipped: list[Tensor] = []
        for index, unit in enumerate(self.body, start=1):
            x = unit(x)
            if index in (second, third):
                skipped.insert(0, x)
        maps = [x]
        for lateral, finer in zip(self.laterals, skipped, strict=False):
            maps.append(_upsampled(maps[-1], finer) + lateral(finer))
        return maps


def fused(encoder: GradualStyleEncoder, level: FlowLevel = "total") -> FusedStyleEncoder:
    """The encoder arranged for serving one level. The given one keeps its values; what needs no change is shared.

    Until the given one is let go, the parameters of the heads that are read lie in memory twice.
    """
    return FusedStyleEncoder(encoder, level).eval().requires_grad_(False)


def _length(blocks: Sequence[GradualStyleBlock]) -> int:
    lengths = {len(block.convs) for block in blocks}
    if len(lengths) != 1:
        raise ValueError("heads of one level must read one map")
    return lengths.pop()


def _side_by_side(convolutions: Sequence[nn.Conv2d], groups: int) -> nn.Conv2d:
    """One convolution that does the work of all: of the same input (1 group) or of one input each."""
    one = convolutions[0]
    channels = len(convolutions) * one.out_channels
    with torch.device("meta"):
        joined = nn.Conv2d(groups * one.in_channels, channels, 3, 2, 1, groups=groups)
    joined.weight = _constant(torch.cat([convolution.weight for convolution in convolutions]))
    joined.bias = _constant(torch.cat([_bias(convolution) for convolution in convolutions]))
    return joined


def _bias(convolution: nn.Conv2d) -> Tensor:
    return cast("Tensor", convolution.bias)


def _constant(values: Tensor) -> nn.Parameter:
    return nn.Parameter(values.detach(), requires_grad=False)


def _last(reads: Sequence[bool]) -> int:
    return max(index for index, read in enumerate(reads) if read)


def _upsampled(x: Tensor, like: Tensor) -> Tensor:
    return functional.interpolate(x, size=like.shape[-2:], mode="bilinear", align_corners=True)
