"""Batch norms of a network whose parameters are an average: their statistics must be those of that network."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


def settle_batch_norms(module: nn.Module, batches: Iterable[Tensor]) -> None:
    """Give every batch norm the mean statistics of the batches, which the module is called with. Ends in eval mode.

    An average of parameters is another network than those whose statistics were gathered along the way.
    """
    norms = _norms(module)
    for norm in norms:
        norm.reset_running_stats()
    with _momentum(norms, None), torch.no_grad():
        module.train()
        for batch in batches:
            module(batch)
    module.eval()


@contextmanager
def statistics_of_the_batch(module: nn.Module) -> Iterator[None]:
    """Inside, batch norms use the batch, as in training, and remember nothing of it. Ends in eval mode."""
    with _momentum(_norms(module), 0.0):
        module.train()
        try:
            yield
        finally:
            module.eval()


def _norms(module: nn.Module) -> list[nn.BatchNorm2d]:
    return [part for part in module.modules() if isinstance(part, nn.BatchNorm2d)]


@contextmanager
def _momentum(norms: list[nn.BatchNorm2d], momentum: float | None) -> Iterator[None]:
    before = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = momentum
    try:
        yield
    finally:
        for norm, old in zip(norms, before, strict=True):
            norm.momentum = old
