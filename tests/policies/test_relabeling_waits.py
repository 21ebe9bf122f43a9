"""Relabellings wait for the jobs that were under way when they were ordered."""

from __future__ import annotations

import pytest
from sqlalchemy import event, text

from styleflow.database import Database
from styleflow.policies import relabeling
from styleflow.policies.relabeling import Scope
from styleflow.report import Thresholds
from styleflow.tables import JobRow
from tests.policies.test_relabeling import PROJECT, STRANGER, add_jobs, do, projects, put, until_done

__all__ = ["projects"]

LENIENT = Thresholds(policy="lenient", weak=0.97, suspicious=0.98, strong=0.99)


def in_flight(database: Database, *ids: str) -> None:
    """These jobs are running: what they will be is not known yet."""
    with database.transaction() as session:
        session.execute(
            text(
                "update jobs set state = 'running', outcome = null, verdict = null, probability = null, score = null"
                " where id = any(:ids)"
            ),
            {"ids": list(ids)},
        )


def settle(database: Database, identity: str, probability: float = 0.95, verdict: str = "weak") -> None:
    with database.transaction() as session:
        session.execute(
            text(
                "update jobs set state = 'succeeded', outcome = 'scored', verdict = :verdict, probability = :chance,"
                " finished_at = now() where id = :id"
            ),
            {"id": identity, "chance": probability, "verdict": verdict},
        )


def look_again(database: Database) -> int:
    with database.transaction() as session:
        session.execute(text("update relabelings set due_at = now() where finished_at is null"))
    return until_done(database)


def test_jobs_that_were_under_way_get_the_new_words_when_they_have_settled(projects: Database) -> None:
    add_jobs(projects, 20)
    first, second = "job_prj_one_000001", "job_prj_one_000015"
    in_flight(projects, first, second)
    put(projects)
    order = do(projects, relabeling.order, PROJECT, "strict", Scope())
    until_done(projects)
    assert do(projects, relabeling.get, PROJECT, order.id).finished_at is None

    settle(projects, second)
    look_again(projects)
    assert do(projects, relabeling.get, PROJECT, order.id).finished_at is None
    settle(projects, first)
    look_again(projects)

    row = do(projects, relabeling.get, PROJECT, order.id)
    assert (row.finished_at is not None, row.looked_at) == (True, 18)
    with projects.transaction() as session:
        for identity in (first, second):
            job = session.get_one(JobRow, identity)
            assert (job.verdict, job.policy, job.policy_revision) == ("strong", "strict", 1)


def test_a_job_that_settles_while_a_pass_walks_behind_it_is_not_missed(
    projects: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relabeling, "CHUNK", 5)
    add_jobs(projects, 20)
    in_flight(projects, "job_prj_one_000001")
    put(projects)
    order = do(projects, relabeling.order, PROJECT, "strict", Scope())
    relabeling.relabel_once(projects)
    settle(projects, "job_prj_one_000001")

    until_done(projects)
    look_again(projects)

    assert do(projects, relabeling.get, PROJECT, order.id).finished_at is not None
    with projects.transaction() as session:
        assert session.get_one(JobRow, "job_prj_one_000001").policy == "strict"


def test_jobs_made_after_an_order_or_outside_of_its_scope_are_not_waited_for(projects: Database) -> None:
    add_jobs(projects, 5)
    add_jobs(projects, 5, STRANGER)
    in_flight(projects, "job_prj_one_000001", "job_prj_one_000002", "job_prj_two_000001")
    put(projects)
    with projects.transaction() as session:
        session.execute(text("update jobs set created_at = now() + interval '1 hour' where id like '%one_000001'"))
        session.execute(text("update jobs set created_at = now() - interval '1 day' where id like '%one_000002'"))
        after = session.execute(text("select now() - interval '1 hour'")).scalar_one()
    order = do(projects, relabeling.order, PROJECT, "strict", Scope(created_after=after))

    until_done(projects)

    assert do(projects, relabeling.get, PROJECT, order.id).finished_at is not None


def test_an_order_that_waits_keeps_no_other_from_its_turn(projects: Database) -> None:
    add_jobs(projects, 10)
    in_flight(projects, "job_prj_one_000001")
    with projects.transaction() as session:
        session.execute(text("update jobs set batch_id = 'bat_1' where id <> 'job_prj_one_000001'"))
    put(projects)
    do(projects, relabeling.order, PROJECT, "strict", Scope())
    until_done(projects)
    order = do(projects, relabeling.order, PROJECT, "strict", Scope(batch_id="bat_1"))

    until_done(projects)

    assert do(projects, relabeling.get, PROJECT, order.id).finished_at is not None


def test_jobs_under_way_are_asked_for_in_one_statement(projects: Database) -> None:
    """In two, a job that goes from one state to the other in between would be in neither."""
    add_jobs(projects, 3)
    in_flight(projects, "job_prj_one_000001")
    put(projects)
    do(projects, relabeling.order, PROJECT, "strict", Scope())
    looks: list[str] = []

    def before(*seen: object) -> None:
        if "jobs.state = 'running'" in str(seen[2]):
            looks.append(str(seen[2]))

    event.listen(projects.engine, "before_cursor_execute", before)
    try:
        relabeling.relabel_once(projects)
    finally:
        event.remove(projects.engine, "before_cursor_execute", before)

    assert len(looks) == 1
    assert "jobs.state = 'queued'" in looks[0]


def test_of_overlapping_orders_the_newest_has_the_last_word_while_and_after_both_wait(projects: Database) -> None:
    add_jobs(projects, 3)
    late = "job_prj_one_000001"
    in_flight(projects, late)
    put(projects)
    put(projects, LENIENT)
    do(projects, relabeling.order, PROJECT, "strict", Scope())
    until_done(projects)
    do(projects, relabeling.order, PROJECT, "lenient", Scope())
    until_done(projects)

    for _ in range(4):
        with projects.transaction() as session:
            session.execute(text("update relabelings set due_at = now()"))
        relabeling.relabel_once(projects)
        assert set(policies(projects).values()) == {"lenient", "default"}
    settle(projects, late)
    look_again(projects)
    look_again(projects)

    assert set(policies(projects).values()) == {"lenient"}


def test_an_order_of_a_smaller_scope_takes_only_its_own_from_an_older_one(projects: Database) -> None:
    add_jobs(projects, 3)
    put(projects)
    put(projects, LENIENT)
    with projects.transaction() as session:
        cut = session.get_one(JobRow, "job_prj_one_000001").created_at
    do(projects, relabeling.order, PROJECT, "strict", Scope())
    do(projects, relabeling.order, PROJECT, "lenient", Scope(created_after=cut))

    until_done(projects)

    found = policies(projects)
    assert list(found.values()) == ["lenient", "strict", "strict"], "the first is the youngest"


def policies(database: Database) -> dict[str, str | None]:
    """Of each job of the project: whose words it has."""
    with database.transaction() as session:
        rows = session.execute(text("select id, policy from jobs where project_id = :id order by id"), {"id": PROJECT})
        return {row.id: row.policy for row in rows}
