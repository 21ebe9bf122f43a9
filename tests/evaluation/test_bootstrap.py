from __future__ import annotations

import math

import numpy as np
from hypothesis import assume, given
from hypothesis import strategies as st

from styleflow.evaluation.bootstrap import intervals, rows_of_identities


def mean_of(values: list[float]) -> object:
    column = np.asarray(values)
    return lambda rows: {"mean": float(column[rows].mean())}


def test_the_same_seed_gives_the_same_interval_and_another_seed_another() -> None:
    values, people = [float(n) for n in range(20)], [f"p{n}" for n in range(20)]
    first, again, other = (intervals(people, mean_of(values), seed=seed) for seed in (1, 1, 2))  # type: ignore[arg-type]

    assert first == again != other


@given(st.lists(st.integers(-10, 10), min_size=2, max_size=15))
def test_an_interval_of_a_mean_lies_within_the_values(values: list[int]) -> None:
    assume(len(set(values)) > 1)
    people = [str(number) for number in range(len(values))]
    found = intervals(people, mean_of([float(value) for value in values]), seed=0, resamples=50)["mean"]  # type: ignore[arg-type]

    assert found.low is not None
    assert found.high is not None
    assert min(values) - 1e-9 <= found.low <= found.high <= max(values) + 1e-9


def test_no_error_among_few_videos_is_no_bound() -> None:
    found = intervals(["a", "b", "c"], mean_of([0.0, 0.0, 0.0]), seed=0)["mean"]  # type: ignore[arg-type]

    assert (found.value, found.low, found.high) == (0.0, None, None)
    assert found.why == "every resample gives the same, which bounds nothing"


def test_many_videos_of_few_people_make_a_wider_interval_than_as_many_people() -> None:
    random = np.random.default_rng(0)
    of_person = random.normal(size=5).repeat(20)
    alone = intervals([str(n) for n in range(100)], mean_of(of_person.tolist()), seed=0)["mean"]  # type: ignore[arg-type]
    shared = intervals([str(n // 20) for n in range(100)], mean_of(of_person.tolist()), seed=0)["mean"]  # type: ignore[arg-type]

    assert shared.high - shared.low > 2 * (alone.high - alone.low)  # type: ignore[operator]


def test_a_resample_without_a_value_is_dropped_and_counted() -> None:
    def only_with_the_first(rows: np.ndarray) -> dict[str, float]:  # type: ignore[type-arg]
        return {"share": float((rows == 0).mean()) if (rows == 0).any() else math.nan}

    found = intervals(["a", "b", "c"], only_with_the_first, seed=0, resamples=500)["share"]

    assert 0 < found.dropped < 250
    assert found.low == 1 / 3


def test_too_many_dropped_resamples_leave_no_interval_and_say_why() -> None:
    def only_in_the_given_order(rows: np.ndarray) -> dict[str, float]:  # type: ignore[type-arg]
        return {"value": 1.0 if rows.tolist() == [0, 1, 2, 3] else math.nan}

    found = intervals(list("abcd"), only_in_the_given_order, seed=0, resamples=100)["value"]

    assert (found.value, found.low, found.high) == (1.0, None, None)
    assert found.why == "too few identities for an interval"


def test_one_identity_gives_a_value_without_an_interval() -> None:
    found = intervals(["a", "a"], mean_of([1.0, 2.0]), seed=0)["mean"]  # type: ignore[arg-type]

    assert (found.value, found.low) == (1.5, None)
    assert found.why == "one identity gives no interval"


def test_an_undefined_value_is_none_and_not_a_number() -> None:
    found = intervals(["a", "b"], lambda _: {"value": math.nan}, seed=0, resamples=10)["value"]

    assert found.value is None
    assert found.why


def test_rows_are_found_by_identity() -> None:
    assert [rows.tolist() for rows in rows_of_identities(["b", "a", "b"])] == [[1], [0, 2]]
