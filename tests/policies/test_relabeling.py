"""New words on stored scores: all of them, each once, whatever dies between two chunks."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import select, text

from styleflow.database import Database
from styleflow.errors import NotFound, PreconditionFailed, PreconditionRequired, UnknownPolicy
from styleflow.policies import queries, relabeling, restoring
from styleflow.policies.relabeling import Scope
from styleflow.report import Thresholds
from styleflow.tables import JobRow, ProjectRow, ResultRow
from styleflow.verdicts import verdict

PROJECT, STRANGER = "prj_one", "prj_two"
STEPS = Thresholds(policy="strict", weak=0.3, suspicious=0.6, strong=0.9)
LATER = Thresholds(policy="strict", weak=0.5, suspicious=0.8, strong=0.95)


@pytest.fixture
def projects(database: Database) -> Database:
    with database.transaction() as session:
        session.add_all([ProjectRow(id=PROJECT, name="one"), ProjectRow(id=STRANGER, name="two")])
    return database


def do(database: Database, action: Callable[..., Any], *arguments: Any, **more: Any) -> Any:
    with database.transaction() as session:
        return action(session, *arguments, **more)


def add_jobs(database: Database, count: int, project: str = PROJECT, **columns: Any) -> None:
    """Scored jobs of probabilities spread over 0..1; a few without a score among them."""
    random.seed(7)
    with database.transaction() as session:
        for number in range(count):
            scored = number % 10 != 3
            chance = random.random() if scored else None
            made = text(f"now() - interval '{number + 1} seconds'")
            session.add(
                JobRow(
                    id=f"job_{project}_{number:06}",
                    project_id=project,
                    state="succeeded",
                    lane="bulk",
                    source={"type": "url"},
                    model="m",
                    options={},
                    tags={},
                    job_metadata={},
                    max_attempts=1,
                    outcome="scored" if scored else "inconclusive",
                    probability=chance,
                    score=chance,
                    verdict="weak" if scored else None,
                    created_at=made,
                    **columns,
                )
            )


def put(database: Database, thresholds: Thresholds = STEPS, expected: int | None = None) -> Any:
    return do(database, queries.put, PROJECT, thresholds.policy, thresholds, "", expected)


def until_done(database: Database) -> int:
    steps = 0
    while relabeling.relabel_once(database):
        steps += 1
    return steps


def test_every_scored_result_gets_its_word_and_cites_the_revision(
    projects: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relabeling, "CHUNK", 7)
    add_jobs(projects, 40)
    add_jobs(projects, 3, STRANGER)
    put(projects)
    order = do(projects, relabeling.order, PROJECT, "strict", Scope())

    assert until_done(projects) == 6

    done = do(projects, relabeling.get, PROJECT, order.id)
    assert (done.looked_at, done.finished_at is not None) == (36, True)
    with projects.transaction() as session:
        for job in session.scalars(select(JobRow)):
            if job.project_id == STRANGER or job.outcome != "scored":
                assert (job.policy, job.row_version) == ("default", 1)
                continue
            assert job.verdict == verdict(job.probability, STEPS)
            assert (job.policy, job.policy_revision, job.row_version) == ("strict", 1, 2)
            assert job.policy_thresholds == queries.snapshot(replace(STEPS, policy="strict@1"))


def killed_before_its_commit(database: Database) -> None:
    with suppress(InterruptedError), database.transaction() as session:
        relabeling._step(session, session.scalars(select(relabeling.RelabelingRow)).one())
        raise InterruptedError


def test_an_order_goes_on_behind_the_last_whole_chunk_and_looks_at_nothing_twice(
    projects: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relabeling, "CHUNK", 5)
    add_jobs(projects, 20)
    put(projects)
    do(projects, relabeling.order, PROJECT, "strict", Scope())
    relabeling.relabel_once(projects)
    killed_before_its_commit(projects)

    until_done(projects)

    with projects.transaction() as session:
        versions = Counter(session.scalars(select(JobRow.row_version).where(JobRow.outcome == "scored")))
    assert versions == {2: 18}


def test_an_older_revision_never_overwrites_a_newer_one(projects: Database) -> None:
    add_jobs(projects, 10)
    first = put(projects)
    second = put(projects, LATER, expected=1)
    with projects.transaction() as session:
        chances = dict(session.execute(select(JobRow.id, JobRow.probability).where(JobRow.outcome == "scored")).all())

    do(projects, relabeling.apply, second, chances)
    assert do(projects, relabeling.apply, first, chances) == 0

    with projects.transaction() as session:
        assert set(session.scalars(select(JobRow.policy_revision).where(JobRow.outcome == "scored"))) == {2}


def test_the_word_of_a_job_under_legal_hold_stays(projects: Database) -> None:
    add_jobs(projects, 3)
    policy = put(projects)
    with projects.transaction() as session:
        session.execute(text("update jobs set held_at = now() where id = 'job_prj_one_000001'"))
        chances = dict(session.execute(select(JobRow.id, JobRow.probability)).all())

    do(projects, relabeling.apply, policy, chances)

    with projects.transaction() as session:
        assert session.get_one(JobRow, "job_prj_one_000001").policy == "default"
        assert session.get_one(JobRow, "job_prj_one_000000").policy == "strict"


def test_an_order_looks_at_its_batch_and_times_only(projects: Database) -> None:
    add_jobs(projects, 20)
    put(projects)
    with projects.transaction() as session:
        session.execute(text("update jobs set batch_id = 'bat_1' where id < 'job_prj_one_000005'"))
    do(projects, relabeling.order, PROJECT, "strict", Scope(batch_id="bat_1"))

    until_done(projects)

    with projects.transaction() as session:
        relabeled = session.scalars(select(JobRow.batch_id).where(JobRow.policy == "strict")).all()
    assert relabeled == ["bat_1"] * 4


def test_a_preview_counts_what_relabelling_does(projects: Database) -> None:
    add_jobs(projects, 30)
    put(projects)
    foreseen = do(projects, relabeling.preview, PROJECT, STEPS, Scope())
    do(projects, relabeling.order, PROJECT, "strict", Scope())

    until_done(projects)

    with projects.transaction() as session:
        words = Counter(session.scalars(select(JobRow.verdict).where(JobRow.outcome == "scored")))
        changed = session.scalars(select(relabeling.RelabelingRow.changed)).one()
    assert foreseen == {"weak": dict(sorted(words.items()))}
    assert changed == sum(words.values()) - words["weak"]


def test_a_policy_is_changed_only_by_who_saw_its_newest_revision(projects: Database) -> None:
    assert put(projects).revision == 1
    with pytest.raises(PreconditionRequired):
        put(projects)
    assert put(projects, LATER, expected=1).revision == 2
    with pytest.raises(PreconditionFailed):
        put(projects, LATER, expected=1)
    with pytest.raises(PreconditionFailed):
        do(projects, queries.put, PROJECT, "new", STEPS, "", 1)

    assert [row.revision for row in do(projects, queries.list_revisions, PROJECT, "strict", 10, None)] == [2, 1]


def test_policies_of_another_project_are_not_there(projects: Database) -> None:
    put(projects)

    with pytest.raises(NotFound):
        do(projects, queries.newest, STRANGER, "strict")
    with pytest.raises(UnknownPolicy):
        do(projects, queries.chosen, STRANGER, "strict")
    assert do(projects, queries.chosen, STRANGER, "default") is None
    assert do(projects, queries.list_newest, STRANGER) == []


PACKS = Thresholds(policy="tiny", weak=0.2, suspicious=0.4, strong=0.8)
PACK = {"pack_sha256": "ab" * 32, "scoring_sha256": "cd" * 32}
OWN = {f"{PACK['pack_sha256']}/{PACK['scoring_sha256']}": queries.snapshot(PACKS)}


def under_strict(database: Database, count: int = 10, **columns: Any) -> None:
    """Jobs on which a policy was put."""
    add_jobs(database, count, **columns)
    put(database)
    do(database, relabeling.order, PROJECT, "strict", Scope())
    until_done(database)


def back(database: Database, own: restoring.Own = OWN) -> relabeling.RelabelingRow:
    order = do(database, relabeling.order, PROJECT, "default", Scope(), own)
    until_done(database)
    row: relabeling.RelabelingRow = do(database, relabeling.get, PROJECT, order.id)
    return row


def scored(database: Database) -> list[JobRow]:
    with database.transaction() as session:
        return list(session.scalars(select(JobRow).where(JobRow.outcome == "scored").order_by(JobRow.id)))


def keep_results(database: Database, thresholds: Thresholds) -> None:
    """Each job has a result that was judged by these."""
    with database.transaction() as session:
        found = session.scalars(select(JobRow.id).where(JobRow.outcome == "scored"))
        report = {"thresholds": queries.snapshot(thresholds)}
        session.add_all([ResultRow(job_id=job_id, token=1, report=report) for job_id in found])


def test_a_result_goes_back_to_the_thresholds_that_it_was_judged_by(projects: Database) -> None:
    under_strict(projects)
    keep_results(projects, PACKS)
    words = [job.verdict for job in scored(projects)]

    done = back(projects, own={})

    for job in scored(projects):
        assert job.verdict == verdict(job.probability or 0.0, PACKS)
        assert (job.policy, job.policy_revision, job.policy_thresholds) == ("default", None, None)
    assert done.looked_at == len(words)
    assert done.changed == sum(job.verdict != word for job, word in zip(scored(projects), words, strict=True)) > 0


def test_one_that_was_judged_under_a_policy_gets_those_of_its_pack(projects: Database) -> None:
    under_strict(projects, pipeline=PACK)
    keep_results(projects, replace(STEPS, policy="strict@1"))

    back(projects)

    for job in scored(projects):
        assert job.verdict == verdict(job.probability or 0.0, PACKS)
        assert (job.policy, job.policy_revision) == ("default", None)
        assert job.policy_thresholds == queries.snapshot(PACKS), "shown in place of the stored ones"


def test_one_whose_packs_thresholds_nobody_knows_is_left_alone(projects: Database) -> None:
    under_strict(projects, pipeline={**PACK, "scoring_sha256": None})
    before = [(job.verdict, job.row_version) for job in scored(projects)]

    assert back(projects).changed == 0

    assert [(job.verdict, job.row_version) for job in scored(projects)] == before
    assert {job.policy for job in scored(projects)} == {"strict"}


def test_what_is_held_or_erased_or_never_had_a_policy_keeps_its_word(projects: Database) -> None:
    under_strict(projects, pipeline=PACK)
    held, erased, plain, *rest = (job.id for job in scored(projects))
    with projects.transaction() as session:
        session.get_one(JobRow, held).held_at = session.get_one(JobRow, held).created_at
        session.get_one(JobRow, erased).erased_at = session.get_one(JobRow, erased).created_at
        session.get_one(JobRow, plain).policy_revision = None
    before = {job.id: job.row_version for job in scored(projects)}

    back(projects)

    after = {job.id: job.row_version for job in scored(projects)}
    assert {job_id for job_id in after if after[job_id] != before[job_id]} == set(rest)
