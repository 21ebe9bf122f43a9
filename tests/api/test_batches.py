"""Batches as a caller sees them; the light worker's part is done by hand, on the same database."""

from __future__ import annotations

import json
from typing import Any
from uuid import uuid4

import httpx
import pytest

from styleflow.batches.expansion import Expander
from styleflow.batches.feeding import Feeder
from styleflow.batches.tending import tend_once
from styleflow.egress import Egress, EgressPolicy
from styleflow.errors import CorruptMedia
from styleflow.jobs import progress, queries
from styleflow.storage.connect import open_bucket
from tests.api.conftest import Office, Tenant
from tests.api.test_problems import assert_problem
from worker.installation import batch_shelves

URL = "https://media.example.org/{}.mp4"


def inline(count: int, **more: Any) -> dict[str, Any]:
    unique = uuid4().hex
    items = [
        {"source": {"type": "url", "url": URL.format(f"{unique}-{number}")}, "client_ref": f"post-{number}"}
        for number in range(count)
    ]
    return {"name": "test", "source": {"type": "inline", "items": items}, **more}


def submit(tenant: Tenant, body: dict[str, Any], key: str | None = None) -> httpx.Response:
    return tenant.client.post("/v1/batches", json=body, headers={"Idempotency-Key": key or uuid4().hex})


def submitted(tenant: Tenant, body: dict[str, Any]) -> dict[str, Any]:
    answer = submit(tenant, body)
    assert answer.status_code == 202, answer.text
    return dict(answer.json())


def work(tenant: Tenant) -> None:
    """Everything that the light worker does for batches, until nothing is left for it."""
    running = tenant.running
    shelves = batch_shelves(running.settings, open_bucket(running.settings.bucket_url), Egress(EgressPolicy()))
    expander = Expander(database=running.database, shelves=shelves, owner="test")
    feeder = Feeder(database=running.database, max_queued=10**6, max_attempts=1, keep_days=1)
    while expander.expand_once() + feeder.feed_once() + tend_once(running.database):
        pass


def fail_queued(tenant: Tenant, batch_id: str, limit: int = 100) -> None:
    listed = tenant.client.get("/v1/jobs", params={"batch_id": batch_id, "state": "queued", "limit": limit}).json()
    for job in listed["data"]:
        with tenant.running.database.transaction() as session:
            claim = queries.claim(session, worker="w", lease_seconds=60, job_id=job["id"])
            assert claim is not None
            progress.fail(session, job["id"], claim.token, CorruptMedia())


def test_a_batch_is_accepted_before_its_list_is_read(tenant: Tenant) -> None:
    answer = submit(tenant, inline(3, max_in_flight=2))

    batch = answer.json()
    assert answer.headers["Location"] == f"/v1/batches/{batch['id']}"
    assert answer.headers["Retry-After"] == "5"
    assert (batch["state"], batch["progress"], batch["lane"]) == ("expanding", 0.0, "bulk")
    assert batch["source"] == {
        "type": "inline",
        "uri": None,
        "format": None,
        "bucket": None,
        "prefix": None,
        "extensions": None,
        "modified_after": None,
    }
    assert set(batch["counts"].values()) == {0}


def test_a_batch_runs_under_its_cap_to_its_end(tenant: Tenant) -> None:
    batch = submitted(tenant, inline(3, max_in_flight=2))["id"]
    work(tenant)
    seen = tenant.client.get(f"/v1/batches/{batch}").json()
    assert (seen["state"], seen["counts"]["queued"], seen["counts"]["listed"]) == ("running", 2, 1)

    for _ in range(2):
        for job in tenant.client.get("/v1/jobs", params={"batch_id": batch, "state": "queued"}).json()["data"]:
            assert job["batch_id"] == batch
            tenant.succeed(job["id"])
        work(tenant)

    seen = tenant.client.get(f"/v1/batches/{batch}").json()
    assert (seen["state"], seen["progress"], seen["counts"]["succeeded"]) == ("completed", 1.0, 3)
    events = tenant.client.get("/v1/events", params={"limit": 200}).json()["data"]
    told = [event["event"]["data"] for event in events if event["type"] == "batch.completed"]
    assert [(data["batch_id"], data["counts"]["succeeded"]) for data in told] == [(batch, 3)]


@pytest.mark.parametrize(
    "key", ["../../secret-key", "a//b.mp4", ".hidden.mp4", "a\\b.mp4", "line\nbreak.mp4", "x" * 201]
)
def test_a_key_that_a_request_refuses_is_an_invalid_item(tenant: Tenant, key: str) -> None:
    source = {"type": "s3", "bucket": "bucket", "key": key}
    refused = tenant.client.post("/v1/jobs", json={"source": source})
    items = [{"source": source}, *inline(1)["source"]["items"]]
    batch = submitted(tenant, {"name": "odd", "source": {"type": "inline", "items": items}})["id"]

    work(tenant)

    counts = tenant.client.get(f"/v1/batches/{batch}").json()["counts"]
    assert (counts["invalid"], counts["queued"]) == (1, 1)
    (told,) = tenant.client.get(f"/v1/batches/{batch}/items", params={"state": "invalid"}).json()["data"]
    assert told["error"]["code"] == refused.json()["code"] == "invalid_request"


def test_a_batch_tells_its_budget_and_what_it_has_cost(tenant: Tenant) -> None:
    batch = submitted(tenant, inline(1, budget={"worker_seconds": 60}))
    assert batch["cost"] == {"worker_seconds": 0.0, "budget_worker_seconds": 60.0}
    work(tenant)
    fail_queued(tenant, batch["id"])

    assert tenant.client.get(f"/v1/batches/{batch['id']}").json()["cost"]["worker_seconds"] >= 0.0


def test_the_same_key_submits_once_and_another_body_is_refused(tenant: Tenant) -> None:
    body = inline(1)
    first, again = submit(tenant, body, "k"), submit(tenant, body, "k")

    assert first.json() == again.json()
    assert again.headers["Idempotency-Replayed"] == "true"
    assert_problem(submit(tenant, inline(2), "k"), 422, "idempotency_mismatch")
    assert len(tenant.client.get("/v1/batches").json()["data"]) == 1


def test_without_a_key_nothing_is_submitted(tenant: Tenant) -> None:
    problem = assert_problem(tenant.client.post("/v1/batches", json=inline(1)), 422, "invalid_request")

    assert problem["errors"][0]["pointer"] == "/Idempotency-Key"
    assert tenant.client.get("/v1/batches").json()["data"] == []


@pytest.mark.parametrize(
    ("change", "status", "code", "pointer"),
    [
        ({"source": {"type": "manifest", "uri": "s3://foreign/a", "format": "csv"}}, 403, "source_not_allowed", None),
        ({"source": {"type": "prefix", "bucket": "foreign"}}, 403, "source_not_allowed", None),
        (
            {"source": {"type": "manifest", "uri": "s3://bucket/uploads/a", "format": "csv"}},
            403,
            "source_not_allowed",
            None,
        ),
        (
            {"source": {"type": "manifest", "uri": "https://a/b", "format": "csv"}},
            422,
            "invalid_request",
            "/source/manifest/uri",
        ),
        ({"source": {"type": "inline", "items": []}}, 422, "invalid_request", "/source/inline/items"),
        ({"defaults": {"model": "nobody@1"}}, 422, "unknown_model", None),
        (
            {"defaults": {"callback": {"endpoint_id": "whe_1"}}},
            422,
            "invalid_request",
            "/defaults/callback/endpoint_id",
        ),
        ({"on_item_error": "stop_after_n"}, 422, "invalid_request", ""),
        ({"max_in_flight": 0}, 422, "invalid_request", "/max_in_flight"),
        ({"budget": {}}, 422, "invalid_request", "/budget"),
        ({"budget": {"worker_seconds": 0}}, 422, "invalid_request", "/budget"),
    ],
)
def test_what_cannot_be_a_batch_is_refused_at_once(
    tenant: Tenant, change: dict[str, Any], status: int, code: str, pointer: str | None
) -> None:
    problem = assert_problem(submit(tenant, {**inline(1), **change}), status, code)

    assert pointer is None or pointer in problem["errors"][0]["pointer"]


def test_wrong_lines_of_a_manifest_are_listed_and_the_rest_runs(tenant: Tenant) -> None:
    bucket = open_bucket(tenant.running.settings.bucket_url)
    unique = uuid4().hex
    lines = ["{", json.dumps({"url": URL.format(unique)}), json.dumps({"bucket": "foreign", "key": "a.mp4"})]
    bucket.put(f"manifests/{unique}", "\n".join(lines).encode(), "application/x-ndjson")
    uri = f"s3://{bucket.name}/manifests/{unique}"
    batch = submitted(tenant, {"name": "m", "source": {"type": "manifest", "uri": uri, "format": "jsonl"}})
    assert batch["source"]["uri"] == uri

    work(tenant)
    fail_queued(tenant, batch["id"])
    work(tenant)

    seen = tenant.client.get(f"/v1/batches/{batch['id']}").json()
    assert (seen["state"], seen["counts"]["invalid"], seen["counts"]["failed"]) == ("completed_with_errors", 2, 1)
    answer = tenant.client.get(f"/v1/batches/{batch['id']}/errors")
    assert answer.headers["Content-Type"] == "application/x-ndjson"
    errors = [json.loads(line) for line in answer.text.splitlines()]
    assert [(error["line"], error["code"]) for error in errors] == [
        (1, "malformed_json"),
        (2, "corrupt_media"),
        (3, "source_not_allowed"),
    ]
    assert errors[1]["source"]["url"] == URL.format(unique)
    assert errors[1]["job_id"].startswith("job_")


def test_items_come_in_pages_and_by_state(tenant: Tenant) -> None:
    batch = submitted(tenant, inline(5, max_in_flight=2))["id"]
    work(tenant)
    found: list[int] = []
    parameters: dict[str, Any] = {"limit": 2}
    while True:
        page = tenant.client.get(f"/v1/batches/{batch}/items", params=parameters).json()
        found += [item["position"] for item in page["data"]]
        if not page["has_more"]:
            break
        parameters["cursor"] = page["next_cursor"]

    assert found == [1, 2, 3, 4, 5]
    for state, positions in {"queued": [1, 2], "listed": [3, 4, 5], "failed": []}.items():
        page = tenant.client.get(f"/v1/batches/{batch}/items", params={"state": state}).json()
        assert [item["position"] for item in page["data"]] == positions
    cursor = {"cursor": parameters["cursor"], "state": "listed"}
    assert_problem(tenant.client.get(f"/v1/batches/{batch}/items", params=cursor), 400, "cursor_mismatch")


def test_batches_come_newest_first_in_pages(tenant: Tenant) -> None:
    made = [submitted(tenant, inline(1))["id"] for _ in range(3)]

    first = tenant.client.get("/v1/batches", params={"limit": 2}).json()
    second = tenant.client.get("/v1/batches", params={"limit": 2, "cursor": first["next_cursor"]}).json()

    assert [batch["id"] for batch in first["data"] + second["data"]] == made[::-1]
    assert tenant.client.get("/v1/batches", params={"state": "paused"}).json()["data"] == []


def test_a_batch_is_paused_resumed_and_canceled(tenant: Tenant) -> None:
    batch = submitted(tenant, inline(3))["id"]

    assert tenant.client.post(f"/v1/batches/{batch}:pause").json()["state"] == "paused"
    work(tenant)
    assert tenant.client.get(f"/v1/batches/{batch}").json()["counts"]["listed"] == 3
    assert tenant.client.post(f"/v1/batches/{batch}:resume").json()["state"] == "running"
    answer = tenant.client.post(f"/v1/batches/{batch}:cancel")
    assert (answer.status_code, answer.json()["state"]) == (202, "canceling")
    assert_problem(tenant.client.post(f"/v1/batches/{batch}:pause"), 409, "not_retryable")
    work(tenant)
    seen = tenant.client.get(f"/v1/batches/{batch}").json()
    assert (seen["state"], seen["counts"]["canceled"]) == ("canceled", 3)


def test_what_failed_is_tried_again_once_per_key(tenant: Tenant) -> None:
    batch = submitted(tenant, inline(2))["id"]
    work(tenant)
    assert_problem(tenant.client.post(f"/v1/batches/{batch}:retry-failed"), 409, "not_retryable")
    fail_queued(tenant, batch)
    work(tenant)

    for _ in range(2):
        answer = tenant.client.post(f"/v1/batches/{batch}:retry-failed", headers={"Idempotency-Key": "again"})
        assert (answer.status_code, answer.json()["state"]) == (202, "running")
    work(tenant)

    jobs = tenant.client.get("/v1/jobs", params={"batch_id": batch}).json()["data"]
    assert sorted(job["state"] for job in jobs) == ["failed", "failed", "queued", "queued"]
    counts = tenant.client.get(f"/v1/batches/{batch}").json()["counts"]
    assert (counts["queued"], counts["failed"]) == (2, 0)


def test_a_hook_may_subscribe_to_batches(office: Office) -> None:
    tenant = office.tenant()
    hook = {"url": "https://a.example.org/", "events": ["batch.*"]}

    assert tenant.client.post("/v1/webhook-endpoints", json=hook).status_code == 201
