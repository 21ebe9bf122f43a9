"""What a job is expected to take follows what those before it took."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from styleflow.errors import CorruptMedia, StorageUnavailable
from styleflow.jobs import progress
from styleflow.jobs.keeping import Mode, Retention
from styleflow.jobs.workload import LEAST_SECONDS, UNKNOWN_SECONDS, Kind, Pace, Workload, learn
from tests.jobs.desk import PROJECT, Desk

CLIPS, FILMS = Kind("prj_a", "realtime", "m"), Kind("prj_a", "bulk", "m")
MODEL = "styleflow@default"


def test_before_anything_has_settled_every_job_counts_the_same() -> None:
    assert Workload().expected(CLIPS, 10) == Workload().expected(FILMS, 10**9) == UNKNOWN_SECONDS


def test_each_project_lane_and_model_has_a_pace_of_its_own() -> None:
    workload = Workload()
    workload.observe(CLIPS, 5.0)
    workload.observe(FILMS, 7200.0)

    assert (workload.expected(CLIPS), workload.expected(FILMS)) == (5.0, 7200.0)


def test_of_an_unknown_project_it_is_what_others_take_in_that_lane() -> None:
    workload = Workload()
    workload.observe(CLIPS, 5.0, 1000)

    assert workload.expected(Kind("prj_new", "realtime", "m")) == 5.0
    assert workload.expected(Kind("prj_new", "realtime", "m"), 3000) == 15.0
    assert workload.expected(Kind("prj_new", "bulk", "m")) == UNKNOWN_SECONDS


def test_what_jobs_take_now_soon_outweighs_what_they_took_before() -> None:
    pace = Pace()
    for seconds in [5.0] * 5000 + [1000.0] * 35:
        pace.observe(seconds, None)

    assert pace.expected(None) > 500


@given(st.lists(st.tuples(st.floats(0, 1e5), st.one_of(st.none(), st.integers(0, 10**12))), min_size=1))
def test_the_expectation_is_positive_and_lies_within_what_was_seen(seen: list[tuple[float, int | None]]) -> None:
    pace = Pace()
    for seconds, size in seen:
        pace.observe(seconds, size)
    all_seconds = [seconds for seconds, _ in seen]

    assert LEAST_SECONDS <= pace.expected(None) <= max(LEAST_SECONDS, max(all_seconds) * (1 + 1e-9))
    assert pace.expected(10) >= LEAST_SECONDS


def test_it_is_learned_from_what_settled_each_once(desk: Desk) -> None:
    workload = Workload()
    upload = {"type": "upload", "key": "k", "size_bytes": 1000}
    for seconds in (40, 60):
        job = desk.succeeded(source=upload)
        desk.sql(
            "update attempts set started_at = finished_at - make_interval(secs => :s) where job_id = :id",
            s=seconds,
            id=job,
        )

    assert desk.do(learn, workload) == 2
    assert desk.do(learn, workload) == 0
    kind = Kind(PROJECT, "standard", MODEL)
    assert workload.expected(kind) == pytest.approx(50, abs=0.5)
    assert workload.expected(kind, 4000) == pytest.approx(200, abs=2)


def test_a_size_that_is_no_number_does_no_harm(desk: Desk) -> None:
    for size in ("many", None, 1.5, [1]):
        desk.succeeded(source={"type": "upload", "key": "k", "size_bytes": size})

    assert desk.do(learn, Workload()) == 4


def test_jobs_that_leave_nothing_behind_are_learned_from_too(desk: Desk) -> None:
    zero = Retention(source_hours=0, crops_days=0, frames_days=0, results_days=1, mode=Mode.ZERO)
    desk.succeeded(retention=zero)

    assert desk.do(learn, Workload()) == 1


def test_attempts_that_failed_held_a_worker_and_those_given_back_say_nothing(desk: Desk) -> None:
    failed, tried, released = desk.running(), desk.running(), desk.running()
    desk.do(progress.fail, failed.job_id, failed.token, CorruptMedia())
    desk.do(progress.fail, tried.job_id, tried.token, StorageUnavailable())
    desk.do(progress.release, released.job_id, released.token)

    assert desk.do(learn, Workload()) == 2
