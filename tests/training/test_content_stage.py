from __future__ import annotations

from pathlib import Path

import pytest
import torch

from styleflow.models.mobile_content import MobileContentNetwork
from styleflow.models.sizes import MobileContentSizes
from styleflow.training.batches import Batch
from styleflow.training.chance import Chance
from styleflow.training.content_stage import FrameHeads, FrameTrainee, pair_ranking, paired_share, parameter_groups
from styleflow.training.loop import LoopWish, fit

WISH = LoopWish(steps=40, learning_rate=3e-3, average=0.8)


def squares(chance: Chance) -> Batch:
    """Noise, and the same noise with a square laid on it: what is not the original's is plain to see."""
    content = 0.5 + 0.1 * chance.normal(8, 2, 3, 32, 32)
    masks = torch.zeros(8, 2, 1, 32, 32)
    for number in range(1, 8, 2):
        top, left = chance.whole(0, 16), chance.whole(0, 16)
        masks[number, :, :, top : top + 16, left : left + 16] = 1
    content[1::2] = content[::2]
    content = content * (1 - masks) + masks * torch.tensor([0.9, 0.1, 0.1]).view(3, 1, 1)
    return Batch(content.clamp(0, 1), torch.tensor([0.0, 1.0] * 4), masks, torch.ones(8, dtype=torch.bool), ("",) * 8)


def test_it_learns_which_frame_and_which_patch_is_not_the_originals(tmp_path: Path) -> None:
    torch.manual_seed(0)
    trainee = FrameTrainee(MobileContentNetwork(MobileContentSizes(input_size=32, width=16)), FrameHeads(16), squares)

    fit(trainee, tmp_path, WISH)

    batch = squares(Chance.seeded(12345))
    with torch.inference_mode():
        patches, frames = trainee.logits(batch.content)
    assert patches.shape == (8, 2, 2, 2)
    assert paired_share(frames.mean(dim=1)) == 1.0
    covered = batch.masks[1::2].mean(dim=(1, 2, 3, 4)) > 0
    assert (patches[1::2].mean(dim=(1, 2, 3)) > patches[::2].mean(dim=(1, 2, 3)))[covered].all()


def test_pretrained_layers_learn_slower_and_norms_do_not_decay() -> None:
    network = MobileContentNetwork(MobileContentSizes(input_size=32, width=16))
    module = torch.nn.ModuleDict({"content": network})

    groups = parameter_groups(module, LoopWish(steps=1, learning_rate=1.0, weight_decay=0.5))

    assert {(group["lr"], group["weight_decay"]) for group in groups} == {
        (0.3, 0.5),
        (0.3, 0.0),
        (1.0, 0.5),
        (1.0, 0.0),
    }
    assert sum(len(group["params"]) for group in groups) == len(list(network.parameters()))


def test_a_fake_a_margin_above_its_original_costs_nothing() -> None:
    labels = torch.tensor([0.0, 1.0, 0.0, 1.0])

    assert pair_ranking(torch.tensor([0.0, 1.5, 3.0, 4.0]), labels) == 0
    assert pair_ranking(torch.tensor([0.0, 0.5, 3.0, 4.0]), labels) == pytest.approx(0.25)
    with pytest.raises(ValueError, match="pairs of an original and a fake"):
        pair_ranking(torch.zeros(4), torch.tensor([0.0, 0.0, 1.0, 1.0]))
