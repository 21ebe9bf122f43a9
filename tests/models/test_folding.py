from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from styleflow.models.folding import fold_content, folded
from tests.models.named_values import drawn, filled, relative_error, shapes_of
from tests.models.small_networks import TINY, filled_detector, random_clips


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_folded_convolution_does_what_convolution_and_norm_did_up_to_the_border(seed: int, bias: bool) -> None:
    both = (
        nn.Sequential(nn.Conv2d(3, 5, 3, stride=2, padding=1, bias=bias), nn.BatchNorm2d(5))
        .eval()
        .requires_grad_(False)
    )
    both.load_state_dict(filled(shapes_of(both), seed=seed))
    convolution, norm = both
    assert isinstance(convolution, nn.Conv2d)
    assert isinstance(norm, nn.BatchNorm2d)
    pixels = drawn("pixels", (2, 3, 9, 9), seed=seed)

    found = folded(convolution, norm)(pixels)

    assert relative_error(found, both(pixels)) <= 1e-5
    assert relative_error(convolution(pixels), both(pixels)) > 1e-2


def test_the_content_network_keeps_its_tokens_and_loses_its_norms() -> None:
    network = filled_detector().content
    content, _ = random_clips(TINY, clips=2)
    expected = network(content)
    served = copy.deepcopy(network)

    fold_content(served)

    assert relative_error(served(content), expected) <= 1e-5
    assert not [module for module in served.modules() if isinstance(module, nn.BatchNorm3d)]
    assert torch.equal(network(content), expected)
