"""Laws of the round robin."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from styleflow.jobs.fairness import Ring, share

WANTS = st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 1000), max_size=6)


@given(WANTS, st.integers(1, 50), st.integers(0, 2000))
def test_nobody_gets_more_than_wanted_and_nothing_is_left_over(
    wants: dict[str, int], quantum: int, budget: int
) -> None:
    granted, _ = share(wants, Ring(), quantum=quantum, budget=budget)

    assert all(units <= wants[project] for project, units in granted.items())
    assert sum(granted.values()) == min(budget, sum(wants.values()))


@given(st.integers(2, 6), st.integers(1, 20), st.lists(st.integers(0, 60), min_size=1, max_size=20))
def test_over_any_rounds_no_hungry_project_is_more_than_a_quantum_behind(
    projects: int, quantum: int, budgets: list[int]
) -> None:
    wants = dict.fromkeys("abcdef"[:projects], 10_000)
    ring, total = Ring(), dict.fromkeys(wants, 0)
    for budget in budgets:
        granted, ring = share(wants, ring, quantum=quantum, budget=budget)
        total = {project: units + granted[project] for project, units in total.items()}

    assert max(total.values()) - min(total.values()) <= quantum


@given(st.integers(1, 20), st.integers(1, 20))
def test_a_newcomer_waits_one_turn_of_the_others_at_most(quantum: int, budget: int) -> None:
    ring = Ring()
    for _ in range(30):
        _, ring = share({"a": 10_000, "b": 10_000}, ring, quantum=quantum, budget=budget)

    given_to_others = 0
    while True:
        granted, ring = share({"a": 10_000, "b": 10_000, "new": 1}, ring, quantum=quantum, budget=1)
        if granted["new"]:
            break
        given_to_others += 1
    assert given_to_others <= 2 * quantum


def test_who_is_idle_saves_nothing_up() -> None:
    _, ring = share({"a": 5, "b": 5}, Ring(), quantum=10, budget=100)

    assert ring == Ring()
