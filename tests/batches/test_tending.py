"""How batches end, stop and try again."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from sqlalchemy import select

from styleflow.batches import control
from styleflow.errors import NotFound, NotRetryable
from styleflow.webhook_tables import DeliveryRow, WebhookEndpointRow
from tests.batches.made_items import jsonl, keyed
from tests.batches.yard import TEMPLATE, Yard, item
from tests.jobs.desk import PROJECT


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
