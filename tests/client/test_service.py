"""Both clients against the real service."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from styleflow.client import AsyncStyleFlow, StyleFlow
from styleflow.client.failures import Conflict, Invalid, NotFound, Unauthenticated, WaitTimeout
from tests.client.conftest import Running


def video(folder: Path, seconds: float) -> Path:
    path = folder / "clip.mp4"
    path.write_text(f"{seconds} {folder}")
    return path


@pytest.mark.parametrize("poll", ["etag", "events"])
def test_a_file_is_sent_waited_for_and_its_result_read(service: Running, tmp_path: Path, poll: str) -> None:
    shares: list[float] = []
    with StyleFlow(service.url, service.key) as client:
        job = client.submit_file(video(tmp_path, 0.2), client_ref="ref", tags={"a": "b"}, progress=shares.append)
        settled = client.wait(job.id, 60, poll=poll)  # type: ignore[arg-type]
        assert (settled.state, settled.outcome, settled.client_ref) == ("succeeded", "not_applicable", "ref")
        assert client.jobs.result(job.id).reason == "no_face"
        assert [attempt.number for attempt in client.jobs.attempts(job.id)] == [1]
        assert list(client.jobs.frames(job.id)) == list(client.jobs.clips(job.id)) == client.jobs.segments(job.id) == []
    assert shares[-1] == 1.0


def test_a_wait_ends_in_time_with_the_job_as_it_was_last_seen(service: Running, tmp_path: Path) -> None:
    with StyleFlow(service.url, service.key) as client:
        job = client.submit_file(video(tmp_path, 30))
        for poll, seconds in (("etag", 0), ("etag", 1.5), ("events", 2.5)):
            started = client._context.clock()
            with pytest.raises(WaitTimeout) as late:
                client.wait(job.id, seconds, poll=poll)  # type: ignore[arg-type]
            assert client._context.clock() - started < seconds + 1
            assert late.value.last.id == job.id
        with pytest.raises(Conflict, match="result_not_ready"):
            client.jobs.result(job.id)
        client.jobs.cancel(job.id)
        assert client.wait(job.id, 30).state == "canceled"


def test_a_key_given_twice_submits_once_and_pages_hold_every_job_once(service: Running) -> None:
    source = {"type": "url", "url": "https://media.example.org/a.mp4"}
    with StyleFlow(service.url, service.key) as client:
        made = [client.jobs.create(source, client_ref="pages", idempotency_key=f"pages-{n}").id for n in range(5)]
        again = client.jobs.create(source, client_ref="pages", idempotency_key="pages-0")
        assert again.id == made[0]
        found = [job.id for job in client.jobs.list(client_ref="pages", page_size=2)]
        assert found == made[::-1]


def test_what_the_service_refuses_is_an_error_of_its_kind(service: Running) -> None:
    source = {"type": "url", "url": "https://media.example.org/a.mp4"}
    with StyleFlow(service.url, service.key) as client, StyleFlow(service.url, service.foreign_key) as foreign:
        job = client.jobs.create(source)
        with pytest.raises(NotFound) as unseen:
            foreign.jobs.get(job.id)
        assert (unseen.value.code, unseen.value.status, unseen.value.retryable) == ("not_found", 404, False)
        assert unseen.value.request_id
        with pytest.raises(Invalid) as refused:
            client.jobs.create(source, lane="nowhere")
        assert refused.value.errors[0]["pointer"] == "/lane"
    with StyleFlow(service.url, "sfk_live_wrong") as stranger, pytest.raises(Unauthenticated):
        stranger.limits()


def test_the_asynchronous_client_does_the_same(service: Running, tmp_path: Path) -> None:
    async def journey() -> None:
        async with AsyncStyleFlow(service.url, service.key) as client:
            job = await client.submit_file(video(tmp_path, 0.1))
            for poll in ("etag", "events"):
                assert (await client.wait(job.id, 60, poll=poll)).state == "succeeded"  # type: ignore[arg-type]
            assert (await client.jobs.result(job.id)).reason == "no_face"
            assert [frame async for frame in client.jobs.frames(job.id)] == []
            assert job.id in [found.id async for found in client.jobs.list(page_size=1)]
            assert job.id in {event.job_id async for event in client.events(page_size=2)}
            assert (await client.jobs.get(job.id)).is_settled

    asyncio.run(journey())


def test_a_batch_is_ordered_waited_for_and_its_errors_read(service: Running) -> None:
    items = [{"source": {"type": "url", "url": "http://127.0.0.1:1/a.mp4"}, "client_ref": "no such file"}]
    with StyleFlow(service.url, service.key) as client:
        batch = client.batches.create("few", {"type": "inline", "items": items}, idempotency_key="few")
        assert client.wait_batch(batch.id, 60).state == "completed_with_errors"
        assert [item.position for item in client.batches.items(batch.id)] == [1]
        assert [error.line for error in client.batches.errors(batch.id)] == [1]
        assert batch.id in {found.id for found in client.batches.list()}


def test_an_endpoint_is_made_pinged_and_deleted(service: Running) -> None:
    with StyleFlow(service.url, service.key) as client:
        made = client.webhooks.create("https://hooks.example.org/a", events=["job.succeeded"])
        assert made.id in {found.id for found in client.webhooks.list()}
        assert client.webhooks.get(made.id).id == made.id
        sent = client.webhooks.ping(made.id)
        assert client.webhooks.delivery(sent.id).id == sent.id
        assert sent.id in {found.id for found in client.webhooks.deliveries(made.id)}
        client.webhooks.delete(made.id)
        with pytest.raises(NotFound):
            client.webhooks.get(made.id)
