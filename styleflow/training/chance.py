"""Random choices from one seeded torch generator, on the CPU whatever the device: the same seed, the same choices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch

Item = TypeVar("Item")


@dataclass(frozen=True)
class Chance:
    """Draws plain numbers."""

    generator: torch.Generator

    @classmethod
    def seeded(cls, *seeds: int) -> Chance:
        """Several numbers make one seed: run, epoch, worker."""
        mixed = 0
        for seed in seeds:
            mixed = (mixed * 1_000_003 + seed + 0x9E3779B9) % (2**63 - 1)
        return cls(torch.Generator().manual_seed(mixed))

    def uniform(self, low: float = 0.0, high: float = 1.0) -> float:
        return low + (high - low) * float(torch.rand((), generator=self.generator))

    def happens(self, probability: float) -> bool:
        return self.uniform() < probability

    def whole(self, low: int, high: int) -> int:
        """From `low` to `high - 1`."""
        return int(torch.randint(low, high, (), generator=self.generator))

    def one_of(self, items: Sequence[Item]) -> Item:
        return items[self.whole(0, len(items))]

    def weighted(self, items: Sequence[Item], weights: Sequence[float]) -> Item:
        chosen = torch.multinomial(torch.tensor(weights, dtype=torch.float64), 1, generator=self.generator)
        return items[int(chosen)]

    def normal(self, *shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=self.generator)
