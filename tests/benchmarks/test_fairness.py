"""A single job behind another project's backlog on real processes, told by what starts before it, not by a clock."""

from __future__ import annotations

from benchmarks.fairness import one_wait, placed
from tests.stack import eventually

WORKERS = 2


def test_a_single_job_starts_within_two_lengths_of_a_job_whatever_another_project_has_queued() -> None:
    with placed(WORKERS, job_seconds=0.4) as place:
        place.submit(place.big, 1000)
        before = place.started()
        eventually(lambda: place.started() > before + 2 * WORKERS, seconds=60)

        for _ in range(4):
            assert one_wait(place).overtaken <= 2 * WORKERS
