from __future__ import annotations

import torch

from styleflow.training.chance import Chance
from styleflow.training.reservoir import Reservoir, Rows


def counted() -> tuple[Reservoir, list[float]]:
    made: list[float] = []

    def make(chance: Chance) -> Rows:
        value = chance.uniform()
        made.append(value)
        return {"value": torch.tensor([value, value])}

    return Reservoir(make, seed=3, rounds=3, steps_per_round=10), made


def test_a_round_is_made_once_and_the_oldest_goes() -> None:
    reservoir, made = counted()

    first = [reservoir.at(step)["value"].unique(sorted=False).tolist() for step in range(10)]
    later = reservoir.at(10)["value"]

    assert all(values == first[0] for values in first)
    assert len(made) == 4
    assert len(later) == 6
    assert made[0] not in later.double().tolist()


def test_a_run_that_is_taken_up_again_makes_the_rounds_that_it_had() -> None:
    going, _ = counted()
    for step in range(35):
        expected = going.at(step)["value"]
    resumed, _ = counted()

    assert torch.equal(resumed.at(34)["value"], expected)
