"""`/v1/jobs` from outside: submit, follow, list, cancel, retry, erase."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest
from sqlalchemy import text

from styleflow.jobs import progress, queries
from tests.api.conftest import Office, Running, Tenant

URL = {"type": "url", "url": "https://media.example.org/clip.mp4"}


def test_a_submitted_job_is_accepted_with_its_address_and_is_queued(client: httpx.Client) -> None:
    body = {
        "source": URL,
        "client_ref": "post-991",
        "tags": {"queue": "politics"},
        "lane": "realtime",
        "options": {"sampling": {"mode": "uniform", "clips": 4}},
        "metadata": {"uploader": "u_17"},
    }
    answer = client.post("/v1/jobs", json=body)
    assert answer.status_code == 202
    job = answer.json()
    assert answer.headers["Location"] == f"/v1/jobs/{job['id']}" == job["links"]["self"]
    assert int(answer.headers["Retry-After"]) >= 1
    assert answer.headers["Cache-Control"] == "no-store"
    assert (job["state"], job["lane"], job["tags"], job["client_ref"]) == (
        "queued",
        "realtime",
        {"queue": "politics"},
        "post-991",
    )
    assert job["options"] == {"sampling": {"mode": "uniform", "clips": 4}}
    assert job["score"] is None
    assert job["outcome"] is None
    assert job["created_at"].endswith("Z")
    assert client.get(answer.headers["Location"]).json() == job


def test_polling_with_the_etag_is_304_until_something_changes(tenant: Tenant) -> None:
    job = tenant.post_job()
    first = tenant.client.get(f"/v1/jobs/{job['id']}")
    assert first.headers["ETag"] == f'"{job["id"]}.1"'
    polls = [
        tenant.client.get(f"/v1/jobs/{job['id']}", headers={"If-None-Match": first.headers["ETag"]}) for _ in range(95)
    ]
    assert {poll.status_code for poll in polls} == {304}
    assert all(not poll.content and int(poll.headers["Retry-After"]) >= 2 for poll in polls)
    tenant.succeed(job["id"])
    changed = tenant.client.get(f"/v1/jobs/{job['id']}", headers={"If-None-Match": first.headers["ETag"]})
    assert changed.status_code == 200
    assert changed.json()["state"] == "succeeded"
    assert "Retry-After" not in changed.headers
    same = tenant.client.get(f"/v1/jobs/{job['id']}", headers={"If-None-Match": f'W/"x", {changed.headers["ETag"]}'})
    assert same.status_code == 304


def test_waiting_answers_when_the_job_settles(tenant: Tenant) -> None:
    job = tenant.post_job()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(tenant.client.get, f"/v1/jobs/{job['id']}", headers={"Prefer": "wait=30"})
        while tenant.running.app.state.services.waiting.waiting == 0:
            threading.Event().wait(0.01)
        tenant.succeed(job["id"])
        answer = waiting.result(timeout=10)
    assert answer.json()["state"] == "succeeded"
    assert answer.json()["outcome"] == "inconclusive"
    assert answer.headers["Preference-Applied"] == "wait=30"


def test_waiting_ends_with_the_time_and_the_job_as_it_is(client: httpx.Client) -> None:
    answer = client.post("/v1/jobs", json={"source": URL}, headers={"Prefer": "respond-async, wait=1"})
    assert answer.status_code == 202
    assert answer.json()["state"] == "queued"
    assert answer.headers["Preference-Applied"] == "wait=1"


@pytest.mark.parametrize("quoted", ["key-{}", '"key-{}"'])
def test_fifty_requests_at_once_with_one_key_make_one_job(tenant: Tenant, quoted: str) -> None:
    headers = {"Idempotency-Key": quoted.format(uuid4().hex)}
    with ThreadPoolExecutor(50) as pool:
        answers = list(
            pool.map(lambda _: tenant.client.post("/v1/jobs", json={"source": URL}, headers=headers), range(50))
        )
    assert {answer.status_code for answer in answers} <= {202, 409}
    accepted = [answer for answer in answers if answer.status_code == 202]
    assert sum("Idempotency-Replayed" not in answer.headers for answer in accepted) == 1
    assert len({answer.json()["id"] for answer in accepted}) == 1
    assert len({answer.headers["Location"] for answer in accepted}) == 1
    assert len(tenant.client.get("/v1/jobs").json()["data"]) == 1


def test_a_key_in_quotes_and_bare_is_the_same_key(tenant: Tenant) -> None:
    first = tenant.client.post("/v1/jobs", json={"source": URL}, headers={"Idempotency-Key": '"abc"'})
    again = tenant.client.post("/v1/jobs", json={"source": URL}, headers={"Idempotency-Key": "abc"})
    assert again.json() == first.json()
    assert again.headers["Idempotency-Replayed"] == "true"


def test_a_key_of_another_project_is_another_key(office: Office) -> None:
    jobs = {
        office.tenant().client.post("/v1/jobs", json={"source": URL}, headers={"Idempotency-Key": "k"}).json()["id"]
        for _ in range(2)
    }
    assert len(jobs) == 2


def test_pages_show_every_job_once_while_more_are_submitted(tenant: Tenant) -> None:
    before = [tenant.post_job()["id"] for _ in range(12)]
    seen: list[str] = []
    address: str | None = "/v1/jobs?limit=5"
    while address:
        answer = tenant.client.get(address)
        seen += [job["id"] for job in answer.json()["data"]]
        assert answer.json()["has_more"] == ("Link" in answer.headers)
        address = answer.links["next"]["url"] if "Link" in answer.headers else None
        tenant.post_job()
    assert seen == list(reversed(before))


def test_jobs_are_listed_oldest_first_when_asked_and_between_two_moments(tenant: Tenant) -> None:
    jobs = [tenant.post_job() for _ in range(5)]
    ids = [job["id"] for job in jobs]
    with tenant.running.database.transaction() as session:
        for day, identity in enumerate(ids, start=1):
            values = {"moment": f"2026-01-0{day}T12:00:00Z", "id": identity}
            session.execute(text("update jobs set created_at = :moment where id = :id"), values)

    seen, address = [], "/v1/jobs?sort=created_at&limit=2"
    while address:
        answer = tenant.client.get(address)
        seen += [job["id"] for job in answer.json()["data"]]
        address = answer.links["next"]["url"] if "Link" in answer.headers else ""
    assert seen == ids
    between = {"created_after": "2026-01-02T00:00:00Z", "created_before": "2026-01-04T00:00:00Z"}
    assert [job["id"] for job in tenant.client.get("/v1/jobs", params=between).json()["data"]] == [ids[2], ids[1]]
    cursor = tenant.client.get("/v1/jobs?limit=2").json()["next_cursor"]
    other = tenant.client.get(f"/v1/jobs?limit=2&sort=created_at&cursor={cursor}")
    assert other.json()["code"] == "cursor_mismatch"


def test_a_page_that_asks_for_too_much_gets_the_most_there_is(client: httpx.Client) -> None:
    assert client.get("/v1/jobs", params={"limit": 100000}).status_code == 200


def test_filters_choose_jobs(tenant: Tenant) -> None:
    wanted = tenant.post_job(client_ref="a", tags={"queue": "x:y"}, lane="bulk")
    tenant.post_job(client_ref="b", tags={"queue": "z"})
    tenant.succeed(wanted["id"])
    for query in (
        {"client_ref": "a"},
        {"tag": "queue:x:y"},
        {"lane": "bulk"},
        {"state": "succeeded"},
        {"outcome": "inconclusive"},
    ):
        assert [job["id"] for job in tenant.client.get("/v1/jobs", params=query).json()["data"]] == [wanted["id"]]
    assert tenant.client.get("/v1/jobs", params={"verdict": "strong"}).json()["data"] == []
    future = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    assert tenant.client.get("/v1/jobs", params={"created_after": future}).json()["data"] == []


def test_a_cursor_is_bound_to_its_query_and_its_maker(office: Office) -> None:
    tenant, other = office.tenant(), office.tenant()
    for _ in range(3):
        tenant.post_job()
    cursor = tenant.client.get("/v1/jobs", params={"limit": 1}).json()["next_cursor"]
    assert tenant.client.get("/v1/jobs", params={"limit": 2, "cursor": cursor}).status_code == 200
    altered = cursor[:-2] + ("AA" if cursor[-2:] != "AA" else "BB")
    for client, query in (
        (tenant.client, {"cursor": cursor, "state": "queued"}),
        (tenant.client, {"cursor": altered}),
        (tenant.client, {"cursor": "é"}),
        (other.client, {"cursor": cursor}),
    ):
        answer = client.get("/v1/jobs", params=query)
        assert (answer.status_code, answer.json()["code"]) == (400, "cursor_mismatch")


def test_a_queued_job_is_canceled_at_once_and_can_be_retried_as_a_new_one(tenant: Tenant) -> None:
    job = tenant.post_job(tags={"a": "b"})
    canceled = tenant.client.post(f"/v1/jobs/{job['id']}:cancel")
    assert (canceled.status_code, canceled.json()["state"]) == (200, "canceled")
    again = tenant.client.post(f"/v1/jobs/{job['id']}:retry")
    assert again.status_code == 202
    assert again.json()["parent_job_id"] == job["id"]
    assert again.json()["tags"] == {"a": "b"}
    assert again.headers["Location"] == f"/v1/jobs/{again.json()['id']}"
    assert tenant.client.get(f"/v1/jobs/{job['id']}").json()["state"] == "canceled"


def test_a_running_job_is_asked_to_stop(tenant: Tenant) -> None:
    job = tenant.post_job()
    with tenant.running.database.transaction() as session:
        claim = queries.claim(session, worker="w", lease_seconds=60, job_id=job["id"])
    assert claim is not None
    with tenant.running.database.transaction() as session:
        progress.heartbeat(
            session, job["id"], claim.token, 60, {"phase": "analysing", "fraction": 0.5, "clips_done": 2}
        )
    asked = tenant.client.post(f"/v1/jobs/{job['id']}:cancel")
    assert asked.status_code == 202
    assert asked.json()["cancel_requested"]
    assert asked.json()["progress"] == {"phase": "analysing", "fraction": 0.5, "clips_done": 2, "clips_total": None}
    attempts = tenant.client.get(f"/v1/jobs/{job['id']}/attempts").json()["data"]
    assert [(attempt["number"], attempt["ended"]) for attempt in attempts] == [(1, None)]


def test_an_erased_job_is_gone_with_its_evidence_and_its_id_stays_as_410(tenant: Tenant) -> None:
    job = tenant.post_job()
    tenant.succeed(job["id"])
    services = tenant.running.app.state.services
    services.bucket.put(f"evidence/{job['id']}/9/report.json", b"of an attempt that lost its lease", "application/json")
    deleted = tenant.client.delete(f"/v1/jobs/{job['id']}")
    assert (deleted.status_code, deleted.json()["state"]) == (202, "running")
    for path in ("", "/result", "/tracks", "/frames", "/report", "/attempts"):
        answer = tenant.client.get(f"/v1/jobs/{job['id']}{path}")
        assert (answer.status_code, answer.json()["code"]) == (410, "erased")
    again = tenant.client.delete(f"/v1/jobs/{job['id']}")
    assert (again.status_code, again.json()["id"]) == (202, deleted.json()["id"])
    tenant.let_objects_go()
    assert tenant.client.get(deleted.headers["Location"]).json()["state"] == "completed"
    assert list(services.bucket.list(f"evidence/{job['id']}/")) == []


@pytest.mark.parametrize("prefer", [{}, {"Prefer": "wait=5"}])
def test_an_erased_job_does_not_come_back_through_its_idempotency_key(tenant: Tenant, prefer: dict[str, str]) -> None:
    body, headers = {"source": URL, "client_ref": "who"}, {"Idempotency-Key": "one"}
    job = tenant.client.post("/v1/jobs", json=body, headers=headers).json()
    tenant.succeed(job["id"])
    tenant.client.delete(f"/v1/jobs/{job['id']}")
    again = tenant.client.post("/v1/jobs", json=body, headers={**headers, **prefer})
    assert (again.status_code, again.json()["code"]) == (410, "erased")
    assert tenant.client.get("/v1/jobs").json()["data"] == []


def test_a_queued_job_is_canceled_and_erased_at_once(tenant: Tenant) -> None:
    job = tenant.post_job()
    assert tenant.client.delete(f"/v1/jobs/{job['id']}").json()["counts"]["erased"] == 1
    assert tenant.client.get(f"/v1/jobs/{job['id']}").json()["code"] == "erased"


def test_a_job_that_is_not_finished_and_one_that_succeeded_are_not_retried(tenant: Tenant) -> None:
    job = tenant.post_job()
    assert tenant.client.post(f"/v1/jobs/{job['id']}:retry").json()["code"] == "not_retryable"
    tenant.succeed(job["id"])
    assert tenant.client.post(f"/v1/jobs/{job['id']}:retry").status_code == 409


def nested(levels: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for _ in range(levels - 1):
        found = {"a": found}
    return found


def sampled(**sampling: Any) -> dict[str, Any]:
    return {"source": URL, "options": {"sampling": sampling}}


REFUSED: list[tuple[dict[str, Any], int, str, str]] = [
    ({"source": URL, "modle": "x"}, 422, "invalid_request", "/modle"),
    ({"source": URL, "options": {"sampling": {"mod": "full"}}}, 422, "invalid_request", "/options/sampling/mod"),
    ({"source": {**URL, "bucket": "b"}}, 422, "invalid_request", "/source/url/bucket"),
    ({"source": {"type": "inline"}}, 422, "invalid_request", "/source"),
    ({}, 422, "invalid_request", "/source"),
    ({"source": URL, "tags": {str(n): "x" for n in range(17)}}, 422, "invalid_request", "/tags"),
    ({"source": URL, "tags": {"a": 1}}, 422, "invalid_request", "/tags/a"),
    ({"source": URL, "metadata": {"a": "x" * 9000}}, 422, "invalid_request", "/metadata"),
    ({"source": URL, "metadata": {"a": "\x00"}}, 422, "invalid_request", "/metadata"),
    ({"source": URL, "metadata": nested(33)}, 422, "invalid_request", "/metadata"),
    ({"source": URL, "metadata": nested(900)}, 422, "invalid_request", "/metadata"),
    ({"source": URL, "client_ref": "x" * 257}, 422, "invalid_request", "/client_ref"),
    ({"source": URL, "client_ref": "a\x00"}, 422, "invalid_request", "/client_ref"),
    ({"source": URL, "lane": "express"}, 422, "invalid_request", "/lane"),
    ({"source": URL, "deadline": "2020-01-01T00:00:00Z"}, 422, "invalid_request", "/deadline"),
    ({"source": URL, "deadline": "2090-01-01T00:00:00"}, 422, "invalid_request", "/deadline"),
    ({"source": URL, "deadline": "9999-12-31T23:59:59-23:59"}, 422, "invalid_request", "/deadline"),
    ({"source": URL, "deadline": "9999-12-31T23:59:59Z"}, 422, "invalid_request", "/deadline"),
    ({"source": URL, "deadline": "0001-01-01T00:00:00+23:59"}, 422, "invalid_request", "/deadline"),
    (sampled(clips=513), 422, "invalid_request", "/options/sampling/clips"),
    (sampled(max_clips=513), 422, "invalid_request", "/options/sampling/max_clips"),
    (sampled(clips=True), 422, "invalid_request", "/options/sampling/clips"),
    ({"source": URL, "options": {"region": {"end_ms": True}}}, 422, "invalid_request", "/options/region/end_ms"),
    ({"source": URL, "callback": {"endpoint_id": "whe_x"}}, 422, "invalid_request", "/callback/endpoint_id"),
    ({"source": URL, "options": {"region": {"start_ms": 5, "end_ms": 5}}}, 422, "invalid_request", "/options/region"),
    ({"source": {"type": "url", "url": "nonsense"}}, 422, "invalid_request", "/source/url"),
    ({"source": URL, "model": "other@9"}, 422, "unknown_model", ""),
    ({"source": {"type": "url", "url": "http://media.example.org/a.mp4"}}, 403, "source_not_allowed", ""),
    ({"source": {"type": "url", "url": "https://127.0.0.1/a.mp4"}}, 403, "source_not_allowed", ""),
    ({"source": {"type": "url", "url": "https://169.254.169.254/latest"}}, 403, "source_not_allowed", ""),
    ({"source": {"type": "s3", "bucket": "elsewhere", "key": "a.mp4"}}, 403, "source_not_allowed", ""),
    ({"source": {"type": "s3", "bucket": "bucket", "key": "uploads/prj/upl"}}, 403, "source_not_allowed", ""),
    ({"source": {"type": "s3", "bucket": "bucket", "key": "evidence/job/1"}}, 403, "source_not_allowed", ""),
    ({"source": {"type": "s3", "bucket": "bucket", "key": "../etc/passwd"}}, 422, "invalid_request", "/source/key"),
    ({"source": {"type": "upload", "upload_id": "upl_x"}}, 404, "not_found", ""),
]


@pytest.mark.parametrize(("body", "status", "code", "pointer"), REFUSED)
def test_a_submission_that_cannot_be_carried_out_is_refused_with_its_reason(
    client: httpx.Client, body: dict[str, Any], status: int, code: str, pointer: str
) -> None:
    answer = client.post("/v1/jobs", json=body)
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    if pointer:
        assert pointer in [error["pointer"] for error in answer.json()["errors"]], answer.text
    assert client.get("/v1/jobs").json()["data"] == []


def test_the_most_that_is_allowed_is_accepted_and_told_back(tenant: Tenant) -> None:
    options = {"sampling": {"mode": "uniform", "clips": 512, "max_clips": 512}}
    job = tenant.post_job(metadata=nested(32), deadline="9998-12-31T23:59:59+05:00", options=options)
    assert (job["metadata"], job["deadline"], job["options"]) == (nested(32), "9998-12-31T18:59:59.000Z", options)
    assert tenant.client.get(f"/v1/jobs/{job['id']}").json() == job


def test_an_unknown_model_is_refused_with_the_list_of_those_served(client: httpx.Client) -> None:
    problem = client.post("/v1/jobs", json={"source": URL, "model": "x@1"}).json()
    assert problem["served"] == ["styleflow@default", "tiny@1"]


def test_an_object_of_our_own_bucket_is_pinned_to_what_it_is_now(tenant: Tenant) -> None:
    bucket = tenant.running.app.state.services.bucket
    bucket.put("ugc/a.mp4", b"video", "video/mp4")
    job = tenant.post_job(source={"type": "s3", "bucket": bucket.name, "key": "ugc/a.mp4"})
    assert job["source"]["etag"]
    assert job["source"]["size_bytes"] == 5
    missing = tenant.post_job(source={"type": "s3", "bucket": bucket.name, "key": "ugc/none.mp4"})
    assert missing["source"]["etag"] is None


def test_a_callback_names_an_endpoint_of_the_same_project(office: Office) -> None:
    tenant, other = office.tenant(), office.tenant()
    endpoint = tenant.client.post("/v1/webhook-endpoints", json={"url": "https://hooks.example.org/a"}).json()
    callback = {"endpoint_id": endpoint["id"]}
    assert tenant.post_job(callback=callback)["callback"] == callback
    refused = other.client.post("/v1/jobs", json={"source": URL, "callback": callback})
    assert refused.status_code == 422
    path = f"/v1/webhook-endpoints/{endpoint['id']}"
    tenant.client.patch(path, json={"state": "disabled"}, headers={"If-Match": "*"})
    assert tenant.client.post("/v1/jobs", json={"source": URL, "callback": callback}).status_code == 422


def test_the_job_carries_the_id_of_the_request_that_made_it(tenant: Tenant, running: Running) -> None:
    answer = tenant.client.post("/v1/jobs", json={"source": URL}, headers={"X-Request-Id": "trace-1"})
    with running.database.transaction() as session:
        stored = session.execute(
            text("select request_id from jobs where id = :id"), {"id": answer.json()["id"]}
        ).scalar_one()
    assert stored == "trace-1" == answer.headers["X-Request-Id"]
