from __future__ import annotations

import pytest
from sqlalchemy import select, text

from styleflow.errors import CorruptMedia, Erased, IdempotencyMismatch
from styleflow.jobs import idempotency, progress, queries
from styleflow.jobs.tombstones import digest
from styleflow.retention_tables import TombstoneRow
from styleflow.storage.keys import crops_prefix, evidence_prefix
from styleflow.tables import ResultRow
from styleflow.webhook_tables import DeliveryAttemptRow, DeliveryRow
from tests.jobs.desk import KEY, PROJECT, Desk
from tests.jobs.test_progress import add_endpoint, add_upload, everything


def test_an_erased_job_is_blank_and_its_objects_are_condemned(desk: Desk) -> None:
    source = {"type": "upload", "upload_id": add_upload(desk)}
    identity = desk.succeeded("odd/key", source=source, client_ref="who", tags={"a": "b"}, metadata={"c": "d"})

    desk.erase(identity)

    job, rows, _, no_nudge = everything(desk, identity)
    assert desk.condemned() == sorted([evidence_prefix(identity), crops_prefix(identity), "odd/key", "uploads/video"])
    assert (rows, no_nudge) == ([], True)
    assert {event.body for event in desk.events(identity)} == {""}, "a reader may have stopped at one"
    assert isinstance(job, dict)
    assert job["erased_at"] is not None
    assert job["state"] == "succeeded"
    assert job["source"] == {"type": "upload"}
    personal = (
        "client_ref",
        "outcome",
        "verdict",
        "score",
        "probability",
        "media",
        "pipeline",
        "error",
        "top_segments",
    )
    assert {job[name] for name in personal} == {None}
    assert [job[name] for name in ("tags", "job_metadata", "options", "progress")] == [{}, {}, {}, {}]


def test_the_tombstone_says_who_asked_and_proves_what_was(desk: Desk) -> None:
    identity = desk.succeeded()
    with desk.database.transaction() as session:
        summary = digest(session.get_one(ResultRow, identity).report)

    erasure = desk.erase(identity)

    with desk.database.transaction() as session:
        stone = session.get_one(TombstoneRow, identity)
    assert (stone.reason, stone.requested_by, stone.erasure_id) == ("request", KEY, erasure)
    assert (stone.summary_sha256, stone.media_sha256) == (summary, "ab" * 32)
    with pytest.raises(Erased) as told:
        desk.do(queries.get_job, PROJECT, identity)
    members = told.value.details["members"]
    assert (members["erased_class"], members["erasure_id"], members["summary_sha256"]) == ("job", erasure, summary)


def test_an_upload_that_another_job_names_outlives_the_erasure(desk: Desk) -> None:
    source = {"type": "upload", "upload_id": add_upload(desk)}
    first, second = desk.submit(source=source), desk.submit(source=source)

    desk.erase(first)
    assert "uploads/video" not in desk.condemned()

    desk.erase(second)
    assert "uploads/video" in desk.condemned()


def test_an_event_that_is_still_on_its_way_arrives_and_says_nothing_of_the_job(desk: Desk) -> None:
    add_endpoint(desk)
    identity = desk.submit(client_ref="who")
    desk.do(progress.request_cancel, PROJECT, identity)
    desk.sql("update deliveries set state = 'delivered' where id = (select min(id) from deliveries)")
    desk.sql(
        "insert into delivery_attempts (delivery_id, number, response_excerpt) select id, 1, 'who' from deliveries"
    )

    desk.erase(identity)

    (left,) = [event for event in desk.events(identity) if event.body]
    assert left.type == "job.canceled"
    assert '"erased":true' in left.body
    assert "who" not in left.body
    with desk.database.transaction() as session:
        assert [delivery.state for delivery in session.scalars(select(DeliveryRow))] == ["pending"]
        assert [attempt.response_excerpt for attempt in session.scalars(select(DeliveryAttemptRow))] == [None]


def test_the_answer_that_made_an_erased_job_is_not_told_again_and_its_key_stays_taken(desk: Desk) -> None:
    identity, other = desk.submit(client_ref="who"), desk.submit()
    for key, made in (("one", identity), ("two", other)):
        desk.do(idempotency.remember, PROJECT, "POST /v1/jobs", key, "f", 1.0)
        desk.do(idempotency.keep_answer, PROJECT, "POST /v1/jobs", key, 202, {"id": made, "client_ref": "who"}, {})

    desk.erase(identity)

    with pytest.raises(Erased):
        desk.do(idempotency.remember, PROJECT, "POST /v1/jobs", "one", "f", 1.0)
    with pytest.raises(IdempotencyMismatch):
        desk.do(idempotency.remember, PROJECT, "POST /v1/jobs", "one", "another body", 1.0)
    assert desk.do(idempotency.remember, PROJECT, "POST /v1/jobs", "two", "f", 1.0).body["id"] == other
    with desk.database.transaction() as session:
        kept = session.execute(text("select count(*) from idempotency_keys k where k::text like '%who%'")).scalar_one()
    assert kept == 1


def test_reports_of_every_attempt_lie_below_what_is_condemned(desk: Desk) -> None:
    held = desk.running()
    desk.expire_lease(held.job_id)
    again = desk.claim(held.job_id)
    desk.do(progress.fail, again.job_id, again.token, CorruptMedia())

    desk.erase(held.job_id)

    assert evidence_prefix(held.job_id) in desk.condemned()


def test_erasing_a_job_that_a_batch_waits_to_try_again_cancels_its_item(desk: Desk) -> None:
    desk.sql(
        "insert into batches (id, project_id, name, state, source, template, max_in_flight, expires_at)"
        " values ('bat_1', :project, 'b', 'running', '{}', '{}', 1, now() + interval '1 day')",
        project=PROJECT,
    )
    identity = desk.submit(batch_id="bat_1", batch_position=1)
    desk.do(progress.request_cancel, PROJECT, identity)
    desk.sql(
        "insert into batch_items (batch_id, position, state, item, job_id)"
        """ values ('bat_1', 1, 'listed', '{"client_ref": "who"}', :job)""",
        job=identity,
    )

    desk.erase(identity)

    with desk.database.transaction() as session:
        item = session.execute(text("select state, item from batch_items")).one()
    assert tuple(item) == ("canceled", {})


def test_a_job_without_a_result_leaves_a_tombstone_without_digests(desk: Desk) -> None:
    held = desk.running()
    desk.do(progress.fail, held.job_id, held.token, CorruptMedia())
    desk.erase(held.job_id)
    with desk.database.transaction() as session:
        stone = session.get_one(TombstoneRow, held.job_id)
    assert (stone.summary_sha256, stone.media_sha256) == (None, None)


def test_a_job_that_an_earlier_version_erased_is_erased_still(desk: Desk) -> None:
    identity = desk.submit()
    desk.erase(identity)
    desk.sql("delete from tombstones")
    desk.sql("delete from erasures")

    for ask in (queries.get_job, progress.request_cancel):
        with pytest.raises(Erased, match="erased, at 20"):
            desk.do(ask, PROJECT, identity)
    with pytest.raises(Erased):
        desk.erase(identity)
