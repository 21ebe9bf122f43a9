"""Items become jobs, in turn and under a cap."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from sqlalchemy import select

from styleflow.batches.feeding import QUANTUM, Feeder, Want, divided
from styleflow.jobs import erasures
from styleflow.tables import OutboxRow, UploadRow
from tests.batches.yard import TEMPLATE, Yard, item
from tests.jobs.desk import AGREED, PROJECT
from tests.jobs.test_progress import add_upload


def many(count: int) -> dict[str, object]:
    return {"type": "inline", "items": [item(number) for number in range(count)]}


def test_an_item_becomes_a_job_as_if_it_had_been_submitted(yard: Yard) -> None:
    batch = yard.create({"type": "inline", "items": [item(1, client_ref="post-1", tags={"own": "1"})]}, request_id="r")
    yard.expand()

    assert yard.feed() == 1

    [job] = yard.jobs(batch)
    assert (job.state, job.lane, job.client_ref, job.request_id) == ("queued", "bulk", "post-1", "r")
    assert (job.tags, job.batch_position) == ({"of": "batch", "own": "1"}, 1)
    assert job.source == {"type": "s3", "bucket": "videos", "key": "clip-1.mp4", "version_id": None}
    assert yard.desk.nudge(job.id) is not None
    assert [event.type for event in yard.desk.events(job.id)] == ["job.queued"]
    assert [(found.state, found.job_id) for found in yard.items(batch)] == [("queued", job.id)]


def test_an_upload_becomes_a_source_that_is_pinned_to_its_bytes(yard: Yard) -> None:
    add_upload(yard.desk)
    yard.desk.sql("update uploads set etag = 'e', version_id = 'v'")
    batch = yard.create({"type": "inline", "items": [{"source": {"type": "upload", "upload_id": "upl_1"}}]})
    yard.expand()

    assert yard.feed() == 1

    assert yard.jobs(batch)[0].source == {
        "type": "upload",
        "upload_id": "upl_1",
        "key": "uploads/video",
        "etag": "e",
        "version_id": "v",
        "size_bytes": 1,
        "sha256": None,
    }


@pytest.mark.parametrize("change", ["state = 'pending'", "project_id = 'prj_other'", "id = 'upl_2'"])
def test_an_upload_that_is_not_complete_or_not_the_project_s_stays_a_name(yard: Yard, change: str) -> None:
    yard.desk.sql("insert into projects (id, name) values ('prj_other', 'other')")
    add_upload(yard.desk)
    yard.desk.sql(f"update uploads set {change}")
    batch = yard.create({"type": "inline", "items": [{"source": {"type": "upload", "upload_id": "upl_1"}}]})
    yard.expand()

    assert yard.feed() == 1

    [job] = yard.jobs(batch)
    assert job.source == {"type": "upload", "upload_id": "upl_1"}


def test_erasing_a_job_takes_no_upload_of_another_project_away(yard: Yard) -> None:
    yard.desk.sql("insert into projects (id, name) values ('prj_other', 'other')")
    add_upload(yard.desk)
    yard.desk.sql("update uploads set project_id = 'prj_other'")
    batch = yard.create({"type": "inline", "items": [{"source": {"type": "upload", "upload_id": "upl_1"}}]})
    yard.expand()
    yard.feed()
    yard.settle(batch, failed=True)

    yard.desk.do(erasures.order_job, PROJECT, yard.jobs(batch)[0].id, "key_1")

    upload = yard.desk.do(lambda session: session.get(UploadRow, "upl_1"))
    assert upload.state == "complete"
    assert "uploads/video" not in yard.desk.condemned()


def test_its_job_keeps_what_was_agreed_for_the_batch(yard: Yard) -> None:
    agreed = replace(AGREED, frames_days=7)
    batch = yard.create(many(1), template={**TEMPLATE, "retention": agreed.stored()})
    yard.expand()
    yard.feed()
    yard.settle(batch)

    [job] = yard.jobs(batch)
    assert job.retention is not None
    assert job.retention["frames_days"] == 7
    assert (job.frames_until - job.finished_at).days == 7


def test_no_more_jobs_are_in_flight_than_the_cap_allows(yard: Yard) -> None:
    batch = yard.create(many(10), max_in_flight=4)
    yard.expand()

    assert [yard.feed(), yard.feed()] == [4, 0]
    yard.settle(batch, limit=3)
    assert [yard.feed(), yard.feed()] == [3, 0]

    assert yard.counts(batch) == {"listed": 3, "queued": 4, "succeeded": 3}


def test_the_first_items_run_while_the_last_are_still_being_listed(yard: Yard) -> None:
    batch = yard.create(many(6))
    yard.expander(chunk=2, turn_seconds=0.0).expand_once()

    assert yard.feed() == 2
    assert yard.batch(batch).state == "expanding"


def test_a_paused_batch_is_not_fed_until_it_is_resumed(yard: Yard) -> None:
    batch = yard.create(many(3))
    yard.pause(batch)
    yard.expand()

    assert (yard.feed(), yard.batch(batch).state) == (0, "paused")

    yard.resume(batch)
    assert (yard.feed(), yard.batch(batch).state) == (3, "running")


def test_a_full_backlog_is_not_made_fuller(yard: Yard) -> None:
    yard.create(many(3))
    yard.expand()
    yard.feeder.max_queued = -1

    assert yard.feed() == 0


def test_a_project_with_little_is_served_in_the_same_round_as_one_with_much(yard: Yard) -> None:
    yard.add_project("prj_small")
    large = yard.create(many(300), max_in_flight=1000)
    small = yard.create(many(1), project_id="prj_small")
    yard.expand()
    feeder = Feeder(database=yard.desk.database, max_queued=10**6, max_attempts=1, keep_days=1, at_once=QUANTUM + 1)

    feeder.feed_once()

    assert yard.counts(small) == {"queued": 1}
    assert yard.counts(large)["queued"] == QUANTUM


def test_what_a_project_was_granted_goes_to_its_oldest_batch_first() -> None:
    wants = [Want("a1", "a", 3), Want("b1", "b", 5), Want("a2", "a", 5)]

    assert divided(wants, {"a": 4, "b": 2}) == [("a1", 3), ("b1", 2), ("a2", 1)]


def test_endpoints_are_told_of_each_job(yard: Yard) -> None:
    batch = yard.create(many(3))
    yard.expand()
    yard.feed()

    events = [event for job in yard.jobs(batch) for event in yard.desk.events(job.id)]
    assert [json.loads(event.body)["data"]["job_id"] for event in events] == [job.id for job in yard.jobs(batch)]
    with yard.desk.database.transaction() as session:
        assert len(session.scalars(select(OutboxRow)).all()) == 3
