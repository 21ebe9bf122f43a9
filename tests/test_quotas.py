"""Quotas on amounts: exact whoever comes at once, paid for by nobody who has none."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest
from sqlalchemy import event, text

from styleflow import quotas, usage
from styleflow.batch_tables import BatchRow
from styleflow.database import Database
from styleflow.errors import CorruptMedia, QuotaExceeded
from styleflow.jobs import progress
from styleflow.jobs.intake import submit, submit_all
from styleflow.quotas import Quotas
from tests.batches.conftest import yard  # noqa: F401 (a fixture)
from tests.batches.yard import Yard
from tests.jobs.desk import AGREED, PROJECT, Desk, new_job
from tests.jobs.reports import scored_report
from tests.jobs.test_progress import add_upload
from tests.stack import eventually


@pytest.fixture
def desk(database: Database) -> Desk:
    return Desk(database)


def own(desk: Desk, **changes: int | None) -> None:
    desk.do(quotas.set_own, PROJECT, changes)


def taken(desk: Desk, name: str) -> int:
    found = desk.do(quotas.all_standings, PROJECT, quotas.UNLIMITED)
    return next(int(one.used) for one in found if one.name == name)


def violated(error: QuotaExceeded) -> list[str]:
    return list(error.details["members"]["violated-policies"])


def test_of_thirty_at_once_exactly_as_many_are_accepted_as_may_be_open(desk: Desk) -> None:
    own(desk, active_jobs=7)

    def attempt(_: int) -> bool:
        try:
            desk.submit()
        except QuotaExceeded:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        accepted = list(pool.map(attempt, range(30)))

    assert accepted.count(True) == 7
    assert taken(desk, "active_jobs") == 7


def test_a_job_that_ends_leaves_its_place_to_another(desk: Desk) -> None:
    own(desk, active_jobs=2)
    held = desk.running()
    desk.submit()
    with pytest.raises(QuotaExceeded) as refusal:
        desk.submit()
    assert violated(refusal.value) == ["active-jobs"]
    assert refusal.value.details["retry_after"] == quotas.PAUSE_SECONDS

    desk.do(progress.fail, held.job_id, held.token, CorruptMedia())

    desk.submit()
    assert taken(desk, "active_jobs") == 2


def test_a_quota_counts_what_was_accepted_before_it_was_set(desk: Desk) -> None:
    for _ in range(3):
        desk.submit()
    own(desk, jobs_per_day=3)

    with pytest.raises(QuotaExceeded) as refusal:
        desk.submit()

    assert violated(refusal.value) == ["jobs-per-day"]
    midnight = quotas._tomorrow(datetime.now(UTC))
    assert abs(refusal.value.details["retry_after"] - (midnight - datetime.now(UTC)).total_seconds()) < 60


def test_several_quotas_are_named_together_and_the_longest_pause_counts(desk: Desk) -> None:
    own(desk, active_jobs=1, jobs_per_day=1)
    desk.submit()

    with pytest.raises(QuotaExceeded) as refusal:
        desk.submit()

    assert violated(refusal.value) == ["active-jobs", "jobs-per-day"]
    assert refusal.value.details["retry_after"] > quotas.PAUSE_SECONDS


def test_a_day_that_is_over_does_not_count(desk: Desk) -> None:
    own(desk, jobs_per_day=1)
    desk.submit()
    desk.sql("update usage_deltas set day = day - 1")

    desk.submit()


def test_all_of_a_list_is_accepted_or_none(desk: Desk) -> None:
    own(desk, active_jobs=4)

    with pytest.raises(QuotaExceeded):
        desk.do(submit_all, [new_job() for _ in range(5)])
    assert taken(desk, "active_jobs") == 0
    desk.do(submit_all, [new_job() for _ in range(4)])


def test_workers_time_that_is_used_up_ends_the_day(desk: Desk) -> None:
    own(desk, worker_seconds_per_day=10)
    held = desk.running()
    desk.sql("update attempts set started_at = now() - interval '11 seconds'")
    desk.do(progress.succeed, held.job_id, held.token, scored_report(), "evidence/x")

    with pytest.raises(QuotaExceeded) as refusal:
        desk.submit()

    assert violated(refusal.value) == ["worker-seconds-per-day"]
    assert taken(desk, "worker_seconds_per_day") == 11


def test_the_installations_quota_counts_until_the_project_has_its_own(desk: Desk) -> None:
    defaults = Quotas(active_jobs=1)
    desk.do(submit, new_job(), defaults)
    with pytest.raises(QuotaExceeded):
        desk.do(submit, new_job(), defaults)

    own(desk, active_jobs=0)
    desk.do(submit, new_job(), defaults)
    own(desk, active_jobs=None)
    with pytest.raises(QuotaExceeded):
        desk.do(submit, new_job(), defaults)


def test_a_project_without_quotas_takes_no_lock_and_one_statement(desk: Desk) -> None:
    statements: list[str] = []
    with desk.database.transaction() as session:
        usage.today(session)  # asked once in every transaction, by whoever comes first
        connection = session.connection()
        event.listen(connection, "before_cursor_execute", lambda *seen: statements.append(seen[2]))
        quotas.accept_jobs(session, PROJECT, {"styleflow@default": 1}, quotas.UNLIMITED)
        held = session.execute(
            text("select count(*) from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()")
        ).scalar_one()

    assert held == 0
    assert len(statements) == 2  # the second looks at the locks
    assert statements[0].lower().startswith("insert into usage_deltas")


def test_uploads_count_by_their_bytes(desk: Desk) -> None:
    own(desk, upload_bytes_per_day=100)
    desk.do(quotas.accept_upload, PROJECT, 60, quotas.UNLIMITED)

    with pytest.raises(QuotaExceeded) as refusal:
        desk.do(quotas.accept_upload, PROJECT, 41, quotas.UNLIMITED)

    assert violated(refusal.value) == ["upload-bytes-per-day"]
    desk.do(quotas.accept_upload, PROJECT, 40, quotas.UNLIMITED)
    assert taken(desk, "upload_bytes_per_day") == 100


def test_items_of_a_batch_wait_for_room_and_none_is_lost(yard: Yard) -> None:  # noqa: F811
    own(yard.desk, active_jobs=2)
    batch = yard.create({"type": "inline", "items": [{"source": _source(number)} for number in range(7)]})
    yard.expand()
    fed = []
    while yard.counts(batch).get("succeeded", 0) < 7:
        fed.append(yard.feed())
        assert yard.feed() == 0
        assert taken(yard.desk, "active_jobs") <= 2
        yard.settle(batch)
        assert len(fed) < 10

    assert fed == [2, 2, 2, 1]
    assert yard.counts(batch) == yard.counted(batch) == {"succeeded": 7}


def test_items_wait_for_the_next_day(yard: Yard) -> None:  # noqa: F811
    own(yard.desk, jobs_per_day=2)
    batch = yard.create({"type": "inline", "items": [{"source": _source(number)} for number in range(3)]})
    yard.expand()
    assert (yard.feed(), yard.feed()) == (2, 0)
    assert yard.counts(batch) == {"listed": 1, "queued": 2}

    yard.desk.sql("update usage_deltas set day = day - 1")

    assert yard.feed() == 1


def test_feeding_and_single_jobs_share_one_quota_at_any_moment(yard: Yard) -> None:  # noqa: F811
    own(yard.desk, active_jobs=9)
    items = [{"source": _source(number)} for number in range(40)]
    batches = [yard.create({"type": "inline", "items": items}) for _ in range(2)]
    yard.expand()

    def single(_: int) -> bool:
        try:
            yard.desk.submit()
        except QuotaExceeded:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        fed = [pool.submit(yard.feed) for _ in range(2)]
        singles = list(pool.map(single, range(12)))

    jobs = sum(one.result() for one in fed) + singles.count(True)
    assert jobs == taken(yard.desk, "active_jobs") == 9
    assert sum(sum(yard.counts(batch).values()) for batch in batches) == 80


def test_what_is_open_is_counted_rightly_through_everything_that_can_happen(desk: Desk) -> None:
    chance = random.Random(7)
    open_jobs: list[str] = []
    for _ in range(80):
        step = chance.choice(["submit", "submit", "succeed", "fail", "lose", "cancel", "fold"])
        if step == "submit":
            open_jobs.append(desk.submit(max_attempts=2))
        elif step == "fold":
            desk.do(usage.fold, 3)
        elif open_jobs:
            job_id = chance.choice(open_jobs)
            if step == "cancel":
                desk.do(progress.request_cancel, PROJECT, job_id)
            else:
                held = desk.try_claim(job_id)
                if held is not None and step == "succeed":
                    desk.do(progress.succeed, job_id, held.token, scored_report(), f"evidence/{job_id}")
                elif held is not None and step == "fail":
                    desk.do(progress.fail, job_id, held.token, CorruptMedia())
                elif held is not None:
                    desk.do(progress.release, job_id, held.token)
            open_jobs = [one for one in open_jobs if desk.job(one).state in ("queued", "running")]
        assert taken(desk, "active_jobs") == len(open_jobs)

    assert desk.do(usage.recount) == 0
    before = _report(desk)
    while desk.do(usage.fold):
        pass
    assert _report(desk) == before
    states = ("succeeded", "failed", "canceled", "expired")
    assert before["accepted"] - sum(before[state] for state in states) == len(open_jobs)
    assert before["scored"] == before["succeeded"] > 0


def test_a_count_that_is_wrong_is_mended(desk: Desk) -> None:
    desk.submit()
    desk.sql("update usage_deltas set active_jobs = 5")

    assert desk.do(usage.recount) == 1

    assert taken(desk, "active_jobs") == 1
    assert desk.do(usage.recount) == 0


def test_open_batches_are_counted_when_one_is_opened(yard: Yard) -> None:  # noqa: F811
    own(yard.desk, open_batches=1)
    first = yard.create()
    yard.desk.do(quotas.accept_batch, PROJECT, quotas.UNLIMITED)
    yard.create()

    with pytest.raises(QuotaExceeded) as refusal:
        yard.desk.do(quotas.accept_batch, PROJECT, quotas.UNLIMITED)
    assert violated(refusal.value) == ["open-batches"]

    with yard.desk.database.transaction() as session:
        session.get_one(BatchRow, first).finished_at = datetime.now(UTC)
    yard.desk.do(quotas.accept_batch, PROJECT, quotas.UNLIMITED)


def _source(number: int) -> dict[str, object]:
    return {"type": "s3", "bucket": "videos", "key": f"clip-{number}.mp4"}


def _report(desk: Desk) -> dict[str, int]:
    with desk.database.transaction() as session:
        day = usage.today(session)
        (row,) = usage.report(session, PROJECT, day, day.replace(year=day.year + 1), [])
    return {name: int(value) for name, value in row.items()}


def test_a_batch_that_is_fed_and_a_single_job_of_one_upload_do_not_wait_for_each_other(desk: Desk) -> None:
    """The one takes the quota's lock first, before it makes its jobs, the other last."""
    own(desk, active_jobs=10)
    upload = add_upload(desk)
    new = new_job(source={"type": "upload", "upload_id": upload}, retention=AGREED)
    waiting = "select exists (select from pg_locks where not granted and database = (select oid from pg_database where"
    with ThreadPoolExecutor(1) as pool:
        with desk.database.transaction() as feeding:
            assert quotas.room_for_jobs(feeding, PROJECT, quotas.UNLIMITED) == 10
            single = pool.submit(desk.do, submit, new)
            eventually(
                lambda: desk.do(lambda session: session.scalar(text(f"{waiting} datname = current_database()))")))
            )
            submit_all(feeding, [new])
        single.result(20)

    assert taken(desk, "active_jobs") == 2
