"""One journey for each group of calls, by both clients against the real service."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from styleflow.client import AsyncStyleFlow, StyleFlow
from styleflow.client.failures import Conflict, NotFound
from tests.client.conftest import Running

URL = {"type": "url", "url": "https://media.example.org/a.mp4"}
POLICY = {"thresholds": {"weak": 0.5, "suspicious": 0.7, "strong": 0.9}}


class Blocking:
    """The asynchronous client, its calls awaited one after the other."""

    def __init__(self, target: Any, runner: asyncio.Runner) -> None:
        self._target, self._runner = target, runner

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._target, name)
        if not callable(found):
            return Blocking(found, self._runner)
        return lambda *arguments, **named: self._settled(found(*arguments, **named))

    def _settled(self, made: Any) -> Any:
        if inspect.iscoroutine(made):
            return self._runner.run(made)
        return self._runner.run(_gathered(made)) if isinstance(made, AsyncIterator) else made


async def _gathered(values: AsyncIterator[Any]) -> list[Any]:
    return [value async for value in values]


@pytest.fixture(params=["threads", "asyncio"])
def client(request: pytest.FixtureRequest, service: Running) -> Iterator[Any]:
    if request.param == "threads":
        with StyleFlow(service.url, service.key) as plain:
            yield plain
    else:
        with asyncio.Runner() as runner:
            blocking = Blocking(AsyncStyleFlow(service.url, service.key), runner)
            yield blocking
            blocking.close()


def judged(client: Any, folder: Path, **job: Any) -> Any:
    path = folder / "clip.mp4"
    path.write_text(f"0.1 {folder}")
    return client.wait(client.submit_file(path, **job).id, 60)


def test_a_batch_is_paused_resumed_and_canceled(client: Any) -> None:
    items = [{"source": URL, "client_ref": str(number)} for number in range(3)]
    batch = client.batches.create("held", {"type": "inline", "items": items}, max_in_flight=1)

    assert client.batches.pause(batch.id).state == "paused"
    assert client.batches.resume(batch.id).state != "paused"
    client.batches.cancel(batch.id)
    assert client.wait_batch(batch.id, 60).state in {"canceled", "completed", "completed_with_errors"}
    with pytest.raises(Conflict):
        client.batches.pause(batch.id)
    with pytest.raises(Conflict, match="not_retryable"):
        client.batches.retry_failed(batch.id)


def test_an_endpoint_is_changed_given_a_new_secret_and_told_again(client: Any) -> None:
    made = client.webhooks.create("https://hooks.example.org/both", events=["job.succeeded"])

    changed = client.webhooks.update(made.id, description="ours", if_match=client.webhooks.get(made.id).etag)
    assert changed.description == "ours"
    assert client.webhooks.rotate_secret(made.id).secret != made.secret
    ping = client.webhooks.ping(made.id)
    assert ping.id in {found.id for found in client.webhooks.deliveries(made.id)}
    assert client.webhooks.redeliver(ping.id).redelivery_of == ping.id
    etag = client.webhooks.get(made.id).etag
    assert client.webhooks.update(made.id, state="disabled", if_match=etag).state == "disabled"
    assert client.webhooks.enable(made.id).state == "pending"
    until = datetime.now(UTC)
    replay = client.webhooks.replay(made.id, since=until - timedelta(hours=1), until=until)
    assert client.webhooks.get_replay(replay.model_extra["id"]).model_extra["id"] == replay.model_extra["id"]
    client.webhooks.delete(made.id)
    with pytest.raises(NotFound):
        client.webhooks.get(made.id)


def test_what_is_held_stays_until_it_is_released_and_an_erasure_has_its_proof(client: Any, tmp_path: Path) -> None:
    job = judged(client, tmp_path, client_ref=f"person {tmp_path}")

    client.jobs.hold(job.id, "case 4711")
    assert job.id in {hold.job_id for hold in client.jobs.holds(state="standing")}
    held = erased(client, client.erasures.create(client_ref=f"person {tmp_path}"))
    assert (held.counts["held"], held.counts["erased"]) == (1, 0)
    assert client.jobs.release(job.id).released_at is not None
    done = erased(client, client.erasures.create(job_ids=[job.id]))
    assert done.counts["erased"] == 1
    assert done.proof is not None
    assert done.id in {order.id for order in client.erasures.list()}


def erased(client: Any, order: Any) -> Any:
    for _ in range(300):
        order = client.erasures.get(order.id)
        if order.state == "completed":
            return order
        asyncio.run(asyncio.sleep(0.2))
    raise AssertionError(order)


def test_a_policy_is_made_tried_and_put_on_results(client: Any, request: pytest.FixtureRequest) -> None:
    name = f"strict-{request.node.callspec.id}"

    first = client.policies.put(name, POLICY)
    client.policies.put(name, {**POLICY, "description": "more"}, if_match=client.policies.get(name).etag)
    assert [one.model_extra["revision"] for one in client.policies.revisions(name)] == [2, 1]
    assert client.policies.revision(name, 1).name == first.name == name
    assert name in {one.name for one in client.policies.list()}
    assert client.policies.preview(name).model_extra["looked_at"] == 0
    order = client.policies.relabel(name)
    assert client.policies.relabeling(order.id).policy == f"{name}@2"
    assert order.id in {one.id for one in client.policies.relabelings()}


def test_a_project_sees_what_it_used_who_did_what_and_how_long_things_are_kept(client: Any) -> None:
    client.jobs.create(URL)

    assert sum(row["jobs_accepted"] for row in client.usage(group_by="none").model_extra["data"]) > 0
    assert client.project().model_extra["object"] == "project"
    kept = client.put_retention({"crops_days": 7}, if_match=client.get_retention().etag)
    assert kept.effective["crops_days"] == client.get_retention().project["crops_days"] == 7
    assert client.put_retention({}, if_match=kept.etag).project["crops_days"] is None
    with pytest.raises(Conflict, match="precondition_failed"):
        client.put_retention({}, if_match=kept.etag)
    key = client.keys.create("by a test", ["jobs:read"])
    assert client.keys.get(key.id).secret is None
    client.keys.revoke(key.id)
    actions = [event.action for event in client.audit_events(target=key.id)]
    assert actions == ["key.revoked", "key.created"]
