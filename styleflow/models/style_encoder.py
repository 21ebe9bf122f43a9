"""GradualStyleEncoder: a face crop becomes style vectors in W+ (pSp's encoder, IR-SE body, feature pyramid).

Parameter names are those of the published `psp_ffhq_encode.pt` without their `encoder.` prefix. Source: Richardson
et al., Encoding in Style, CVPR 2021.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from styleflow.models.sizes import FlowLevel, StyleEncoderSizes

SQUEEZE = 16


class SqueezeExcitation(nn.Module):
    """Scales channels by what their means say. [N,C,H,W] -> [N,C,H,W]."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        squeezed = max(1, channels // SQUEEZE)
        self.fc1 = nn.Conv2d(channels, squeezed, 1, bias=False)
        self.fc2 = nn.Conv2d(squeezed, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weights(x)

    def weights(self, x: Tensor) -> Tensor:
        """[N,C,H,W] -> [N,C,1,1] in 0..1."""
        return torch.sigmoid(self.fc2(functional.relu(self.fc1(x.mean(dim=(2, 3), keepdim=True)))))


class BottleneckIRSE(nn.Module):
    """One residual unit. [N,in,H,W] -> [N,out,H/stride,W/stride], with no activation after the sum."""

    def __init__(self, channels_in: int, channels: int, stride: int) -> None:
        super().__init__()
        self.shortcut_layer: nn.Module
        if channels_in == channels:
            self.shortcut_layer = nn.MaxPool2d(1, stride)
        else:
            self.shortcut_layer = nn.Sequential(
                nn.Conv2d(channels_in, channels, 1, stride, bias=False), nn.BatchNorm2d(channels)
            )
        self.res_layer = nn.Sequential(
            nn.BatchNorm2d(channels_in),
            nn.Conv2d(channels_in, channels, 3, 1, 1, bias=False),
            nn.PReLU(channels),
            nn.Conv2d(channels, channels, 3, stride, 1, bias=False),
            nn.BatchNorm2d(channels),
            SqueezeExcitation(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.add(self.shortcut_layer(x), self.res_layer(x))


class EqualLinear(nn.Module):
    """Linear layer whose weight is stored at unit variance and scaled when used. [N,in] -> [N,out].

    Computes in the precision of its weight, whatever that of its input.
    """

    def __init__(self, features_in: int, features: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(features, features_in))
        self.bias = nn.Parameter(torch.zeros(features))
        self.scale = 1 / math.sqrt(features_in)

    def forward(self, x: Tensor) -> Tensor:
        return functional.linear(x.to(self.weight.dtype), self.weight * self.scale, self.bias)


class GradualStyleBlock(nn.Module):
    """map2style: halves a square map down to one pixel, which is one style. [N,in,S,S] -> [N,width]."""

    def __init__(self, channels_in: int, width: int, spatial: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for step in range(int(math.log2(spatial))):
            layers += [nn.Conv2d(channels_in if step == 0 else width, width, 3, 2, 1), nn.LeakyReLU()]
        self.convs = nn.Sequential(*layers)
        self.linear = EqualLinear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        styles: Tensor = self.linear(self.convs(x).flatten(1))
        return styles


class GradualStyleEncoder(nn.Module):
    """[N,3,R,R] in [-1,1], RGB -> [N,styles,width]: styles in W+, the average latent not added.

    At paper size 256 px -> 18 styles of 512. Coarse styles are read from the map of R/16, middle ones from R/8,
    fine ones from R/4. Only the styles that `level` covers are computed.
    """

    def __init__(self, sizes: StyleEncoderSizes) -> None:
        super().__init__()
        first, second, third, pyramid = sizes.channels
        self.sizes = sizes
        self.input_layer = nn.Sequential(
            nn.Conv2d(3, first, 3, 1, 1, bias=False), nn.BatchNorm2d(first), nn.PReLU(first)
        )
        self.body = nn.Sequential(*_body(sizes))
        coarsest = sizes.input_size // 16
        self.styles = nn.ModuleList(
            GradualStyleBlock(pyramid, sizes.style_width, coarsest << level)
            for level, count in enumerate(sizes.styles_per_level)
            for _ in range(count)
        )
        self.latlayer1 = nn.Conv2d(third, pyramid, 1)
        self.latlayer2 = nn.Conv2d(second, pyramid, 1)

    def forward(self, x: Tensor, level: FlowLevel = "total") -> Tensor:
        wanted = self.sizes.read_by(level)
        maps = self._pyramid(x, levels=sum(start.start < wanted.stop for start in self.sizes.levels()))
        level_of = [level for level, count in enumerate(self.sizes.styles_per_level) for _ in range(count)]
        chosen = range(wanted.start, wanted.stop)
        return torch.stack([self.styles[index](maps[level_of[index]]) for index in chosen], dim=1)

    def _pyramid(self, x: Tensor, levels: int) -> list[Tensor]:
        """The maps of R/16, R/8, R/4 (the first `levels` of them), all `channels[3]` deep."""
        _, second, third = (sum(self.sizes.depths[: group + 1]) for group in range(3))
        x = self.input_layer(x)
        eighth = quarter = x
        for index, unit in enumerate(self.body):
            x = unit(x)
            if index == second - 1:
                quarter = x
            elif index == third - 1:
                eighth = x
        maps = [x]
        for lateral, skipped in ((self.latlayer1, eighth), (self.latlayer2, quarter))[: levels - 1]:
            maps.append(_upsampled(maps[-1], skipped) + lateral(skipped))
        return maps


def _body(sizes: StyleEncoderSizes) -> list[BottleneckIRSE]:
    units = []
    channels_in = sizes.channels[0]
    for depth, channels in zip(sizes.depths, sizes.channels, strict=True):
        for index in range(depth):
            units.append(BottleneckIRSE(channels_in, channels, stride=2 if index == 0 else 1))
            channels_in = channels
    return units


def _upsampled(x: Tensor, like: Tensor) -> Tensor:
    return functional.interpolate(x, size=like.shape[-2:], mode="bilinear", align_corners=True)
