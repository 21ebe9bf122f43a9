from __future__ import annotations

import pytest
from sqlalchemy import select, text

from styleflow.errors import CorruptMedia, Erased, IdempotencyMismatch
from styleflow.jobs import idempotency, progress
from styleflow.storage.keys import report_key
from styleflow.webhook_tables import DeliveryRow
from tests.jobs.desk import PROJECT, Desk
from tests.jobs.reports import scored_report
from tests.jobs.test_progress import add_endpoint, add_upload, everything


def test_an_erased_job_leaves_a_tombstone_and_names_the_objects_to_delete(desk: Desk) -> None:
    source = {"type": "upload", "upload_id": add_upload(desk)}
    held = desk.running(source=source, client_ref="who", tags={"a": "b"}, metadata={"c": "d"})
    desk.do(progress.succeed, held.job_id, held.token, scored_report(), "evidence/key")

    keys = desk.do(progress.erase, PROJECT, held.job_id)

    job, rows, _, no_nudge = everything(desk, held.job_id)
    assert sorted(keys) == [f"evidence/{held.job_id}/1/report.json", "evidence/key", "uploads/video"]
    assert (rows, no_nudge) == ([], True)
    assert {event.body for event in desk.events(held.job_id)} == {""}, "a reader may have stopped at one"
    assert isinstance(job, dict)
    assert job["erased_at"] is not None
    assert job["state"] == "succeeded"
    assert job["source"] == {"type": "upload"}
    personal = ("client_ref", "outcome", "verdict", "score", "probability", "media", "pipeline", "error")
    assert {job[name] for name in personal} == {None}
    assert [job[name] for name in ("tags", "job_metadata", "options", "progress")] == [{}, {}, {}, {}]
    with pytest.raises(Erased):
        desk.do(progress.erase, PROJECT, held.job_id)


def test_an_upload_that_another_job_names_outlives_the_erasure(desk: Desk) -> None:
    source = {"type": "upload", "upload_id": add_upload(desk)}
    first, second = desk.submit(source=source), desk.submit(source=source)
    for identity in (first, second):
        desk.do(progress.request_cancel, PROJECT, identity)

    assert desk.do(progress.erase, PROJECT, first) == []
    assert desk.do(progress.erase, PROJECT, second) == ["uploads/video"]


def test_an_event_that_is_still_on_its_way_survives_the_erasure(desk: Desk) -> None:
    add_endpoint(desk)
    identity = desk.submit()
    desk.do(progress.request_cancel, PROJECT, identity)
    desk.sql("update deliveries set state = 'delivered' where id = (select min(id) from deliveries)")

    desk.do(progress.erase, PROJECT, identity)

    assert [event.type for event in desk.events(identity) if event.body] == ["job.canceled"]
    with desk.database.transaction() as session:
        assert [delivery.state for delivery in session.scalars(select(DeliveryRow))] == ["pending"]


def test_the_answer_that_made_an_erased_job_is_not_told_again_and_its_key_stays_taken(desk: Desk) -> None:
    identity, other = desk.submit(client_ref="who"), desk.submit()
    for key, made in (("one", identity), ("two", other)):
        desk.do(idempotency.remember, PROJECT, "POST /v1/jobs", key, "f", 1.0)
        desk.do(idempotency.keep_answer, PROJECT, "POST /v1/jobs", key, 202, {"id": made, "client_ref": "who"}, {})
    desk.do(progress.request_cancel, PROJECT, identity)

    desk.do(progress.erase, PROJECT, identity)

    with pytest.raises(Erased):
        desk.do(idempotency.remember, PROJECT, "POST /v1/jobs", "one", "f", 1.0)
    with pytest.raises(IdempotencyMismatch):
        desk.do(idempotency.remember, PROJECT, "POST /v1/jobs", "one", "another body", 1.0)
    assert desk.do(idempotency.remember, PROJECT, "POST /v1/jobs", "two", "f", 1.0).body["id"] == other
    with desk.database.transaction() as session:
        kept = session.execute(text("select count(*) from idempotency_keys k where k::text like '%who%'")).scalar_one()
    assert kept == 1


def test_the_reports_of_every_attempt_are_named_for_deletion(desk: Desk) -> None:
    held = desk.running()
    desk.expire_lease(held.job_id)
    again = desk.claim(held.job_id)
    desk.do(progress.fail, again.job_id, again.token, CorruptMedia())

    keys = desk.do(progress.erase, PROJECT, held.job_id)

    assert keys == [report_key(held.job_id, token) for token in (1, 2)]
