"""Server-sent events of a job: in order, without loss, and without holding anything."""

from __future__ import annotations

import asyncio
import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text

from api.event_streams import Look, StreamSeats, Told, frames
from api.job_events import parse_last_event_id
from styleflow.errors import DependencyUnavailable, InvalidRequest, QuotaExceeded
from styleflow.jobs import progress, queries
from styleflow.settings import Settings
from tests.api.conftest import Running, Tenant, serve
from tests.stack import eventually


@dataclass
class Message:
    """One message of a stream."""

    id: int
    event: str
    data: dict[str, object]


def messages(lines: Iterator[str]) -> Iterator[Message]:
    """As a browser reads them; comments are passed over."""
    fields: dict[str, str] = {}
    for line in lines:
        if not line and fields:
            yield Message(int(fields["id"]), fields["event"], json.loads(fields["data"]))
            fields = {}
        elif line and not line.startswith(":"):
            name, _, value = line.partition(": ")
            fields[name] = value


def read(client: httpx.Client, job: str, last: int | None = None) -> list[Message]:
    """Everything until the stream ends."""
    headers = {} if last is None else {"Last-Event-ID": str(last)}
    with client.stream("GET", f"/v1/jobs/{job}/events", headers=headers) as answer:
        assert answer.status_code == 200
        assert answer.headers["Content-Type"].startswith("text/event-stream")
        assert answer.headers["Cache-Control"] == "no-store"
        return list(messages(answer.iter_lines()))


def claim(tenant: Tenant, job: str) -> int:
    with tenant.running.database.transaction() as session:
        claimed = queries.claim(session, worker="test", lease_seconds=60, job_id=job)
    assert claimed is not None
    return claimed.token


def release(tenant: Tenant, job: str, token: int) -> None:
    with tenant.running.database.transaction() as session:
        progress.release(session, job, token)


def cancel(tenant: Tenant, job: str) -> None:
    assert tenant.client.post(f"/v1/jobs/{job}:cancel").is_success


def streams_open(running: Running) -> int:
    with running.client() as client:
        found = re.search(r"^styleflow_event_streams (\d+)", client.get("/metrics").text, re.MULTILINE)
    assert found
    return int(found[1])


def test_a_finished_job_tells_its_whole_story_and_the_stream_ends(tenant: Tenant) -> None:
    job = tenant.post_job()["id"]
    tenant.succeed(job)
    told = read(tenant.client, job)
    assert [(message.id, message.event) for message in told] == [
        (1, "job.queued"),
        (2, "job.running"),
        (3, "job.succeeded"),
    ]
    feed = tenant.client.get("/v1/events").json()["data"]
    assert [message.data for message in told] == feed, "the same events as in the feed"


def test_events_arrive_while_they_happen(tenant: Tenant) -> None:
    job = tenant.post_job()["id"]
    with tenant.client.stream("GET", f"/v1/jobs/{job}/events") as answer:
        story = messages(answer.iter_lines())
        assert next(story).event == "job.queued"
        started = time.monotonic()
        token = claim(tenant, job)
        assert next(story).event == "job.running"
        assert time.monotonic() - started < 10
        release(tenant, job, token)
        assert next(story).event == "job.queued"
        cancel(tenant, job)
        assert [message.event for message in story] == ["job.canceled"]


def test_who_saw_the_last_event_is_told_not_to_come_again(tenant: Tenant) -> None:
    job = tenant.post_job()["id"]
    cancel(tenant, job)
    answer = tenant.client.get(f"/v1/jobs/{job}/events", headers={"Last-Event-ID": "2"})
    assert (answer.status_code, answer.content) == (204, b"")


def test_the_story_goes_on_where_it_broke_off_also_in_another_process(
    api_settings: Callable[..., Settings], tenant: Tenant
) -> None:
    job = tenant.post_job()["id"]
    with ExitStack() as outliving:
        with serve(api_settings()) as first:
            answer = outliving.enter_context(tenant.client.stream("GET", f"{first.url}/v1/jobs/{job}/events"))
            seen = [next(messages(answer.iter_lines()))]
            stopping = time.monotonic()
        assert time.monotonic() - stopping < 15, "an open stream does not keep a process from ending"
        assert [message.event for message in seen] == ["job.queued"]
    for _ in range(2):
        release(tenant, job, claim(tenant, job))
    cancel(tenant, job)
    with serve(api_settings()) as second, second.client(tenant.key) as client:
        seen += read(client, job, seen[-1].id)
    assert [message.id for message in seen] == [1, 2, 3, 4, 5, 6]
    assert seen[-1].event == "job.canceled"


def test_history_that_is_no_longer_kept_is_told_as_a_gap(tenant: Tenant) -> None:
    job = tenant.post_job()["id"]
    release(tenant, job, claim(tenant, job))
    cancel(tenant, job)
    with tenant.running.database.transaction() as session:
        session.execute(text("delete from events where job_id = :job and sequence < 3"), {"job": job})
    told = read(tenant.client, job)
    assert [(message.id, message.event) for message in told] == [(2, "gap"), (3, "job.queued"), (4, "job.canceled")]
    assert told[0].data == {"missed_from": 1, "missed_to": 2}
    with tenant.running.database.transaction() as session:
        session.execute(text("delete from events where job_id = :job"), {"job": job})
    assert [message.event for message in read(tenant.client, job, 1)] == ["gap"]


def test_a_comment_keeps_a_silent_line_open(tenant: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.event_streams.KEEPALIVE_SECONDS", 0.1)
    job = tenant.post_job()["id"]
    with tenant.client.stream("GET", f"/v1/jobs/{job}/events") as answer:
        lines = answer.iter_lines()
        assert sum(next(lines) == ":keepalive" for _ in range(12)) >= 3
    cancel(tenant, job)


def test_a_stream_is_closed_after_its_time_and_may_be_taken_up(tenant: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.event_streams.STREAM_SECONDS", 0.3)
    job = tenant.post_job()["id"]
    assert [message.event for message in read(tenant.client, job)] == ["job.queued"]
    cancel(tenant, job)
    assert [message.event for message in read(tenant.client, job, 1)] == ["job.canceled"]


def test_many_streams_hold_no_thread_and_no_connection_and_hanging_up_frees_them(tenant: Tenant) -> None:
    running, job = tenant.running, tenant.post_job()["id"]
    before = threading.active_count()

    async def drill() -> None:
        options = {"headers": tenant.client.headers, "limits": httpx.Limits(), "timeout": 30, "trust_env": False}
        async with httpx.AsyncClient(**options) as client:  # type: ignore[arg-type]

            async def listen() -> None:
                async with client.stream("GET", f"{running.url}/v1/jobs/{job}/events") as answer:
                    async for _ in answer.aiter_lines():
                        pass

            listening = [asyncio.create_task(listen()) for _ in range(100)]
            while await asyncio.to_thread(streams_open, running) < 100:
                await asyncio.sleep(0.05)
            most = before + running.settings.database_pool + 3
            assert threading.active_count() <= most, "a pool of threads, and this test's own"
            while running.app.state.services.database.engine.pool.checkedout():  # until all have read what there is
                await asyncio.sleep(0.02)
            assert (await client.get(f"{running.url}/v1/jobs/{job}")).status_code == 200
            for task in listening:
                task.cancel()
            await asyncio.gather(*listening, return_exceptions=True)

    asyncio.run(drill())
    eventually(lambda: streams_open(running) == 0, seconds=10)
    cancel(tenant, job)


def test_a_project_has_its_share_of_streams_and_no_more(api_settings: Callable[..., Settings], tenant: Tenant) -> None:
    job = tenant.post_job()["id"]
    with (
        serve(api_settings(max_project_event_streams=2)) as running,
        running.client(tenant.key) as client,
        ExitStack() as open_streams,
    ):
        for _ in range(2):
            answer = open_streams.enter_context(client.stream("GET", f"/v1/jobs/{job}/events"))
            assert answer.status_code == 200
        refused = client.get(f"/v1/jobs/{job}/events")
        assert (refused.status_code, refused.json()["code"]) == (429, "quota_exceeded")
        assert refused.json()["violated-policies"] == ["event-streams"]
        assert refused.headers["Retry-After"] == "5"
        open_streams.close()
        eventually(lambda: streams_open(running) == 0, seconds=10)
        cancel(tenant, job)
        assert [message.event for message in read(client, job)] == ["job.queued", "job.canceled"]


def test_a_seat_is_refused_when_all_are_taken_and_free_again_after() -> None:
    seats = StreamSeats(2, 1)
    with seats.seat("a"), seats.seat("b"):
        with pytest.raises(DependencyUnavailable), seats.seat("c"):
            pass
        with pytest.raises(QuotaExceeded), seats.seat("a"):
            pass
        assert seats.taken == 2
    assert seats.taken == 0
    with seats.seat("a"):
        assert seats.taken == 1


@pytest.mark.parametrize("value", ["evt_1", "-1", "1.5", "9" * 10, "1 2", "９"])
def test_a_last_event_id_that_is_no_sequence_is_refused(tenant: Tenant, value: str) -> None:
    with pytest.raises(InvalidRequest):
        parse_last_event_id(value)
    job = tenant.post_job()["id"]
    answer = tenant.client.get(f"/v1/jobs/{job}/events", headers={b"Last-Event-ID": value.encode()})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
    assert answer.json()["errors"][0]["pointer"] == "/Last-Event-ID"


def test_an_event_that_has_not_happened_yet_cannot_have_been_seen(tenant: Tenant) -> None:
    job = tenant.post_job()["id"]
    answer = tenant.client.get(f"/v1/jobs/{job}/events", headers={"Last-Event-ID": "7"})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")


def test_an_erased_job_has_no_events(tenant: Tenant) -> None:
    job = tenant.post_job()["id"]
    cancel(tenant, job)
    assert tenant.client.delete(f"/v1/jobs/{job}").status_code == 202
    assert tenant.client.get(f"/v1/jobs/{job}/events").json()["code"] == "erased"


@given(st.sets(st.integers(1, 30)), st.integers(0, 30), st.integers(1, 6))
def test_every_sequence_is_told_or_named_as_missing_exactly_once(kept: set[int], seen: int, size: int) -> None:
    latest, known, accounted = 30, seen, []
    while known < latest:
        batch = [Told(number, "job.running", "{}") for number in sorted(kept) if number > known][:size]
        told, following = frames(Look(batch, latest, settled=True), known)
        assert following > known, "every look gets further"
        for message in messages(iter(told.decode().split("\n"))):
            accounted += (
                range(int(str(message.data["missed_from"])), int(str(message.data["missed_to"])) + 1)
                if message.event == "gap"
                else [message.id]
            )
        known = following
    assert accounted == list(range(seen + 1, latest + 1))
