from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Event

import pytest
from sqlalchemy import func, select

from styleflow.database import Database
from styleflow.errors import IdempotencyInProgress, IdempotencyMismatch
from styleflow.jobs.idempotency import StoredAnswer, keep_answer, remember
from styleflow.jobs.intake import submit
from styleflow.tables import JobRow
from tests.jobs.desk import PROJECT, Desk, new_job

OPERATION = "POST /v1/jobs"


def create(database: Database, key: str = "k", fingerprint: str = "f") -> tuple[bool, str]:
    """What a door does with an Idempotency-Key: whether it was replayed, and the job's id."""
    with database.transaction() as session:
        stored = remember(session, PROJECT, OPERATION, key, fingerprint, 1.0)
        if stored is not None:
            return True, stored.body["id"]
        job = submit(session, new_job())
        keep_answer(session, PROJECT, OPERATION, key, 202, {"id": job.id}, {"location": f"/v1/jobs/{job.id}"})
        return False, job.id


def test_the_second_request_gets_the_first_answer(desk: Desk) -> None:
    _, identity = create(desk.database)

    stored = desk.do(remember, PROJECT, OPERATION, "k", "f", 1.0)

    assert stored == StoredAnswer(status=202, body={"id": identity}, headers={"location": f"/v1/jobs/{identity}"})


def test_fifty_requests_at_once_make_one_job(desk: Desk) -> None:
    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(lambda _: create(desk.database), range(50)))

    assert [replayed for replayed, _ in answers].count(False) == 1
    assert len({identity for _, identity in answers}) == 1
    with desk.database.transaction() as session:
        assert session.scalar(select(func.count()).select_from(JobRow)) == 1


def test_the_same_key_with_another_body_is_refused(desk: Desk) -> None:
    create(desk.database)

    with pytest.raises(IdempotencyMismatch):
        create(desk.database, fingerprint="other")


def test_keys_of_other_operations_are_other_keys(desk: Desk) -> None:
    create(desk.database)

    assert desk.do(remember, PROJECT, "POST /v1/uploads", "k", "other", 1.0) is None


def test_a_request_whose_first_is_still_running_is_told_so_after_a_while(desk: Desk) -> None:
    started, done = Barrier(2), Event()

    def first() -> None:
        with desk.database.transaction() as session:
            remember(session, PROJECT, OPERATION, "k", "f", 1.0)
            started.wait()
            done.wait()

    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(first)
        started.wait()
        with pytest.raises(IdempotencyInProgress):
            create(desk.database)
        done.set()
        running.result()


def test_a_first_request_that_failed_leaves_the_key_free(desk: Desk) -> None:
    with desk.database.transaction() as session:
        remember(session, PROJECT, OPERATION, "k", "f", 1.0)
        session.rollback()

    assert create(desk.database)[0] is False


def test_a_key_can_be_used_anew_when_its_time_is_over(desk: Desk) -> None:
    _, first = create(desk.database)
    desk.sql("update idempotency_keys set expires_at = now() - interval '1 second'")

    replayed, second = create(desk.database, fingerprint="other")

    assert not replayed
    assert second != first
    assert create(desk.database, fingerprint="other") == (True, second)


def test_the_wait_for_the_first_request_does_not_limit_later_locks_of_the_transaction(desk: Desk) -> None:
    with desk.database.transaction() as session:
        before = session.scalar(select(func.current_setting("lock_timeout")))
        remember(session, PROJECT, OPERATION, "k", "f", 1.0)

        assert session.scalar(select(func.current_setting("lock_timeout"))) == before
