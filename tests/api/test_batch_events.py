"""Server-sent events of a batch: its states and its progress, in order and without loss, until its end."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from itertools import pairwise

import httpx
from sqlalchemy import text

from styleflow.settings import Settings
from tests.api.conftest import Office, Tenant, serve
from tests.api.test_batches import inline, submitted, work
from tests.api.test_event_streams import Message, messages


def read(client: httpx.Client, batch: str, last: int | None = None) -> list[Message]:
    """Everything until the stream ends."""
    headers = {} if last is None else {"Last-Event-ID": str(last)}
    with client.stream("GET", f"/v1/batches/{batch}/events", headers=headers) as answer:
        assert answer.status_code == 200, answer.read()
        return list(messages(answer.iter_lines()))


def states(told: list[Message]) -> list[tuple[str, str]]:
    return [(message.event, message.data["event"]["data"]["state"]) for message in told]  # type: ignore[index]


def test_a_batch_tells_every_change_of_its_state_and_its_end(tenant: Tenant) -> None:
    batch = submitted(tenant, inline(2))["id"]
    for verb in ("pause", "resume"):
        assert tenant.client.post(f"/v1/batches/{batch}:{verb}").is_success
    work(tenant)
    assert tenant.client.post(f"/v1/batches/{batch}:cancel").is_success
    work(tenant)

    told = read(tenant.client, batch)

    assert states(told) == [
        ("batch.progress", "expanding"),
        ("batch.progress", "paused"),
        ("batch.progress", "expanding"),
        ("batch.progress", "running"),
        ("batch.progress", "canceling"),
        ("batch.completed", "canceled"),
    ]
    assert [message.id for message in told] == [1, 2, 3, 4, 5, 6]
    assert told[-1].data["event"]["data"]["counts"]["canceled"] == 2  # type: ignore[index]
    seen = tenant.client.get(f"/v1/batches/{batch}/events", headers={"Last-Event-ID": "6"})
    assert seen.status_code == 204
    beyond = tenant.client.get(f"/v1/batches/{batch}/events", headers={"Last-Event-ID": "7"})
    assert beyond.status_code == 422


def test_events_arrive_while_they_happen(tenant: Tenant) -> None:
    batch = submitted(tenant, inline(1))["id"]
    with tenant.client.stream("GET", f"/v1/batches/{batch}/events") as answer:
        story = messages(answer.iter_lines())
        assert states([next(story)]) == [("batch.progress", "expanding")]
        tenant.client.post(f"/v1/batches/{batch}:pause")
        assert states([next(story)]) == [("batch.progress", "paused")]


def test_the_story_goes_on_after_the_api_was_restarted_and_loses_nothing(
    api_settings: Callable[..., Settings], tenant: Tenant
) -> None:
    batch = submitted(tenant, inline(1))["id"]
    with ExitStack() as outliving, serve(api_settings()) as first:
        answer = outliving.enter_context(tenant.client.stream("GET", f"{first.url}/v1/batches/{batch}/events"))
        seen = [next(messages(answer.iter_lines()))]
    for verb in ("pause", "resume", "cancel"):
        tenant.client.post(f"/v1/batches/{batch}:{verb}")
    work(tenant)
    with serve(api_settings()) as second, second.client(tenant.key) as client:
        seen += read(client, batch, seen[-1].id)

    assert [message.id for message in seen] == [1, 2, 3, 4, 5]
    assert all(later.id == earlier.id + 1 for earlier, later in pairwise(seen))
    assert states(seen)[-1] == ("batch.completed", "canceled")


def test_what_is_no_longer_kept_is_told_as_a_gap(tenant: Tenant) -> None:
    batch = submitted(tenant, inline(1))["id"]
    tenant.client.post(f"/v1/batches/{batch}:cancel")
    work(tenant)
    with tenant.running.database.transaction() as session:
        session.execute(text("delete from events where subject_id = :id and sequence < 3"), {"id": batch})

    told = read(tenant.client, batch)

    assert (told[0].event, told[0].id, told[0].data) == ("gap", 2, {"missed_from": 1, "missed_to": 2})
    assert told[-1].event == "batch.completed"


def test_progress_is_told_when_items_settled_and_not_otherwise(tenant: Tenant) -> None:
    batch = submitted(tenant, inline(2))["id"]
    work(tenant)

    def sampled() -> int:
        with tenant.running.database.transaction() as session:
            session.execute(
                text("update batches set drain_at = now() - interval '11 seconds' where id = :id"), {"id": batch}
            )
        work(tenant)
        listed = tenant.client.get("/v1/events", params={"types": "batch.progress"}).json()["data"]
        return sum(event["subject_id"] == batch for event in listed)

    before = sampled()
    assert sampled() == before
    (job, _) = tenant.client.get("/v1/jobs", params={"batch_id": batch}).json()["data"]
    tenant.succeed(job["id"])
    assert sampled() == before + 1


def test_a_stranger_finds_nothing(office: Office) -> None:
    batch = submitted(office.tenant(), inline(1))["id"]
    assert office.tenant().client.get(f"/v1/batches/{batch}/events").status_code == 404
