"""A single job behind another project's backlog on real processes, told by what starts before it, not by a clock."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median

import pytest

from benchmarks.fairness import Place, idle, one_wait, placed
from tests.stack import eventually

WORKERS = 2


@pytest.fixture(scope="module")
def busy() -> Iterator[Place]:
    """Workers that are in the midst of the backlog."""
    with placed(WORKERS, job_seconds=0.4) as place:
        place.submit(place.big, 1000)
        before = place.started()
        eventually(lambda: place.started() > before + 2 * WORKERS, seconds=60)
        yield place


def test_a_single_job_starts_within_two_lengths_of_a_job_whatever_another_project_has_queued(busy: Place) -> None:
    for _ in range(4):
        assert one_wait(busy).overtaken <= 2 * WORKERS


def test_a_worker_hears_the_next_nudge_when_its_slot_is_free_and_not_at_its_next_look_around(busy: Place) -> None:
    eventually(lambda: len(idle(busy)) > 20, seconds=60)

    assert median(idle(busy)[WORKERS:]) < 0.2, "half a second on average when nothing wakes the loop"
