from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from styleflow.training.style_generator import (
    ModulatedConvolution,
    StyleGenerator,
    StyleGeneratorSizes,
    styles_of_layers,
)

SMALL = StyleGeneratorSizes(output_size=16, channels=(6, 5, 4), styles=6, style_width=3)


@settings(deadline=None)
@given(styles=st.integers(1, 40), layers=st.integers(1, 40))
def test_every_style_is_read_and_coarse_ones_by_earlier_layers(styles: int, layers: int) -> None:
    reads = styles_of_layers(styles, layers)

    assert len(reads) == layers
    assert {index for read in reads for index in range(read.start, read.stop)} == set(range(styles))
    assert all(read.stop > read.start for read in reads)
    starts = [read.start for read in reads]
    assert starts == sorted(starts)


def test_a_modulated_convolution_is_a_convolution_with_weights_of_its_own_per_picture() -> None:
    torch.manual_seed(1)
    layer = ModulatedConvolution(5, 4, 3, style=7)
    x, style = torch.randn(3, 5, 8, 8), torch.randn(3, 7)

    found = layer(x, style)

    for index in range(3):
        weight = layer.weight * layer.scale * layer.affine(style[index : index + 1])[0][None, :, None, None]
        weight = weight / weight.square().sum(dim=(1, 2, 3), keepdim=True).add(1e-8).sqrt()
        by_hand = functional.conv2d(x[index : index + 1], weight, padding=1) + layer.bias[:, None, None]
        torch.testing.assert_close(found[index : index + 1], by_hand, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("size", "channels"), [(8, (4, 3)), (16, (6, 5, 4)), (64, (8, 8, 6, 4, 2))])
def test_a_picture_has_the_size_that_was_asked_for(size: int, channels: tuple[int, ...]) -> None:
    sizes = StyleGeneratorSizes(output_size=size, channels=channels, styles=6, style_width=3)

    assert StyleGenerator(sizes)(torch.randn(2, 6, 3)).shape == (2, 3, size, size)


def test_every_number_of_every_style_changes_the_picture() -> None:
    torch.manual_seed(0)
    generator = StyleGenerator(SMALL)
    styles = torch.randn(1, 6, 3, requires_grad=True)

    (slope,) = torch.autograd.grad(generator(styles).square().mean(), styles)

    assert bool((slope.abs() > 0).all())


def test_the_same_styles_give_the_same_picture_whatever_stands_beside_them() -> None:
    generator = StyleGenerator(SMALL)
    styles = torch.randn(3, 6, 3)

    torch.testing.assert_close(generator(styles)[1:2], generator(styles[1:2]))


@pytest.mark.parametrize(
    "wrong",
    [
        {"output_size": 48, "channels": (4, 4, 4, 4)},
        {"output_size": 4, "channels": (4,)},
        {"output_size": 16, "channels": (4, 0, 4)},
        {"output_size": 16, "channels": (4, 4, 4), "styles": 0},
    ],
)
def test_sizes_that_do_not_fit_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"resolutions|at least 1"):
        StyleGeneratorSizes(**wrong)  # type: ignore[arg-type]
