"""The small generator that the style encoder learns against: styles in W+ become a picture again.

Modulated convolutions as StyleGAN2 describes them (Karras et al., Analyzing and Improving the Image Quality of
StyleGAN, CVPR 2020), without noise inputs: whatever a picture needs must come from its styles. Never served.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from styleflow.models.style_encoder import EqualLinear

SMALLEST = 4
"""Side in pixels of the learned constant that every picture grows from."""


@dataclass(frozen=True, kw_only=True)
class StyleGeneratorSizes:
    """One number of channels per resolution, from 4 px up, each twice the one before."""

    output_size: int = 64
    """Side in pixels: a power of two from 8."""
    channels: tuple[int, ...] = (128, 128, 64, 32, 16)
    styles: int = 18
    style_width: int = 48

    def __post_init__(self) -> None:
        if len(self.channels) < 2 or self.output_size != SMALLEST << (len(self.channels) - 1):
            raise ValueError(
                f"{len(self.channels)} resolutions from {SMALLEST} px up do not end at {self.output_size} px"
            )
        if min(*self.channels, self.styles, self.style_width) < 1:
            raise ValueError("channels, styles and their width must be at least 1")

    @property
    def layers(self) -> int:
        """Convolutions that styles modulate, the ones to RGB not counted: one at 4 px, two at every other size."""
        return 2 * len(self.channels) - 1


def styles_of_layers(styles: int, layers: int) -> tuple[slice, ...]:
    """Which styles each layer reads: all of them in order, coarse ones by low resolutions, none left out.

    Where there are more layers than styles, neighbouring layers share one.
    """
    bounds = [(index * styles // layers, (index + 1) * styles // layers) for index in range(layers)]
    return tuple(slice(start, max(stop, start + 1)) for start, stop in bounds)


class ModulatedConvolution(nn.Module):
    """Input channels scaled by an affine of the style, then convolved. [N,in,H,W], [N,D] -> [N,out,H,W].

    Demodulation divides by the length that the scaled weights of an output channel have. Both are done on the maps,
    which is the same function as on the weights and needs no convolution per picture.
    """

    def __init__(self, channels_in: int, channels: int, kernel: int, style: int, demodulate: bool = True) -> None:
        super().__init__()
        self.affine = EqualLinear(style, channels_in)
        nn.init.ones_(self.affine.bias)
        self.weight = nn.Parameter(torch.randn(channels, channels_in, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.scale = 1 / math.sqrt(channels_in * kernel**2)
        self.demodulate = demodulate

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        scales, weight = self.affine(style), self.weight * self.scale
        y = functional.conv2d(x * scales[:, :, None, None], weight, padding=weight.shape[2] // 2)
        if self.demodulate:
            lengths = scales.square() @ weight.square().sum(dim=(2, 3)).T
            y = y * torch.rsqrt(lengths + 1e-8)[:, :, None, None]
        return y + self.bias[:, None, None]


class StyleGenerator(nn.Module):
    """[N,styles,width] -> [N,3,R,R], about [-1,1], RGB; not clamped. The RGB of all resolutions is summed."""

    def __init__(self, sizes: StyleGeneratorSizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.constant = nn.Parameter(torch.randn(1, sizes.channels[0], SMALLEST, SMALLEST))
        self.reads = styles_of_layers(sizes.styles, sizes.layers)
        inputs = [(read.stop - read.start) * sizes.style_width for read in self.reads]
        # layer 0 is at 4 px, layers 2k-1 and 2k at 4 * 2^k px
        channels = [sizes.channels[(layer + 1) // 2] for layer in range(sizes.layers)]
        self.convolutions = nn.ModuleList(
            ModulatedConvolution(channels[max(layer - 1, 0)], channels[layer], 3, inputs[layer])
            for layer in range(sizes.layers)
        )
        self.to_rgb = nn.ModuleList(
            ModulatedConvolution(channels[layer], 3, 1, inputs[layer], demodulate=False)
            for layer in range(0, sizes.layers, 2)
        )

    def forward(self, styles: Tensor) -> Tensor:
        x = self.constant.expand(len(styles), -1, -1, -1).contiguous(memory_format=torch.channels_last)
        picture: Tensor | None = None
        for layer, (convolution, read) in enumerate(zip(self.convolutions, self.reads, strict=True)):
            style = styles[:, read].flatten(1)
            x = _activated(convolution(_doubled(x) if layer % 2 else x, style))
            if layer % 2 == 0:
                rgb = self.to_rgb[layer // 2](x, style)
                picture = rgb if picture is None else _doubled(picture) + rgb
        assert picture is not None
        return picture


def _activated(x: Tensor) -> Tensor:
    """Leaky ReLU that keeps the variance of normally distributed values."""
    return functional.leaky_relu(x, 0.2) * math.sqrt(2)


def _doubled(x: Tensor) -> Tensor:
    return functional.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
