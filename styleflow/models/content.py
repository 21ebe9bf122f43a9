"""Fully temporal 3D ResNet up to res4: what a clip shows over time, as tokens (FTCN, ICCV 2021).

Every spatial kernel is 1; where the I3D network strides in space, a stride-1 convolution is followed by a 1x2x2
max-pool that sits behind the batch norm (hence the `bn.0` in the published names). Parameter names are those of
the published checkpoint without their `resnet.` prefix.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from styleflow.models.sizes import ContentSizes

STEM_KERNEL = 5
RES2_KERNELS = (3,)
RES3_AND_RES4_KERNELS = (3, 1)
"""Frames seen by convolution `a`, repeated over a stage's blocks."""


def _norm(channels: int, *, halve: bool) -> nn.Module:
    norm = nn.BatchNorm3d(channels)
    return nn.Sequential(norm, nn.MaxPool3d((1, 2, 2))) if halve else norm


class Bottleneck(nn.Module):
    """Branch 2 of a block: temporal convolution a, pointwise b and c. [B,in,T,H,W] -> [B,out,T,H/s,W/s]."""

    def __init__(self, channels_in: int, inner: int, channels: int, kernel: int, *, halve: bool) -> None:
        super().__init__()
        self.a = nn.Conv3d(channels_in, inner, (kernel, 1, 1), padding=(kernel // 2, 0, 0), bias=False)
        self.a_bn = nn.BatchNorm3d(inner)
        self.b = nn.Conv3d(inner, inner, 1, bias=False)
        self.b_bn = _norm(inner, halve=halve)
        self.c = nn.Conv3d(inner, channels, 1, bias=False)
        self.c_bn = nn.BatchNorm3d(channels)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.a_bn(self.a(x)))
        x = functional.relu(self.b_bn(self.b(x)))
        return torch.as_tensor(self.c_bn(self.c(x)))


class Block(nn.Module):
    """One residual block. [B,in,T,H,W] -> [B,out,T,H/s,W/s], s = 2 where `halve`."""

    def __init__(self, channels_in: int, inner: int, channels: int, kernel: int, *, halve: bool) -> None:
        super().__init__()
        self.projects = channels_in != channels or halve
        if self.projects:
            self.branch1 = nn.Conv3d(channels_in, channels, 1, bias=False)
            self.branch1_bn = _norm(channels, halve=halve)
        self.branch2 = Bottleneck(channels_in, inner, channels, kernel, halve=halve)

    def forward(self, x: Tensor) -> Tensor:
        straight = self.branch1_bn(self.branch1(x)) if self.projects else x
        return functional.relu(straight + self.branch2(x))


class Stage(nn.Module):
    """Blocks in a row, the first of which may halve the sides."""

    def __init__(self, channels_in: int, inner: int, depth: int, kernels: Sequence[int], *, halve: bool) -> None:
        super().__init__()
        channels = 4 * inner
        for index in range(depth):
            block = Block(
                channels_in if index == 0 else channels,
                inner,
                channels,
                kernels[index % len(kernels)],
                halve=halve and index == 0,
            )
            self.add_module(f"pathway0_res{index}", block)

    def forward(self, x: Tensor) -> Tensor:
        for block in self.children():
            x = block(x)
        return x


class Stem(nn.Module):
    """[B,3,T,S,S] -> [B,stem,T,S/4,S/4]."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.pathway0_stem = StemConvolution(channels)

    def forward(self, x: Tensor) -> Tensor:
        return torch.as_tensor(self.pathway0_stem(x))


class StemConvolution(nn.Module):
    """[B,3,T,S,S] -> [B,stem,T,S/4,S/4]: over five frames, then halved twice."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv3d(3, channels, (STEM_KERNEL, 1, 1), padding=(STEM_KERNEL // 2, 0, 0), bias=False)
        self.bn = _norm(channels, halve=True)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.bn(self.conv(x)))
        return functional.max_pool3d(x, (1, 3, 3), (1, 2, 2), (0, 1, 1))


class ContentNetwork(nn.Module):
    """[B,3,T,S,S] RGB, ImageNet-normalised -> [B, T/2, 4 * inner[-1]] content tokens, one per two frames.

    Paper: 32 frames of 224 px -> 16 tokens of 1024, from a res4 map of 1024x16x14x14. The tokens are float32.
    """

    def __init__(self, sizes: ContentSizes) -> None:
        super().__init__()
        first, second, third = sizes.inner
        self.s1 = Stem(sizes.stem)
        self.s2 = Stage(sizes.stem, first, sizes.depths[0], RES2_KERNELS, halve=False)
        self.pathway0_pool = nn.MaxPool3d((2, 1, 1))
        self.s3 = Stage(4 * first, second, sizes.depths[1], RES3_AND_RES4_KERNELS, halve=True)
        self.s4 = Stage(4 * second, third, sizes.depths[2], RES3_AND_RES4_KERNELS, halve=True)

    def forward(self, clip: Tensor) -> Tensor:
        x = self.pathway0_pool(self.s2(self.s1(clip)))
        return torch.as_tensor(self.s4(self.s3(x)).mean(dim=(3, 4), dtype=torch.float32).transpose(1, 2))
