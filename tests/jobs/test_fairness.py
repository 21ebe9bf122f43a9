"""Laws of the round robin."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from styleflow.jobs.fairness import Debts, Ring, in_turn, share

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


COSTS = st.lists(st.floats(0.01, 1000), max_size=8)
QUEUES = st.dictionaries(st.sampled_from("abcdef"), COSTS, max_size=6)


@given(QUEUES, st.lists(st.integers(0, 10), min_size=1, max_size=10))
def test_no_place_stays_empty_while_somebody_waits_and_nobody_gets_more_than_it_has(
    queues: dict[str, list[float]], rooms: list[int]
) -> None:
    debts = Debts()
    for room in rooms:
        turns, debts = in_turn(queues, debts, room)

        assert len(turns) == min(room, sum(map(len, queues.values())))
        assert all(turns.count(project) <= len(jobs) for project, jobs in queues.items())
        queues = {project: jobs[turns.count(project) :] for project, jobs in queues.items()}


@given(
    st.dictionaries(st.sampled_from("abcdef"), st.lists(st.floats(0.1, 1000), min_size=1), min_size=2),
    st.lists(st.integers(0, 6), min_size=1, max_size=40),
)
def test_of_two_projects_that_always_wait_none_is_ahead_by_more_than_its_longest_job(
    cycles: dict[str, list[float]], rooms: list[int]
) -> None:
    served = dict.fromkeys(cycles, 0)
    work = dict.fromkeys(cycles, 0.0)
    debts = Debts()
    for room in rooms:
        waiting = {
            project: [jobs[(served[project] + ahead) % len(jobs)] for ahead in range(room + 1)]
            for project, jobs in cycles.items()
        }
        turns, debts = in_turn(waiting, debts, room)
        for project in turns:
            work[project] += cycles[project][served[project] % len(cycles[project])]
            served[project] += 1

    for one in cycles:
        assert all(work[one] - work[other] <= max(cycles[one]) + 1e-6 for other in cycles)


@given(QUEUES, st.integers(1, 10), st.floats(0.01, 1000))
def test_a_newcomer_goes_before_all_who_had_their_turn(queues: dict[str, list[float]], room: int, cost: float) -> None:
    busy = {project: [*jobs, 7.0] * 11 for project, jobs in queues.items()}
    turns, debts = in_turn(busy, Debts(), room)
    had_their_turn = set(turns)
    if not busy:
        return

    next_turns, _ = in_turn({**busy, "new": [cost]}, debts, len(busy) + 1)

    assert next_turns.index("new") <= len(busy.keys() - had_their_turn) + sum(
        debts.owed[project] == 0 for project in had_their_turn
    )


def test_a_single_project_with_any_backlog_lets_a_newcomer_go_next() -> None:
    _, debts = in_turn({"big": [5.0] * 100}, Debts(), 40)

    assert in_turn({"big": [5.0] * 100, "small": [900.0]}, debts, 2)[0] == ["small", "big"]


def test_work_is_shared_not_the_number_of_jobs() -> None:
    turns, _ = in_turn({"films": [600.0] * 50, "clips": [6.0] * 5000}, Debts(), 1010)

    assert turns.count("films") == 10


def test_a_project_that_was_idle_has_saved_nothing_up() -> None:
    busy = {"a": [1.0] * 100, "b": [1.0] * 100}
    _, debts = in_turn({"a": [1.0] * 101, "b": [1.0] * 100}, Debts(), 10)
    for _ in range(9):
        _, debts = in_turn({"a": [1.0] * 100}, debts, 1)

    turns, _ = in_turn(busy, debts, 10)

    assert turns.count("b") <= 6


def test_leaving_and_coming_back_is_no_way_to_go_twice() -> None:
    others = {name: [10.0] * 20 for name in "abc"}
    turns, debts = in_turn({**others, "d": [10.0]}, Debts(), 4)
    assert turns == ["a", "b", "c", "d"]

    assert in_turn({**others, "d": [10.0]}, debts, 4)[0] == ["a", "b", "c", "d"]


def test_where_nobody_had_to_wait_all_debts_are_forgiven() -> None:
    _, debts = in_turn({"a": [9000.0], "b": [1.0]}, Debts(), 3)

    assert debts == Debts()
