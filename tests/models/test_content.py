from __future__ import annotations

import torch

from styleflow.models.content import ContentNetwork
from styleflow.models.sizes import PAPER
from tests.models.small_networks import TINY, filled_detector, random_clips


def test_tokens_are_one_for_two_frames_and_as_wide_as_res4() -> None:
    content, _ = random_clips(TINY, clips=3)

    assert filled_detector().content(content).shape == (3, TINY.clip_frames // 2, 4 * TINY.content.inner[-1])


def test_paper_size_has_the_published_number_of_parameters() -> None:
    with torch.device("meta"):
        network = ContentNetwork(PAPER.content)

    assert sum(parameter.numel() for parameter in network.parameters()) == 14_765_889 - 8_418_305


def test_no_kernel_looks_sideways_so_swapping_height_and_width_changes_no_token() -> None:
    content, _ = random_clips(TINY, clips=1)
    network = filled_detector().content

    torch.testing.assert_close(network(content.transpose(3, 4)), network(content), rtol=1e-4, atol=1e-5)


def test_reversing_time_changes_the_tokens() -> None:
    content, _ = random_clips(TINY, clips=1)
    network = filled_detector().content

    difference = network(content.flip(2)).flip(1) - network(content)

    assert difference.abs().max().item() > 1e-3
