"""Webhook endpoints, deliveries and the event feed, as a caller uses them."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import text

from tests.api.conftest import Office, Tenant

HOOK = "https://hooks.example.org/styleflow"


def subscribe(tenant: Tenant, **more: Any) -> dict[str, Any]:
    answer = tenant.client.post("/v1/webhook-endpoints", json={"url": HOOK, **more})
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def test_the_secret_is_shown_once(tenant: Tenant) -> None:
    endpoint = subscribe(tenant, description="moderation")
    assert endpoint["secret"].startswith("whsec_")
    assert endpoint["events"] == ["job.*"]
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
    changed = tenant.client.patch(path, json={"events": ["job.succeeded"], "state": "disabled"}).json()
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
    assert tenant.client.patch(path, json={"url": url}).status_code == status


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
    assert (len(rest["data"]), rest["has_more"]) == (1, False)


def test_a_settled_job_is_on_its_way_to_the_endpoint_and_in_the_feed(tenant: Tenant) -> None:
    endpoint = subscribe(tenant, events=["job.succeeded"])
    job = tenant.post_job()
    tenant.succeed(job["id"])
    deliveries = tenant.client.get(
        f"/v1/webhook-endpoints/{endpoint['id']}/deliveries", params={"state": "pending"}
    ).json()["data"]
    assert [(delivery["event_type"], delivery["job_id"]) for delivery in deliveries] == [("job.succeeded", job["id"])]
    feed = tenant.client.get("/v1/events").json()
    assert [event["type"] for event in feed["data"]] == ["job.queued", "job.running", "job.succeeded"]
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
