"""How batches end, stop and try again."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import func, select

from styleflow.batch_tables import BatchItemRow
from styleflow.batches import control
from styleflow.errors import NotFound, NotRetryable
from styleflow.jobs import erasure, erasures
from styleflow.jobs.erasures import ErasureRunner
from styleflow.jobs.keeping import Mode, Retention
from styleflow.retention_tables import ErasureRow
from styleflow.webhook_tables import DeliveryRow, WebhookEndpointRow
from tests.batches.made_items import jsonl, keyed
from tests.batches.yard import TEMPLATE, Yard, item
from tests.jobs.desk import KEY, PROJECT
from tests.jobs.test_progress import add_upload

ZERO = Retention(mode=Mode.ZERO, source_hours=0, crops_days=0, frames_days=0, results_days=0)


def many(count: int) -> dict[str, object]:
    return {"type": "inline", "items": [item(number) for number in range(count)]}


def running(yard: Yard, count: int = 4, **changes: object) -> str:
    batch = yard.create(many(count), **changes)
    yard.expand()
    yard.feed()
    return batch


def test_a_batch_of_which_all_succeeded_is_completed_and_announced_once(yard: Yard) -> None:
    batch = running(yard)
    yard.tend()
    assert yard.batch(batch).state == "running"

    yard.settle(batch)
    yard.tend()
    yard.tend()

    row = yard.batch(batch)
    assert (row.state, row.finished_at is not None) == ("completed", True)
    [event] = yard.events("batch.completed")
    data = json.loads(event.body)["data"]
    assert (data["batch_id"], data["state"], data["counts"]["succeeded"]) == (batch, "completed", 4)
    assert event.job_id is None


def test_the_end_is_told_to_whoever_subscribed_and_to_the_callback(yard: Yard) -> None:
    def endpoint(identity: str, events: list[str]) -> None:
        row = WebhookEndpointRow(
            id=identity, project_id=PROJECT, url="https://a", events=events, description="", state="active",
            secret_encrypted=b"x",
        )  # fmt: skip
        yard.desk.do(lambda session: session.add(row))

    for identity, events in {"whe_1": ["batch.*"], "whe_2": ["job.queued"], "whe_3": ["job.expired"]}.items():
        endpoint(identity, events)
    batch = running(yard, template={**TEMPLATE, "callback_endpoint_id": "whe_3"})
    yard.settle(batch)
    yard.tend()

    [event] = yard.events("batch.completed")
    with yard.desk.database.transaction() as session:
        told = session.scalars(select(DeliveryRow.endpoint_id).filter_by(event_id=event.id)).all()
    assert sorted(told) == ["whe_1", "whe_3"]


def test_an_empty_manifest_is_completed(yard: Yard) -> None:
    batch = yard.manifest(b"")
    yard.expand()
    yard.tend()

    assert yard.batch(batch).state == "completed"


def test_a_batch_with_failures_says_so(yard: Yard) -> None:
    batch = running(yard)
    yard.settle(batch, failed=True, limit=1)
    yard.settle(batch)
    yard.tend()

    assert yard.batch(batch).state == "completed_with_errors"


def test_canceling_takes_what_waits_and_what_is_queued_and_tells_what_runs(yard: Yard) -> None:
    batch = running(yard, 10, max_in_flight=4)
    held = yard.desk.claim(yard.jobs(batch)[0].id)

    yard.cancel(batch)
    yard.tend()
    assert yard.batch(batch).state == "canceling"
    assert yard.counts(batch) == {"running": 1, "canceled": 9}
    assert yard.desk.job(held.job_id).cancel_requested_at is not None

    yard.succeed(held.job_id, held.token)
    yard.tend()
    assert yard.batch(batch).state == "canceled"
    assert yard.counts(batch) == yard.counted(batch) == {"succeeded": 1, "canceled": 9}
    assert [found.state for found in yard.items(batch, "canceled")] == ["canceled"] * 9


def lines(yard: Yard, batch: str) -> list[dict[str, Any]]:
    with yard.desk.database.transaction() as session:
        found = select(BatchItemRow.item).where(BatchItemRow.batch_id == batch, BatchItemRow.state == "canceled")
        return list(session.scalars(found))


def test_with_zero_retention_nothing_remains_of_items_that_are_canceled_before_they_are_jobs(yard: Yard) -> None:
    batch = running(yard, 10, max_in_flight=4, template={**TEMPLATE, "retention": ZERO.stored()})

    yard.cancel(batch)
    yard.tend()

    assert lines(yard, batch) == [{}] * 6
    assert yard.batch(batch).state == "canceled"
    with yard.desk.database.transaction() as session:
        assert session.scalar(select(func.count(BatchItemRow.identity)).where(BatchItemRow.state == "canceled")) == 0


def test_canceled_items_are_found_by_an_erasure_of_their_reference_and_others_stay(yard: Yard) -> None:
    source = {"type": "inline", "items": [item(n, client_ref="who" if n % 2 else "else", tags={}) for n in range(6)]}
    batch = yard.create(source, max_in_flight=1)
    yard.expand()
    yard.cancel(batch)
    yard.tend()
    assert len([line for line in lines(yard, batch) if line["client_ref"] == "who"]) == 3
    erasure = yard.desk.do(lambda session: erasures.order(session, PROJECT, "client_ref", "who", requested_by=KEY).id)

    for _ in range(3):
        yard.desk.sql("update erasures set lease_expires_at = now()")
        ErasureRunner(database=yard.desk.database, owner="test", selector_key=b"k" * 32).run_once()

    assert sorted(line.get("client_ref", "") for line in lines(yard, batch)) == ["", "", "", "else", "else", "else"]
    with yard.desk.database.transaction() as session:
        row = session.get_one(ErasureRow, erasure)
        assert (row.state, row.items) == ("completed", 3)


def test_the_proof_of_an_erasure_names_an_upload_that_is_kept_for_a_waiting_item(yard: Yard) -> None:
    upload, sha256 = add_upload(yard.desk), "ab" * 32
    yard.desk.sql("update uploads set sha256 = :sha", sha=sha256)
    batch = yard.create({"type": "inline", "items": [{"source": {"type": "upload", "upload_id": upload}}]})
    yard.expand()
    yard.pause(batch)
    erasure = yard.desk.do(lambda session: erasures.order(session, PROJECT, "sha256", sha256, requested_by=KEY).id)

    ErasureRunner(database=yard.desk.database, owner="test", selector_key=b"k" * 32).run_once()

    row = yard.desk.do(erasures.get_erasure, PROJECT, erasure)
    assert (row.state, row.proof["counts"]["uploads"], row.proof["counts"]["uploads_kept"]) == ("completed", 0, 1)
    assert row.proof["kept_uploads"] == [{"upload_id": upload, "needed_by": ["item"]}]


def test_a_foreign_erasure_blanks_no_canceled_item(yard: Yard) -> None:
    yard.add_project("prj_other")
    batch = yard.create({"type": "inline", "items": [item(1, client_ref="who")]})
    yard.expand()
    yard.cancel(batch)
    yard.tend()
    blanked = yard.desk.do(erasure.blank_canceled_items, "prj_other", "who", yard.desk.now())
    too_late = yard.desk.do(erasure.blank_canceled_items, PROJECT, "who", yard.desk.now() - timedelta(hours=1))

    assert (blanked, too_late) == (0, 0)
    assert lines(yard, batch)[0]["client_ref"] == "who"


def test_a_batch_that_is_canceled_before_it_is_expanded_forgets_its_list(yard: Yard) -> None:
    batch = yard.create(many(3))
    yard.cancel(batch)
    yard.tend()

    assert yard.batch(batch).state == "canceled"
    assert yard.batch(batch).source == {"type": "inline", "count": 3}


def test_what_failed_is_tried_again_as_new_jobs_and_only_that(yard: Yard) -> None:
    batch = running(yard)
    yard.settle(batch, failed=True, limit=2)
    yard.settle(batch)
    yard.tend()
    failed = [job.id for job in yard.jobs(batch) if job.state == "failed"]

    yard.retry_failed(batch)
    yard.tend()
    assert yard.counts(batch) == {"listed": 2, "succeeded": 2}
    assert yard.feed() == 2
    yard.settle(batch)
    yard.tend()

    again = [job for job in yard.jobs(batch) if job.parent_job_id is not None]
    assert [job.parent_job_id for job in again] == failed
    assert yard.counts(batch) == yard.counted(batch) == {"succeeded": 4}
    assert yard.batch(batch).state == "completed"
    first, second = (event.sequence for event in yard.events("batch.completed"))
    assert first < second


@pytest.mark.parametrize("order", [("erase", "retry"), ("retry", "erase")])
def test_what_was_erased_is_not_tried_again(yard: Yard, order: tuple[str, str]) -> None:
    batch = running(yard)
    yard.settle(batch, failed=True)
    yard.tend()
    erased, *others = [job.id for job in yard.jobs(batch)]

    for step in order:
        if step == "erase":
            yard.desk.erase(erased)
        else:
            yard.retry_failed(batch)
            yard.tend()

    assert yard.feed() == len(others)
    assert sorted(str(job.parent_job_id) for job in yard.jobs(batch) if job.parent_job_id) == sorted(others)
    assert yard.counts(batch) == yard.counted(batch)


def test_too_many_failures_stop_the_rest(yard: Yard) -> None:
    batch = yard.manifest(jsonl("{", *keyed(9)), max_in_flight=4, max_item_errors=2)
    yard.expand()
    yard.feed()
    yard.settle(batch, failed=True, limit=1)

    yard.tend()

    row = yard.batch(batch)
    assert (row.state, row.error and row.error["code"]) == ("canceled", "too_many_item_errors")
    assert yard.counts(batch) == {"invalid": 1, "failed": 1, "canceled": 8}


def test_a_spent_budget_stops_the_rest(yard: Yard) -> None:
    batch = running(yard, 9, max_in_flight=2, budget_seconds=100.0)
    held = yard.desk.claim(yard.jobs(batch)[0].id)
    yard.desk.sql("update attempts set started_at = now() - interval '101 seconds'")
    yard.tend()
    assert yard.batch(batch).state == "running"

    yard.succeed(held.job_id, held.token)
    yard.tend()

    row = yard.batch(batch)
    assert (row.state, row.error and row.error["code"]) == ("canceled", "budget_exceeded")
    assert yard.counts(batch) == yard.counted(batch) == {"succeeded": 1, "canceled": 8}


def test_only_what_is_going_on_can_be_paused_and_only_what_failed_is_tried_again(yard: Yard) -> None:
    batch = running(yard)
    with pytest.raises(NotRetryable):
        yard.retry_failed(batch)
    yard.cancel(batch)
    for order in (yard.pause, yard.resume, yard.retry_failed):
        with pytest.raises(NotRetryable):
            order(batch)
    yard.tend()
    yard.cancel(batch)

    assert yard.batch(batch).state == "canceled"


def test_an_erasure_reaches_items_of_a_batch_that_is_still_being_canceled(yard: Yard) -> None:
    batch = yard.create({"type": "inline", "items": [item(n, client_ref="who", tags={}) for n in range(3)]})
    yard.expand()
    yard.desk.do(control.cancel, PROJECT, batch)

    order = yard.desk.do(lambda session: erasures.order(session, PROJECT, "client_ref", "who", requested_by=KEY).id)
    runner = ErasureRunner(database=yard.desk.database, owner="o", selector_key=b"k" * 32)
    while runner.run_once():
        pass
    yard.tend()

    with yard.desk.database.transaction() as session:
        row = session.get_one(ErasureRow, order)
        assert (row.state, row.items) == ("completed", 3)
    assert lines(yard, batch) == [{}, {}, {}]


def test_another_projects_batch_is_not_found(yard: Yard) -> None:
    batch = yard.create()

    with pytest.raises(NotFound):
        yard.desk.do(control.cancel, "prj_other", batch)


def test_how_fast_it_drains_is_known_after_some_seconds(yard: Yard) -> None:
    batch = running(yard)
    yard.settle(batch, limit=2)
    yard.desk.sql("update batches set drain_at = now() - interval '20 seconds' where id = :id", id=batch)

    yard.tend()

    row = yard.batch(batch)
    assert row.drain_rate == pytest.approx(0.1, rel=0.1)
    assert row.drain_settled == 2
    assert (datetime.now(UTC) - row.drain_at).total_seconds() < 20
