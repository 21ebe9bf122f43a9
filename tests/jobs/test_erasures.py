from __future__ import annotations

import hashlib
import threading
from concurrent.futures import ThreadPoolExecutor, wait
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, text

from styleflow.api_keys import derived_key
from styleflow.errors import Erased, LegalHold, NotFound
from styleflow.jobs import erasures, holds, progress
from styleflow.jobs.erasure_proofs import selector_digest
from styleflow.jobs.erasures import ErasureRunner, get_erasure
from styleflow.jobs.tombstones import digest
from styleflow.retention_tables import ErasureRow, TombstoneRow
from styleflow.tables import JobRow, ProjectRow, UploadRow
from styleflow.webhook_tables import EventRow
from tests.jobs.desk import AGREED, KEY, PROJECT, Desk
from tests.jobs.test_progress import add_upload


def order(desk: Desk, by: Any, value: Any, **changes: Any) -> str:
    values = {"requested_by": KEY, **changes}
    identity: str = desk.do(lambda session: erasures.order(session, PROJECT, by, value, **values).id)
    return identity


SELECTOR_KEY = derived_key("a key of sixteen", "erasure selectors")


def run(desk: Desk, turns: int = 1) -> None:
    """Turns of a light worker whose bucket lets go of everything at once."""
    runner = ErasureRunner(database=desk.database, owner="test", selector_key=SELECTOR_KEY)
    for _ in range(turns):
        desk.sql("delete from object_erasures")
        desk.sql("update erasures set lease_expires_at = now() where finished_at is null")
        runner.run_once()


def state(desk: Desk, erasure: str) -> tuple[str, int, int, int]:
    row = desk.do(get_erasure, PROJECT, erasure)
    return row.state, row.erased, row.held, row.waiting


def test_everything_about_a_reference_goes_in_whatever_state_it_is(desk: Desk) -> None:
    done, failed = desk.succeeded(client_ref="who"), desk.running(client_ref="who")
    desk.do(progress.cancel, failed.job_id, failed.token)
    queued, other = desk.submit(client_ref="who"), desk.succeeded(client_ref="else")
    running = desk.running(client_ref="who") if desk.claim(queued, worker="w") else None
    assert running is not None
    erasure = order(desk, "client_ref", "who")
    assert state(desk, erasure) == ("pending", 0, 0, 0)

    run(desk)
    assert state(desk, erasure) == ("running", 2, 0, 2)
    assert desk.job(running.job_id).cancel_requested_at is not None

    for job_id, token in ((running.job_id, running.token), (queued, 1)):
        desk.do(progress.cancel, job_id, token)
    run(desk, turns=3)

    assert state(desk, erasure) == ("completed", 4, 0, 0)
    assert {desk.job(identity).client_ref for identity in (done, failed.job_id, queued, running.job_id)} == {None}
    assert desk.job(other).client_ref == "else"


def test_jobs_that_were_made_afterwards_or_too_late_are_not_meant(desk: Desk) -> None:
    old, young = desk.succeeded(client_ref="who"), desk.succeeded(client_ref="who")
    desk.sql("update jobs set created_at = now() - interval '10 days' where id = :id", id=old)
    erasure = order(desk, "client_ref", "who", created_before=desk.now() - timedelta(days=5))

    run(desk, turns=2)

    assert state(desk, erasure)[:2] == ("completed", 1)
    assert desk.job(young).erased_at is None


def test_a_video_is_found_by_its_digest_in_results_and_sources_and_among_uploads(desk: Desk) -> None:
    sha256 = "ab" * 32
    scored = desk.succeeded()
    failed = desk.submit(source={"type": "upload", "upload_id": "upl_2", "sha256": sha256})
    add_upload(desk)
    desk.sql("update uploads set sha256 = :sha", sha=sha256)
    erasure = order(desk, "sha256", sha256)

    run(desk, turns=2)

    assert state(desk, erasure)[:2] == ("completed", 2)
    assert {desk.job(identity).erased_at is None for identity in (scored, failed)} == {False}
    with desk.database.transaction() as session:
        assert session.get_one(UploadRow, "upl_1").state == "erased"
        assert session.get_one(ErasureRow, erasure).uploads == 1


def test_of_a_list_foreign_and_unknown_ids_are_alike(desk: Desk) -> None:
    desk.do(lambda session: session.add(ProjectRow(id="prj_other", name="other")))
    mine, foreign = desk.succeeded(), desk.succeeded(project_id="prj_other")
    erasure = order(desk, "job_ids", [mine, foreign, "job_never"])

    run(desk, turns=2)

    assert state(desk, erasure)[:2] == ("completed", 1)
    assert desk.do(get_erasure, PROJECT, erasure).unknown == 2
    assert desk.job(foreign).erased_at is None
    with pytest.raises(NotFound):
        desk.do(get_erasure, "prj_other", erasure)


def test_what_is_held_is_counted_and_stays(desk: Desk) -> None:
    held, free = desk.succeeded(client_ref="who"), desk.succeeded(client_ref="who")
    desk.do(holds.place, PROJECT, held, "a case", KEY)
    erasure = order(desk, "client_ref", "who")

    run(desk, turns=2)

    assert state(desk, erasure) == ("completed", 1, 1, 0)
    assert (desk.job(held).client_ref, desk.job(free).client_ref) == ("who", None)


def test_the_proof_says_who_when_how_many_and_what_and_not_whose(desk: Desk) -> None:
    first, second = desk.succeeded(client_ref="who"), desk.submit(client_ref="who")
    erasure = order(desk, "client_ref", "who")

    run(desk, turns=2)

    row = desk.do(get_erasure, PROJECT, erasure)
    with desk.database.transaction() as session:
        summary = session.get_one(TombstoneRow, first).summary_sha256
        whole = session.execute(text("select erasures::text from erasures")).scalar_one()
        (event,) = session.scalars(select(EventRow).where(EventRow.type == "data.erased"))
    lines = {first: f"{first} {summary} {'ab' * 32}\n", second: f"{second} - -\n"}
    listed = "".join(lines[identity] for identity in sorted(lines))
    assert row.proof["items_sha256"] == hashlib.sha256(listed.encode()).hexdigest()
    assert row.proof["counts"] == {
        "erased": 2, "held": 0, "unknown": 0, "uploads": 0, "uploads_kept": 0, "items": 0,
    }  # fmt: skip
    assert row.proof["requested_by"] == KEY
    assert row.selector == {"type": "client_ref", "hmac_sha256": selector_digest(SELECTOR_KEY, PROJECT, "who")}
    assert "who" not in whole
    assert digest(row.proof) in event.body
    assert first in event.body


def test_an_order_is_taken_up_where_a_dead_worker_left_it(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(erasures, "CHUNK", 2)
    monkeypatch.setattr(erasures, "TURN_CHUNKS", 1)
    for _ in range(5):
        desk.submit(client_ref="who")
    erasure = order(desk, "client_ref", "who")

    run(desk)
    assert state(desk, erasure)[:2] == ("running", 2)
    run(desk, turns=4)

    assert state(desk, erasure)[:2] == ("completed", 5)


def test_a_worker_that_lost_its_lease_writes_nothing(desk: Desk) -> None:
    identity = desk.submit(client_ref="who")
    erasure = order(desk, "client_ref", "who")
    desk.sql("update erasures set lease_token = 7")

    assert ErasureRunner(database=desk.database, owner="late", selector_key=SELECTOR_KEY)._step(erasure, 6) is False
    assert desk.job(identity).erased_at is None


def test_deleting_a_running_job_stops_it_and_erases_it_when_its_worker_let_go(desk: Desk) -> None:
    held = desk.running(client_ref="who")
    first, second = desk.erase(held.job_id), desk.erase(held.job_id)
    assert first == second
    assert desk.job(held.job_id).cancel_requested_at is not None

    desk.do(progress.cancel, held.job_id, held.token)
    run(desk, turns=3)

    assert state(desk, first)[:2] == ("completed", 1)
    assert desk.erase(held.job_id) == first, "asked for once more"
    desk.sql("update jobs set expires_at = now() - interval '1 second'")
    desk.sweep("jobs")
    assert desk.erase(held.job_id) == first, "and when the job's own row is gone"


def test_what_went_because_its_time_was_over_is_not_erased_again_and_a_foreign_job_is_not_there(desk: Desk) -> None:
    identity = desk.succeeded(retention=AGREED)
    with pytest.raises(NotFound):
        desk.do(erasures.order_job, "prj_other", identity, KEY)
    desk.sql("update jobs set expires_at = now() - interval '1 second'")
    desk.sweep("jobs")

    with pytest.raises(Erased, match="kept for their time"):
        desk.erase(identity)
    with pytest.raises(NotFound):
        desk.do(erasures.order_job, "prj_other", identity, KEY)


def test_a_held_job_is_not_deleted_and_one_that_is_deleted_is_not_held(desk: Desk) -> None:
    identity = desk.succeeded()
    desk.do(holds.place, PROJECT, identity, "a case", KEY)
    with pytest.raises(LegalHold):
        desk.erase(identity)

    desk.do(holds.release, PROJECT, identity, KEY)
    desk.erase(identity)
    with pytest.raises(Erased):
        desk.do(holds.place, PROJECT, identity, "a case", KEY)


def test_a_hold_that_comes_while_a_job_is_being_stopped_wins_over_its_erasure(desk: Desk) -> None:
    held = desk.running()
    erasure = desk.erase(held.job_id)
    desk.do(holds.place, PROJECT, held.job_id, "a case", KEY)
    desk.do(progress.cancel, held.job_id, held.token)

    run(desk, turns=3)

    assert state(desk, erasure) == ("completed", 0, 1, 0)
    assert desk.job(held.job_id).erased_at is None


def test_of_a_hold_and_an_erasure_at_the_same_moment_exactly_one_wins(desk: Desk) -> None:
    jobs = [desk.submit() for _ in range(12)]
    for identity in jobs:
        desk.do(progress.request_cancel, PROJECT, identity)
    start = threading.Barrier(2)

    def attempt(action: Any) -> bool:
        start.wait()
        try:
            action()
        except (LegalHold, Erased):
            return False
        return True

    with ThreadPoolExecutor(2) as pool:
        for identity in jobs:
            hold = pool.submit(attempt, lambda one=identity: desk.do(holds.place, PROJECT, one, "a case", KEY))
            erase = pool.submit(attempt, lambda one=identity: desk.erase(one))
            assert [hold.result(), erase.result()].count(True) == 1
            job = desk.job(identity)
            assert (job.held_at is None) == (job.erased_at is not None)


def test_a_second_hold_leaves_the_first_and_a_second_release_says_what_was(desk: Desk) -> None:
    identity = desk.submit()
    with pytest.raises(NotFound):
        desk.do(holds.release, PROJECT, identity, KEY)
    first = desk.do(holds.place, PROJECT, identity, "a case", KEY)
    second = desk.do(holds.place, PROJECT, identity, "another", "key_2")
    assert (second.id, second.reason) == (first.id, "a case")

    released = [desk.do(holds.release, PROJECT, identity, KEY) for _ in range(2)]
    assert released[0].id == released[1].id
    assert released[1].released_by == KEY
    with desk.database.transaction() as session:
        assert session.get_one(JobRow, identity).held_at is None


def test_a_hold_waits_for_whoever_is_about_to_erase_the_upload(desk: Desk) -> None:
    add_upload(desk)
    identity = desk.submit(source={"type": "upload", "upload_id": "upl_1"})
    with ThreadPoolExecutor(1) as pool:
        with desk.database.transaction() as erasing:
            erasing.get_one(UploadRow, "upl_1", with_for_update=True)
            held = pool.submit(desk.do, holds.place, PROJECT, identity, "a case", KEY)
            assert not wait([held], timeout=0.3).done
            assert not holds.is_upload_held(erasing, PROJECT, "upl_1")
        assert held.result(10).reason == "a case"
    assert desk.do(holds.is_upload_held, PROJECT, "upl_1")


def test_an_order_that_met_a_hold_does_not_stand_in_for_a_later_one(desk: Desk) -> None:
    held = desk.running()
    first = desk.erase(held.job_id)
    desk.do(holds.place, PROJECT, held.job_id, "a case", KEY)
    desk.do(progress.cancel, held.job_id, held.token)
    desk.do(lambda session: erasures.walk(session, session.get_one(ErasureRow, first)))
    desk.do(holds.release, PROJECT, held.job_id, KEY)

    second = desk.erase(held.job_id)

    assert second != first
    assert desk.job(held.job_id).erased_at is not None
