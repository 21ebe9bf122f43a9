from __future__ import annotations

import torch
from torch import Tensor, nn

from styleflow.training.batch_norms import settle_batch_norms, statistics_of_the_batch


def drawn(count: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [3 + 2 * torch.randn(16, 2, 8, 8, generator=generator) for _ in range(count)]


def test_settled_statistics_are_those_of_the_batches() -> None:
    norm = nn.BatchNorm2d(2)
    module = nn.Sequential(norm)
    norm(torch.full((2, 2, 4, 4), 100.0))

    settle_batch_norms(module, drawn(8))

    torch.testing.assert_close(norm.running_mean, torch.full((2,), 3.0), rtol=0, atol=0.1)
    torch.testing.assert_close(norm.running_var, torch.full((2,), 4.0), rtol=0, atol=0.2)
    assert (norm.momentum, module.training) == (0.1, False)


def test_a_batchs_own_statistics_leave_no_trace() -> None:
    module = nn.Sequential(nn.BatchNorm2d(2)).eval()
    before = {name: value.clone() for name, value in module.state_dict().items() if "running" in name}

    with statistics_of_the_batch(module):
        normed = module(drawn(1)[0])

    assert abs(normed.mean().item()) < 1e-3
    assert not module.training
    assert all(torch.equal(module.state_dict()[name], value) for name, value in before.items())
