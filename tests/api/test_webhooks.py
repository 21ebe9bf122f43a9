"""Webhook endpoints, deliveries and the event feed, as a caller uses them."""

from __future__ import annotations

import random
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from styleflow.jobs import progress
from styleflow.jobs import queries as job_queries
from styleflow.webhooks import replay
from styleflow.webhooks.announce import announce_about
from tests.api.conftest import Office, Tenant

HOOK = "https://hooks.example.org/styleflow"


def subscribe(tenant: Tenant, **more: Any) -> dict[str, Any]:
    answer = tenant.client.post("/v1/webhook-endpoints", json={"url": HOOK, **more})
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def change(tenant: Tenant, path: str, body: dict[str, Any]) -> httpx.Response:
    """A PATCH by someone who has just read the endpoint."""
    seen = tenant.client.get(path).headers["ETag"]
    return tenant.client.patch(path, json=body, headers={"If-Match": seen})


def test_the_secret_is_shown_once(tenant: Tenant) -> None:
    endpoint = subscribe(tenant, description="moderation")
    assert endpoint["secret"].startswith("whsec_")
    assert endpoint["events"] == ["job.*"]
    assert endpoint["state"] == "pending"
    shown = tenant.client.get(f"/v1/webhook-endpoints/{endpoint['id']}").json()
    assert shown == {**endpoint, "secret": None}
    listed = tenant.client.get("/v1/webhook-endpoints").json()["data"]
    assert listed == [shown]


def test_a_repeated_creation_gives_the_same_endpoint_and_secret_which_is_stored_encrypted_only(tenant: Tenant) -> None:
    first, again = (
        tenant.client.post("/v1/webhook-endpoints", json={"url": HOOK}, headers={"Idempotency-Key": "one"})
        for _ in range(2)
    )
    assert again.json() == first.json()
    assert again.headers["Idempotency-Replayed"] == "true"
    with tenant.running.database.transaction() as session:
        kept = session.execute(
            text("select body::text from idempotency_keys where project_id = :id"), {"id": tenant.project_id}
        ).scalar_one()
    assert "whsec_" not in kept


def test_endpoints_are_paged(tenant: Tenant) -> None:
    made = [subscribe(tenant)["id"] for _ in range(3)]
    first = tenant.client.get("/v1/webhook-endpoints", params={"limit": 2})
    second = tenant.client.get(first.links["next"]["url"])
    seen = [endpoint["id"] for page in (first, second) for endpoint in page.json()["data"]]
    assert sorted(seen) == sorted(made)


def test_an_endpoint_is_changed_and_deleted(tenant: Tenant) -> None:
    path = f"/v1/webhook-endpoints/{subscribe(tenant)['id']}"
    changed = change(tenant, path, {"events": ["job.succeeded"], "state": "disabled"}).json()
    assert (changed["events"], changed["state"], changed["url"]) == (["job.succeeded"], "disabled", HOOK)
    assert tenant.client.post(f"{path}:ping").json()["code"] == "not_retryable"
    assert tenant.client.delete(path).status_code == 204
    assert tenant.client.get(path).status_code == 404


@pytest.mark.parametrize(
    ("url", "status"), [("http://hooks.example.org/", 403), ("https://10.0.0.1/", 403), ("nonsense", 422)]
)
def test_an_address_that_must_not_be_called_is_refused(tenant: Tenant, url: str, status: int) -> None:
    assert tenant.client.post("/v1/webhook-endpoints", json={"url": url}).status_code == status
    path = f"/v1/webhook-endpoints/{subscribe(tenant)['id']}"
    assert change(tenant, path, {"url": url}).status_code == status


def test_a_ping_is_a_delivery_that_can_be_looked_at_and_sent_again(tenant: Tenant) -> None:
    endpoint = subscribe(tenant, events=["job.succeeded"])
    sent = tenant.client.post(f"/v1/webhook-endpoints/{endpoint['id']}:ping")
    assert sent.status_code == 202
    assert sent.json()["event_type"] == "webhook.ping"
    delivery = tenant.client.get(sent.headers["Location"]).json()
    assert (delivery["state"], delivery["attempts"]) == ("pending", [])
    again = tenant.client.post(f"/v1/deliveries/{delivery['id']}:redeliver").json()
    assert again["id"] != delivery["id"]
    assert (again["event_id"], again["redelivery_of"]) == (delivery["event_id"], delivery["id"])
    listed = tenant.client.get(f"/v1/webhook-endpoints/{endpoint['id']}/deliveries", params={"limit": 1})
    assert len(listed.json()["data"]) == 1
    rest = tenant.client.get(listed.links["next"]["url"]).json()
    assert rest["has_more"], "the ping of the endpoint's creation is left"
    newer = {"after": delivery["id"]}
    fresh = tenant.client.get(f"/v1/webhook-endpoints/{endpoint['id']}/deliveries", params=newer).json()["data"]
    assert [one["id"] for one in fresh] == [again["id"]]


def test_a_settled_job_is_on_its_way_to_the_endpoint_and_in_the_feed(tenant: Tenant) -> None:
    endpoint = subscribe(tenant, events=["job.succeeded"])
    job = tenant.post_job()
    tenant.succeed(job["id"])
    deliveries = tenant.client.get(
        f"/v1/webhook-endpoints/{endpoint['id']}/deliveries",
        params={"state": "pending", "event_type": "job.succeeded"},
    ).json()["data"]
    assert [(delivery["event_type"], delivery["job_id"]) for delivery in deliveries] == [("job.succeeded", job["id"])]
    feed = tenant.client.get("/v1/events").json()
    assert [event["type"] for event in feed["data"]] == ["webhook.ping", "job.queued", "job.running", "job.succeeded"]
    assert feed["data"][-1]["id"] == deliveries[0]["event_id"]
    assert feed["data"][-1]["event"]["data"]["outcome"] == "inconclusive"


def test_the_feed_goes_on_where_the_reader_stopped(office: Office) -> None:
    tenant, other = office.tenant(), office.tenant()
    for _ in range(3):
        tenant.post_job()
    first = tenant.client.get("/v1/events", params={"limit": 2}).json()
    assert first["has_more"]
    last = first["data"][-1]["id"]
    rest = tenant.client.get("/v1/events", params={"after": last}).json()
    assert len({event["id"] for event in [*first["data"], *rest["data"]]}) == 3
    assert not rest["has_more"]
    assert other.client.get("/v1/events", params={"after": last}).json()["code"] == "not_found"


def test_the_feed_holds_back_what_an_open_transaction_could_still_precede(tenant: Tenant) -> None:
    with tenant.running.database.transaction() as session:
        session.execute(text("select 1"))
        job = tenant.post_job()
        assert tenant.client.get("/v1/events").json()["data"] == []
    events = tenant.client.get("/v1/events").json()["data"]
    assert [event["job_id"] for event in events] == [job["id"]]


def test_a_change_needs_the_etag_of_what_was_seen(tenant: Tenant) -> None:
    path = f"/v1/webhook-endpoints/{subscribe(tenant)['id']}"
    seen = tenant.client.get(path).headers["ETag"]
    missing = tenant.client.patch(path, json={"max_rps": 5})
    assert (missing.status_code, missing.json()["code"]) == (428, "precondition_required")

    first = tenant.client.patch(path, json={"max_rps": 5, "payload": "thin"}, headers={"If-Match": seen})
    assert (first.status_code, first.json()["max_rps"], first.json()["payload"]) == (200, 5, "thin")
    late = tenant.client.patch(path, json={"max_rps": 9}, headers={"If-Match": seen})
    assert (late.status_code, late.json()["code"]) == (412, "precondition_failed")
    again = tenant.client.patch(path, json={"max_rps": None}, headers={"If-Match": f'"x", {first.headers["ETag"]}'})
    assert (again.status_code, again.json()["max_rps"], again.json()["payload"]) == (200, None, "thin")


def test_an_endpoint_says_how_it_wants_to_be_told(tenant: Tenant) -> None:
    wanted = {"signature": "ed25519", "payload": "thin", "max_rps": 10, "max_concurrency": 4, "version": "1"}
    endpoint = subscribe(tenant, **wanted, events=["job.progress", "batch.*"])
    assert {name: endpoint[name] for name in wanted} == wanted
    assert endpoint["secret"] is None, "receivers hold no secret"
    assert endpoint["public_key"].startswith("whpk_")
    for wrong in ({"signature": "rsa"}, {"payload": "all"}, {"max_rps": 0}, {"version": "2"}, {"max_concurrency": 99}):
        answer = tenant.client.post("/v1/webhook-endpoints", json={"url": HOOK, **wrong})
        assert answer.status_code == 422, wrong


def test_a_rotated_secret_is_shown_once_and_a_repetition_rotates_nothing(tenant: Tenant) -> None:
    endpoint = subscribe(tenant)
    path = f"/v1/webhook-endpoints/{endpoint['id']}"
    first, again = (
        tenant.client.post(
            f"{path}:rotate-secret", json={"overlap_hours": 2}, headers={"Idempotency-Key": "rotate"}
        ).json()
        for _ in range(2)
    )
    assert first == again
    assert first["secret"] != endpoint["secret"]
    shown = tenant.client.get(path).json()
    assert (shown["secret"], shown["previous_secret_until"]) == (None, first["previous_secret_until"])
    turned = tenant.client.post(f"{path}:rotate-secret", json={"overlap_hours": 0, "signature": "ed25519"}).json()
    assert (turned["secret"], turned["previous_secret_until"], turned["signature"]) == (None, None, "ed25519")
    assert turned["public_key"].startswith("whpk_")
    assert tenant.client.post(f"{path}:rotate-secret").json()["previous_public_key"] == turned["public_key"]


def test_a_disabled_endpoint_is_enabled_by_its_answer_to_a_ping(tenant: Tenant) -> None:
    path = f"/v1/webhook-endpoints/{subscribe(tenant)['id']}"
    change(tenant, path, {"state": "disabled"})
    before = tenant.client.get(f"{path}/deliveries").json()["data"]
    enabled = tenant.client.post(f"{path}:enable").json()
    assert (enabled["state"], enabled["disabled_reason"]) == ("pending", None)
    after = tenant.client.get(f"{path}/deliveries").json()["data"]
    assert [one["event_type"] for one in after] == ["webhook.ping", *(one["event_type"] for one in before)]


def test_a_replay_is_ordered_once_per_key_and_can_be_followed(tenant: Tenant) -> None:
    path = f"/v1/webhook-endpoints/{subscribe(tenant, events=['job.*'])['id']}"
    job = tenant.post_job()["id"]
    with tenant.running.database.transaction() as session:
        session.execute(
            text(
                "update deliveries set state = 'failed' where event_id in (select id from events where job_id = :job)"
            ),
            {"job": job},
        )
    span = {"from": "2026-11-26T00:00:00Z", "to": "2999-01-01T00:00:00Z"}
    span["from"] = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    first, again = (
        tenant.client.post(f"{path}:replay", json=span, headers={"Idempotency-Key": "replay"}) for _ in range(2)
    )
    assert (first.status_code, first.json()) == (202, again.json())
    while replay.replay_once(tenant.running.database):
        pass
    followed = tenant.client.get(first.headers["Location"]).json()
    assert (followed["state"], followed["deliveries"], followed["from"]) == ("completed", 1, first.json()["from"])
    deliveries = tenant.client.get(f"{path}/deliveries", params={"event_type": "job.queued"}).json()["data"]
    assert [one["replay_id"] for one in deliveries] == [followed["id"], None]
    too_long = tenant.client.post(f"{path}:replay", json={"from": "2020-01-01T00:00:00Z", "to": span["to"]})
    assert too_long.status_code == 422
    change(tenant, path, {"state": "disabled"})
    assert tenant.client.post(f"{path}:replay", json=span).json()["code"] == "not_retryable"


def test_the_feed_gives_the_types_that_are_asked_for(tenant: Tenant) -> None:
    job = tenant.post_job()["id"]
    tenant.succeed(job)
    some = tenant.client.get("/v1/events", params={"types": "job.succeeded, job.queued"}).json()["data"]
    assert [event["type"] for event in some] == ["job.queued", "job.succeeded"]
    assert {event["subject_id"] for event in some} == {job}
    assert tenant.client.get("/v1/events", params={"types": "job.done"}).status_code == 422


def test_progress_is_told_to_who_names_it_every_ten_seconds_at_most(tenant: Tenant) -> None:
    plain, named = subscribe(tenant, events=["*"])["id"], subscribe(tenant, events=["job.progress"])["id"]
    job = tenant.post_job()["id"]
    with tenant.running.database.transaction() as session:
        claim = job_queries.claim(session, worker="test", lease_seconds=60, job_id=job)
    assert claim is not None
    for done in (1, 2, 3):
        with tenant.running.database.transaction() as session:
            progress.heartbeat(session, job, claim.token, 60, {"clips_done": done})

    listed = tenant.client.get("/v1/events", params={"types": "job.progress"}).json()["data"]
    assert [event["event"]["data"]["progress"] for event in listed] == [{"clips_done": 1}]
    assert "job.progress" not in {event["type"] for event in tenant.client.get("/v1/events").json()["data"]}
    told = {
        identity: tenant.client.get(
            f"/v1/webhook-endpoints/{identity}/deliveries", params={"event_type": "job.progress"}
        ).json()["data"]
        for identity in (plain, named)
    }
    assert (len(told[plain]), len(told[named])) == (0, 1)
    with tenant.running.database.transaction() as session:
        session.execute(
            text("update events set created_at = created_at - interval '10 seconds' where job_id = :job"), {"job": job}
        )
    with tenant.running.database.transaction() as session:
        progress.heartbeat(session, job, claim.token, 60, {"clips_done": 4})
    assert len(tenant.client.get("/v1/events", params={"types": "job.progress"}).json()["data"]) == 2


def test_who_waits_at_the_end_of_the_feed_is_told_what_happens_next(tenant: Tenant) -> None:
    began = time.monotonic()
    nothing = tenant.client.get("/v1/events", headers={"Prefer": "wait=1"})
    assert (nothing.json()["data"], nothing.headers["Preference-Applied"]) == ([], "wait=1")
    assert 0.9 <= time.monotonic() - began < 10

    def later() -> None:
        time.sleep(0.3)
        tenant.post_job()

    other = threading.Thread(target=later)
    other.start()
    told = tenant.client.get("/v1/events", headers={"Prefer": "wait=30"}).json()["data"]
    other.join()
    assert [event["type"] for event in told] == ["job.queued"]


def test_a_reader_of_the_feed_misses_nothing_that_others_commit_late(tenant: Tenant) -> None:
    """Writers hold their transactions open for different times; the reader goes on and on from the last id it saw."""
    written: list[str] = []
    done = threading.Event()

    def write(number: int) -> None:
        chance = random.Random(number)
        for step in range(12):
            with tenant.running.database.transaction() as session:
                session.execute(text("select now()"))
                time.sleep(chance.random() * 0.05)
                event = announce_about(
                    session, project_id=tenant.project_id, subject_id=f"s{number}", type="batch.completed",
                    data={"step": step}, sequence=step + 1,
                )  # fmt: skip
                session.flush()
                time.sleep(chance.random() * 0.05)
            written.append(event.id)

    seen: list[str] = []

    def read() -> None:
        rounds_after = 0
        while rounds_after < 20:
            rounds_after += done.is_set()
            after = {"after": seen[-1]} if seen else {}
            page = tenant.client.get("/v1/events", params={"limit": 5, **after}).json()
            seen.extend(event["id"] for event in page["data"])

    reader = threading.Thread(target=read)
    writers = [threading.Thread(target=write, args=(number,)) for number in range(3)]
    for thread in (reader, *writers):
        thread.start()
    for thread in writers:
        thread.join()
    done.set()
    reader.join()

    assert len(seen) == len(set(seen))
    assert sorted(seen) == sorted(written)
