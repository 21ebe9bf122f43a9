"""Batch norms that follow a convolution become part of it. Exact in eval mode, up to rounding.

Only a norm *behind* a convolution is folded. The norm that opens a residual unit of the style encoder stays: the
convolution after it pads with zeros, which the norm would not leave at zero.
"""

from __future__ import annotations

from typing import TypeVar, cast

import torch
from torch import nn

from styleflow.models.content import Block, Bottleneck, ContentNetwork, StemConvolution

Convolution = TypeVar("Convolution", nn.Conv2d, nn.Conv3d)
Norm = nn.BatchNorm2d | nn.BatchNorm3d


def folded(convolution: Convolution, norm: Norm) -> Convolution:
    """One convolution with a bias that does what both did; neither is changed. Computed in float64."""
    with torch.device("meta"):
        both = type(convolution)(
            convolution.in_channels,
            convolution.out_channels,
            convolution.kernel_size,  # type: ignore[arg-type]  # as many numbers as the convolution has dimensions
            convolution.stride,  # type: ignore[arg-type]
            convolution.padding,  # type: ignore[arg-type]
        )
    weight = convolution.weight.detach()
    variance, mean = cast("torch.Tensor", norm.running_var), cast("torch.Tensor", norm.running_mean)
    scale = norm.weight.detach().double() / (variance.double() + norm.eps).sqrt()
    before = 0.0 if convolution.bias is None else convolution.bias.detach().double()
    bias = norm.bias.detach().double() + (before - mean.double()) * scale
    scaled = weight.double() * scale.view(-1, *[1] * (weight.dim() - 1))
    both.weight = nn.Parameter(scaled.to(weight.dtype), requires_grad=False)
    both.bias = nn.Parameter(bias.to(weight.dtype), requires_grad=False)
    return both.eval()


def fold_content(network: ContentNetwork) -> None:
    """Folds every norm of the network, in place: its parameters no longer bear their published names."""
    for module in list(network.modules()):
        if isinstance(module, StemConvolution):
            _fold(module, "conv", "bn")
        elif isinstance(module, Bottleneck):
            _fold(module, "a", "a_bn")
            _fold(module, "b", "b_bn")
            _fold(module, "c", "c_bn")
        elif isinstance(module, Block) and module.projects:
            _fold(module, "branch1", "branch1_bn")


def _fold(module: nn.Module, convolution: str, norm: str) -> None:
    """In the norm's place stays the max-pool that stood behind it, or nothing."""
    behind = getattr(module, norm)
    first, rest = behind if isinstance(behind, nn.Sequential) else (behind, nn.Identity())
    setattr(module, convolution, folded(getattr(module, convolution), cast("nn.BatchNorm3d", first)))
    setattr(module, norm, rest)
