from __future__ import annotations

from typing import Any

import pytest

from styleflow.cli.remote.exits import Exit, of_problem, worst
from styleflow.cli.remote.judging import FailOn, end_of_batch, end_of_job, name_of, said_of


def job(**changes: Any) -> dict[str, Any]:
    return {"state": "succeeded", "outcome": "scored", "verdict": "weak", "probability": 0.4, "reason": None, **changes}


@pytest.mark.parametrize(
    ("changes", "fail_on", "need_score", "end"),
    [
        ({}, None, False, Exit.DONE),
        ({}, None, True, Exit.DONE),
        ({}, FailOn.WEAK, False, Exit.JUDGED_AGAINST),
        ({}, FailOn.SUSPICIOUS, False, Exit.DONE),
        ({"verdict": "strong"}, FailOn.SUSPICIOUS, False, Exit.JUDGED_AGAINST),
        ({"verdict": "no_evidence"}, FailOn.WEAK, False, Exit.DONE),
        ({"verdict": "a word of a later version"}, FailOn.STRONG, False, Exit.JUDGED_AGAINST),
        ({"outcome": "inconclusive"}, FailOn.WEAK, False, Exit.DONE),
        ({"outcome": "not_applicable"}, None, True, Exit.JUDGED_AGAINST),
        ({"state": "failed", "outcome": None}, None, False, Exit.JUDGED_AGAINST),
        ({"state": "canceled", "outcome": None}, None, False, Exit.JUDGED_AGAINST),
        ({"state": "expired", "outcome": None}, None, False, Exit.JUDGED_AGAINST),
    ],
)
def test_the_end_of_a_job_is_an_exit_code(
    changes: dict[str, Any], fail_on: FailOn | None, need_score: bool, end: Exit
) -> None:
    assert end_of_job(job(**changes), fail_on, need_score=need_score) is end


@pytest.mark.parametrize("state", ["completed_with_errors", "canceled"])
def test_only_a_batch_without_errors_is_done(state: str) -> None:
    assert end_of_batch({"state": "completed"}) is Exit.DONE
    assert end_of_batch({"state": state}) is Exit.JUDGED_AGAINST


@pytest.mark.parametrize(
    ("status", "end"),
    [
        (400, Exit.REFUSED),
        (401, Exit.FORBIDDEN),
        (403, Exit.FORBIDDEN),
        (404, Exit.NOT_FOUND),
        (409, Exit.REFUSED),
        (410, Exit.NOT_FOUND),
        (422, Exit.REFUSED),
        (429, Exit.UNREACHABLE),
        (500, Exit.UNREACHABLE),
        (503, Exit.UNREACHABLE),
    ],
)
def test_a_status_is_an_exit_code(status: int, end: Exit) -> None:
    assert of_problem(status, "any") is end


def test_a_source_that_is_not_allowed_is_no_fault_of_the_key() -> None:
    assert of_problem(403, "source_not_allowed") is Exit.REFUSED


def test_of_several_ends_the_one_counts_that_says_most_about_the_rest() -> None:
    assert worst([]) is Exit.DONE
    assert worst([Exit.DONE, Exit.JUDGED_AGAINST]) is Exit.JUDGED_AGAINST
    assert worst([Exit.JUDGED_AGAINST, Exit.REFUSED, Exit.TIMED_OUT]) is Exit.REFUSED
    assert worst([Exit.REFUSED, Exit.FORBIDDEN, Exit.UNREACHABLE]) is Exit.FORBIDDEN


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "weak 0.400"),
        ({"outcome": "inconclusive", "reason": "uncalibrated_weights"}, "inconclusive (uncalibrated_weights)"),
        ({"state": "failed", "error": {"code": "corrupt_media"}}, "corrupt_media"),
        ({"state": "running", "progress": {"phase": "analysing", "fraction": 0.5}}, "analysing 50 %"),
        ({"state": "queued"}, ""),
    ],
)
def test_what_is_said_of_a_job_is_a_few_words(changes: dict[str, Any], words: str) -> None:
    assert said_of(job(**changes)) == words


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"client_ref": "post-1", "source": {"url": "https://a/b.mp4"}}, "post-1"),
        ({"source": {"url": "https://a/b.mp4"}}, "b.mp4"),
        ({"source": {"bucket": "x", "key": "2026/c.mp4", "url": None}}, "c.mp4"),
        ({"source": {"upload_id": "upl_1"}}, "upl_1"),
    ],
)
def test_a_job_is_known_by_its_reference_else_by_its_source(changes: dict[str, Any], name: str) -> None:
    assert name_of(job(**changes)) == name
