from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from styleflow.training.chance import Chance


@given(st.lists(st.integers(0, 2**40), min_size=1, max_size=4))
def test_the_same_seeds_give_the_same_draws(seeds: list[int]) -> None:
    first, second = Chance.seeded(*seeds), Chance.seeded(*seeds)

    assert [first.uniform() for _ in range(5)] == [second.uniform() for _ in range(5)]


def test_neighbouring_steps_of_neighbouring_seeds_draw_differently() -> None:
    draws = {Chance.seeded(seed, step).uniform() for seed in range(20) for step in range(50)}

    assert len(draws) == 1000


@given(st.integers(0, 1000), st.integers(-5, 5), st.integers(1, 9))
def test_a_whole_number_lies_in_its_range(seed: int, low: int, span: int) -> None:
    assert low <= Chance.seeded(seed).whole(low, low + span) < low + span


def test_an_item_without_weight_is_never_drawn() -> None:
    chance = Chance.seeded(1)

    drawn = {chance.weighted(["never", "once", "thrice"], [0.0, 1.0, 3.0]) for _ in range(200)}

    assert drawn == {"once", "thrice"}
