"""Drawn clips that are used more than once: making one costs more than learning from it.

Rounds of new clips replace the oldest. What a round holds depends on the seed and its number alone, so an interrupted
run makes the same rounds again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from styleflow.training.chance import Chance

Rows = Mapping[str, Tensor]
"""Columns of one length, by name."""


@dataclass(eq=False)
class Reservoir:
    """The last `rounds` rounds, as columns."""

    make: Callable[[Chance], Rows]
    """One round."""
    seed: int
    rounds: int
    steps_per_round: int
    _held: dict[int, Rows] = field(default_factory=dict)
    _joined: tuple[int, Rows] | None = None

    def at(self, step: int) -> Rows:
        """All that a step may draw from. Makes what is missing."""
        newest = step // self.steps_per_round
        if self._joined is not None and self._joined[0] == newest:
            return self._joined[1]
        wanted = range(newest - self.rounds + 1, newest + 1)
        self._held = {number: rows for number, rows in self._held.items() if number in wanted}
        for number in wanted:
            if number not in self._held:
                # the rounds before the first have negative numbers: a run begins with a full reservoir
                self._held[number] = self.make(Chance.seeded(self.seed, 2**20 + number))
        first = self._held[newest]
        joined = {name: torch.cat([self._held[number][name] for number in wanted]) for name in first}
        self._joined = (newest, joined)
        return joined
