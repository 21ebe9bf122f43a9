from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from styleflow.errors import InvalidRequest
from styleflow.jobs.keeping import (
    NOTHING_ASKED,
    Asked,
    House,
    Mode,
    Periods,
    Retention,
    agree,
    check_project,
    dates,
    read,
)

DEFAULT = Retention(source_hours=24, crops_days=30, frames_days=90, results_days=400)
MAXIMUM = Periods(source_hours=168, crops_days=365, frames_days=400, results_days=3650)
HOUSE = House(default=DEFAULT, maximum=MAXIMUM)
NAMES = ("source_hours", "crops_days", "frames_days", "results_days")

amounts = st.none() | st.floats(0, 5000)
wishes = st.builds(
    Asked,
    mode=st.none() | st.sampled_from(Mode),
    source_hours=amounts,
    crops_days=amounts,
    frames_days=amounts,
    results_days=amounts,
)


def agreed(project: Asked = NOTHING_ASKED, **job: Any) -> Retention:
    return agree(HOUSE, project, Asked(**job), "/retention")


def test_who_asks_for_nothing_gets_the_defaults() -> None:
    assert agreed() == DEFAULT


def test_the_job_wins_over_the_project_and_the_project_over_the_defaults() -> None:
    kept = agreed(Asked(frames_days=10, crops_days=5), frames_days=20)

    assert (kept.frames_days, kept.crops_days, kept.results_days) == (20, 5, 400)


@pytest.mark.parametrize(
    ("project", "job", "pointer"),
    [
        (NOTHING_ASKED, {"frames_days": 401}, "frames_days"),
        (NOTHING_ASKED, {"source_hours": 169}, "source_hours"),
        (NOTHING_ASKED, {"results_days": 10, "frames_days": 11}, "frames_days"),
        (NOTHING_ASKED, {"results_days": 1, "source_hours": 25}, "source_hours"),
        (NOTHING_ASKED, {"mode": Mode.ZERO, "crops_days": 1}, "crops_days"),
        (NOTHING_ASKED, {"mode": Mode.ZERO, "results_days": 3651}, "results_days"),
        (Asked(mode=Mode.ZERO), {"mode": Mode.STANDARD}, "mode"),
        (Asked(mode=Mode.ZERO, results_days=2), {"results_days": 3}, "results_days"),
        (Asked(mode=Mode.ZERO), {"frames_days": 1}, "frames_days"),
    ],
)
def test_what_does_not_fit_is_refused_and_named(project: Asked, job: dict[str, Any], pointer: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        agreed(project, **job)

    assert refused.value.details["errors"][0]["pointer"] == f"/retention/{pointer}"


def test_zero_retention_keeps_the_answer_for_as_long_as_was_said_and_nothing_else() -> None:
    assert agreed(mode=Mode.ZERO).results_days == 0
    kept = agreed(Asked(mode=Mode.ZERO, results_days=7), results_days=2)
    assert [getattr(kept, name) for name in NAMES] == [0, 0, 0, 2]
    assert agreed(Asked(mode=Mode.ZERO, results_days=7)).results_days == 7


def test_a_maximum_that_was_lowered_since_holds_for_what_a_project_had_asked_for() -> None:
    kept = agreed(Asked(results_days=5000))

    assert kept.results_days == MAXIMUM.results_days


@given(wishes, wishes)
def test_whatever_is_asked_nothing_is_kept_beyond_a_maximum_or_beyond_its_job_or_against_a_wish(
    project: Asked, job: Asked
) -> None:
    try:
        kept = agree(HOUSE, project, job, "")
    except InvalidRequest:
        return
    assert all(0 <= getattr(kept, name) <= getattr(MAXIMUM, name) for name in NAMES)
    assert max(kept.crops_days, kept.frames_days, kept.source_hours / 24) <= kept.results_days + 1e-9
    assert all(getattr(job, name) in (None, getattr(kept, name)) for name in NAMES)
    if Mode.ZERO in (project.mode, job.mode):
        assert kept.mode is Mode.ZERO
        assert kept.source_hours == kept.crops_days == kept.frames_days == 0
    assert read(kept.stored()) == kept


@given(wishes)
def test_what_a_project_may_ask_for_is_what_its_jobs_get(wanted: Asked) -> None:
    try:
        promised = check_project(HOUSE, wanted)
    except InvalidRequest:
        return
    assert agree(HOUSE, wanted, NOTHING_ASKED, "") == promised


def test_dates_count_from_the_end_and_what_failed_has_no_evidence_to_end() -> None:
    end = datetime(2026, 11, 26, tzinfo=UTC)

    until = dates(DEFAULT, end, succeeded=True)
    assert (until.crops, until.frames) == (end + timedelta(days=30), end + timedelta(days=90))
    assert (until.results, until.zero) == (end + timedelta(days=400), None)
    assert dates(DEFAULT, end, succeeded=False).frames is None


def test_a_job_of_zero_retention_ends_minutes_later_and_its_answer_no_earlier() -> None:
    end = datetime(2026, 11, 26, tzinfo=UTC)

    until = dates(agreed(mode=Mode.ZERO), end, succeeded=True)
    assert until.zero == until.results == end + timedelta(minutes=15)
    assert dates(agreed(mode=Mode.ZERO, results_days=1), end, succeeded=True).results == end + timedelta(days=1)
