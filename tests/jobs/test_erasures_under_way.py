"""Erasures wait for what is under way, and their proofs claim no more than was done."""

from __future__ import annotations

from typing import Any

import pytest

from styleflow.api_keys import derived_key
from styleflow.errors import CorruptMedia
from styleflow.jobs import erasures, holds, progress
from styleflow.jobs.erasure_proofs import selector_digest
from styleflow.jobs.erasures import get_erasure
from styleflow.jobs.tombstones import digest
from styleflow.retention_tables import ErasureRow
from tests.jobs.desk import KEY, PROJECT, Desk
from tests.jobs.reports import scored_report
from tests.jobs.test_erasures import SELECTOR_KEY, order, run, state
from tests.jobs.test_progress import add_upload

SHA256 = "ab" * 32
"""Of the video in every report of these tests."""


def proof(desk: Desk, erasure: str) -> dict[str, Any]:
    row = desk.do(get_erasure, PROJECT, erasure)
    assert row.proof is not None
    found: dict[str, Any] = row.proof
    return found


def test_a_video_is_found_in_jobs_that_were_under_way_when_its_erasure_was_ordered(desk: Desk) -> None:
    """What they hold shows at their end, so the order waits for them, and only for them."""
    running, queued = desk.running(), desk.submit()
    erasure = order(desk, "sha256", SHA256)
    later = desk.succeeded()

    run(desk, turns=2)
    row = desk.do(get_erasure, PROJECT, erasure)
    assert (row.state, row.erased, row.waiting, row.undecided) == ("running", 0, 0, 2)
    assert desk.job(running.job_id).cancel_requested_at is None, "it may hold another video"

    desk.do(progress.succeed, running.job_id, running.token, scored_report(), "evidence/1")
    run(desk, turns=2)
    assert desk.job(running.job_id).erased_at is not None
    assert state(desk, erasure)[0] == "running"

    other = desk.claim(queued)
    desk.do(progress.fail, queued, other.token, CorruptMedia())
    run(desk, turns=2)
    assert state(desk, erasure)[:2] == ("completed", 1)
    assert (desk.job(later).erased_at, desk.job(queued).erased_at) == (None, None)


def test_a_job_that_settles_between_the_look_at_what_is_under_way_and_the_walk_is_not_missed(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = desk.running()
    erasure = order(desk, "sha256", SHA256)
    looked = erasures._next_jobs

    def settles_behind_it(session: Any, row: ErasureRow) -> Any:
        found = looked(session, row)
        if desk.job(held.job_id).state == "running":
            desk.do(progress.succeed, held.job_id, held.token, scored_report(), "evidence/1")
        return found

    monkeypatch.setattr(erasures, "_next_jobs", settles_behind_it)
    run(desk, turns=3)

    assert state(desk, erasure)[:2] == ("completed", 1)


def test_an_order_over_a_video_does_not_wait_for_jobs_whose_upload_announced_another(desk: Desk) -> None:
    desk.running(source={"type": "upload", "upload_id": "upl_2", "sha256": "cd" * 32})
    desk.succeeded()
    erasure = order(desk, "sha256", SHA256)

    run(desk, turns=2)

    assert state(desk, erasure)[:2] == ("completed", 1)


def test_the_proof_names_an_upload_that_is_kept_and_for_whom(desk: Desk) -> None:
    """Of a video that a job made later is to judge the bytes stay, and the proof does not say that they went."""
    add_upload(desk)
    desk.sql("update uploads set sha256 = :sha", sha=SHA256)
    erasure = order(desk, "sha256", SHA256)
    desk.submit(source={"type": "upload", "upload_id": "upl_1", "sha256": SHA256})

    run(desk, turns=3)

    assert state(desk, erasure)[0] == "completed"
    told = proof(desk, erasure)
    assert (told["counts"]["uploads"], told["counts"]["uploads_kept"]) == (0, 1)
    assert told["kept_uploads"] == [{"upload_id": "upl_1", "needed_by": ["job"]}]


def test_the_proof_of_a_job_names_its_upload_when_another_job_keeps_it(desk: Desk) -> None:
    add_upload(desk)
    mine, other = (desk.succeeded(source={"type": "upload", "upload_id": "upl_1"}) for _ in range(2))
    desk.do(holds.place, PROJECT, other, "a case", KEY)
    erasure = desk.erase(mine)

    run(desk, turns=3)

    assert proof(desk, erasure)["kept_uploads"] == [{"upload_id": "upl_1", "needed_by": ["hold"]}]


def test_an_upload_that_goes_with_a_later_job_of_the_same_order_is_not_told_as_kept(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(erasures, "CHUNK", 1)
    add_upload(desk)
    for _ in range(2):
        desk.succeeded(source={"type": "upload", "upload_id": "upl_1"}, client_ref="who")
    erasure = order(desk, "client_ref", "who")

    run(desk, turns=4)

    assert proof(desk, erasure)["kept_uploads"] == []
    assert proof(desk, erasure)["counts"]["erased"] == 2


def test_the_digest_of_a_selector_cannot_be_guessed_without_the_services_key_nor_compared_between_projects() -> None:
    mine = selector_digest(SELECTOR_KEY, PROJECT, "who")

    assert mine == selector_digest(SELECTOR_KEY, PROJECT, "who")
    others = {
        selector_digest(SELECTOR_KEY, "prj_other", "who"),
        selector_digest(derived_key("another secret key", "erasure selectors"), PROJECT, "who"),
        digest({"value": "who"}),
    }
    assert mine not in others


def test_many_orders_that_wait_do_not_keep_one_that_has_work_from_its_turn(desk: Desk) -> None:
    desk.running()
    for _ in range(5):
        order(desk, "sha256", "ee" * 32)
    desk.succeeded(client_ref="who")
    erasure = order(desk, "client_ref", "who")

    run(desk, turns=2)

    assert state(desk, erasure)[0] == "completed"
