"""Whatever goes wrong, the caller gets one shape with a stable code, and nothing that is not theirs to know."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.problems import pointer
from styleflow.jobs import idempotency
from styleflow.settings import Settings
from tests.api.conftest import SECRET, Office, Running, Tenant, serve

URL = {"type": "url", "url": "https://media.example.org/clip.mp4"}
HOOK = "https://a.example.org/"
PLAIN = {"headers": {"Content-Type": "text/plain"}}
JSON = {"headers": {"Content-Type": "application/json"}}
MEMBERS = {"type", "title", "status", "detail", "instance", "code", "request_id", "retryable", "errors"}
ID_ROUTES = [
    ("GET", "/v1/jobs/{job}"),
    ("DELETE", "/v1/jobs/{job}"),
    ("POST", "/v1/jobs/{job}:cancel"),
    ("POST", "/v1/jobs/{job}:retry"),
    ("POST", "/v1/jobs/{job}:hold"),
    ("POST", "/v1/jobs/{job}:release"),
    ("GET", "/v1/jobs/{job}/attempts"),
    ("GET", "/v1/jobs/{job}/events"),
    ("GET", "/v1/jobs/{job}/result"),
    ("GET", "/v1/jobs/{job}/tracks"),
    ("GET", "/v1/jobs/{job}/tracks/trk_1"),
    ("GET", "/v1/jobs/{job}/clips"),
    ("GET", "/v1/jobs/{job}/segments"),
    ("GET", "/v1/jobs/{job}/frames"),
    ("GET", "/v1/jobs/{job}/report"),
    ("GET", "/v1/batches/{batch}"),
    ("GET", "/v1/batches/{batch}/items"),
    ("GET", "/v1/batches/{batch}/errors"),
    ("POST", "/v1/batches/{batch}:pause"),
    ("POST", "/v1/batches/{batch}:resume"),
    ("POST", "/v1/batches/{batch}:cancel"),
    ("POST", "/v1/batches/{batch}:retry-failed"),
    ("GET", "/v1/uploads/{upload}"),
    ("POST", "/v1/uploads/{upload}:complete"),
    ("DELETE", "/v1/uploads/{upload}"),
    ("GET", "/v1/erasures/{erasure}"),
    ("GET", "/v1/webhook-endpoints/{endpoint}"),
    ("PATCH", "/v1/webhook-endpoints/{endpoint}"),
    ("DELETE", "/v1/webhook-endpoints/{endpoint}"),
    ("POST", "/v1/webhook-endpoints/{endpoint}:ping"),
    ("GET", "/v1/webhook-endpoints/{endpoint}/deliveries"),
    ("GET", "/v1/deliveries/{delivery}"),
    ("POST", "/v1/deliveries/{delivery}:redeliver"),
]


def key(value: str) -> dict[str, Any]:
    return {"headers": {"Idempotency-Key": value}}


def assert_problem(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    problem: dict[str, Any] = answer.json()
    assert problem.keys() >= MEMBERS
    assert (problem["code"], problem["status"]) == (code, status)
    assert problem["type"] == f"urn:styleflow:problem:{code}"
    assert problem["request_id"] == answer.headers["X-Request-Id"]
    assert problem["instance"] == answer.request.url.path
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["API-Version"] == "2026-12-01"
    assert ("Retry-After" in answer.headers) or status != 503
    return problem


@pytest.mark.parametrize(
    ("request_", "status", "code"),
    [
        (("GET", "/nowhere", {}), 404, "not_found"),
        (("GET", "/v1/jobs/", {}), 404, "not_found"),
        (("PUT", "/v1/jobs", {}), 405, "method_not_allowed"),
        (("POST", "/v1/jobs/job_1:explode", {}), 405, "method_not_allowed"),
        (("POST", "/v1/jobs", {"content": b"{", **JSON}), 400, "malformed_json"),
        (("POST", "/v1/jobs", {"content": b"[" * 90000, **JSON}), 400, "malformed_json"),
        (("POST", "/v1/jobs", {"content": b"\xff", **JSON}), 400, "malformed_json"),
        (("POST", "/v1/jobs", {"content": b"[]", **JSON}), 422, "invalid_request"),
        (("POST", "/v1/jobs", {}), 422, "invalid_request"),
        (("POST", "/v1/jobs", {"content": b"{}", **PLAIN}), 415, "unsupported_media_type"),
        (("POST", "/v1/jobs", {"content": b"{}"}), 415, "unsupported_media_type"),
        (("POST", "/v1/jobs", {"content": b"x" * (1 << 20) + b"x"}), 413, "payload_too_large"),
        (("POST", "/v1/jobs", {"json": {"source": URL}, **key("x" * 256)}), 422, "invalid_request"),
        (("POST", "/v1/jobs", {"json": {"source": URL}, **key('""')}), 422, "invalid_request"),
        (("GET", "/v1/jobs?stat=queued", {}), 422, "invalid_request"),
        (("GET", "/v1/jobs?limit=0", {}), 422, "invalid_request"),
        (("GET", "/v1/jobs?limit=-1", {}), 422, "invalid_request"),
        (("GET", "/v1/jobs?tag=nocolon", {}), 422, "invalid_request"),
        (("GET", "/v1/jobs?client_ref=%00", {}), 422, "invalid_request"),
        (("GET", "/v1/jobs?api_key=x", {}), 400, "key_in_query"),
        (("GET", "/v1/models/none@1", {}), 404, "not_found"),
        (("POST", "/v1/uploads", {"json": {"filename": "a", "size_bytes": 0}}), 422, "invalid_request"),
        (("POST", "/v1/uploads", {"json": {"filename": "a", "size_bytes": True}}), 422, "invalid_request"),
        (("POST", "/v1/uploads", {"json": {"filename": "a", "size_bytes": 1, "content_type": "vidéo/mp4"}}),
         422, "invalid_request"),
        (("POST", "/v1/uploads", {"json": {"filename": "a", "size_bytes": 1, "content_type": "video/mp4\r\n"}}),
         422, "invalid_request"),
        (("POST", "/v1/webhook-endpoints", {"json": {"url": HOOK, "events": ["job"]}}), 422, "invalid_request"),
        (("POST", "/v1/webhook-endpoints", {"json": {"url": HOOK, "events": ["jobs.*"]}}), 422, "invalid_request"),
        (("POST", "/v1/webhook-endpoints", {"json": {"url": HOOK, "events": ["job.done"]}}), 422, "invalid_request"),
        (("POST", "/v1/webhook-endpoints", {"json": {"url": HOOK, "events": ["webhook.*"]}}), 422, "invalid_request"),
        (("GET", "/v1/jobs/%00", {}), 404, "not_found"),
        (("POST", "/v1/jobs/a%00b:cancel", {}), 404, "not_found"),
        (("GET", "/v1/jobs?created_after=0001-01-01T00:00:00%2B23:59", {}), 422, "invalid_request"),
    ],
)  # fmt: skip
def test_a_request_that_does_not_fit_is_a_problem(
    client: httpx.Client, request_: tuple[str, str, dict[str, Any]], status: int, code: str
) -> None:
    method, path, arguments = request_
    assert_problem(client.request(method, path, **arguments), status, code)


def test_a_wrong_member_is_named_by_a_json_pointer(client: httpx.Client) -> None:
    problem = assert_problem(
        client.post("/v1/jobs", json={"source": URL, "options": {"faces": {"max/tracks": 1}}}), 422, "invalid_request"
    )
    assert [error["pointer"] for error in problem["errors"]] == ["/options/faces/max~1tracks"]
    assert problem["errors"][0]["in"] == "body"


@pytest.mark.parametrize(
    ("path", "allowed"),
    [("/v1/jobs", "GET, POST"), ("/v1/jobs/job_1", "DELETE, GET"), ("/predict", "POST"), ("/docs", "GET, HEAD")],
)
def test_a_method_that_is_not_taken_is_told_which_are(client: httpx.Client, path: str, allowed: str) -> None:
    answer = client.put(path)
    assert_problem(answer, 405, "method_not_allowed")
    assert answer.headers["Allow"] == allowed


def test_an_unknown_query_parameter_is_refused_on_every_versioned_route(tenant: Tenant) -> None:
    ids = {"job": "x", "batch": "x", "upload": "x", "endpoint": "x", "delivery": "x", "erasure": "x"}
    bodies: dict[str, Any] = {"PATCH": {}, ":hold": {"reason": "a"}}
    routes = [(method, template.format(**ids)) for method, template in ID_ROUTES]
    routes += [
        ("GET", "/v1/models"),
        ("GET", "/v1/batches"),
        ("GET", "/v1/limits"),
        ("GET", "/v1/events"),
        ("GET", "/v1/webhook-endpoints"),
    ]
    for method, path in routes:
        body = bodies.get(method, bodies.get(path[-5:]))
        answer = tenant.client.request(method, f"{path}?stat~e=1", json=body)
        problem = assert_problem(answer, 422, "invalid_request")
        assert [(error["in"], error["pointer"]) for error in problem["errors"]] == [("query", "/stat~0e")]
    assert tenant.client.post("/v1/jobs?wait=5", json={"source": URL}).status_code == 422
    assert tenant.client.get("/livez?probe=1").status_code == 200


@pytest.mark.parametrize(
    "body",
    [
        {"source": URL, "\ud800": 1},
        {"source": URL, "client_ref": "\ud800"},
        {"source": URL, "tags": {"\udfff": "x"}},
        {"source": URL, "tags": {"x": "\udfff"}},
        {"source": URL, "metadata": {"\ud800": 1}},
        {"source": URL, "model": "\ud800"},
        {"source": {"type": "\ud800"}},
        {"source": {"type": "url", "url": "https://a.example.org/\ud800"}},
        {"source": {"type": "s3", "bucket": "b", "key": "\ud800"}},
        {"source": {"type": "upload", "upload_id": "\ud800"}},
    ],
)
def test_half_a_character_does_not_fit_anywhere(client: httpx.Client, body: dict[str, Any]) -> None:
    assert_problem(client.post("/v1/jobs", content=json.dumps(body), **JSON), 422, "invalid_request")


def test_a_result_that_will_never_come_is_not_worth_asking_for_again(tenant: Tenant) -> None:
    job = tenant.post_job()["id"]
    waiting = tenant.client.get(f"/v1/jobs/{job}/result")
    assert assert_problem(waiting, 409, "result_not_ready")["retryable"] is True
    assert int(waiting.headers["Retry-After"]) > 0
    tenant.client.post(f"/v1/jobs/{job}:cancel")
    for path in ("result", "tracks", "frames", "report"):
        never = tenant.client.get(f"/v1/jobs/{job}/{path}")
        problem = assert_problem(never, 409, "result_not_ready")
        assert (problem["retryable"], "canceled" in problem["detail"]) == (False, True)
        assert "Retry-After" not in never.headers


def test_pinging_a_disabled_endpoint_is_told_in_words_of_its_own(client: httpx.Client) -> None:
    path = f"/v1/webhook-endpoints/{client.post('/v1/webhook-endpoints', json={'url': HOOK}).json()['id']}"
    client.patch(path, json={"state": "disabled"})
    problem = assert_problem(client.post(f"{path}:ping"), 409, "not_retryable")
    assert "endpoint" in problem["detail"]
    assert "job" not in problem["title"] + problem["detail"]


def test_the_same_key_with_another_body_is_refused(client: httpx.Client) -> None:
    headers = {"Idempotency-Key": "one"}
    assert client.post("/v1/jobs", json={"source": URL, "client_ref": "a"}, headers=headers).status_code == 202
    other = client.post("/v1/jobs", json={"source": URL, "client_ref": "b"}, headers=headers)
    assert_problem(other, 422, "idempotency_mismatch")


def test_a_second_request_while_the_first_still_runs_is_told_to_come_again(tenant: Tenant) -> None:
    with tenant.running.database.transaction() as session:
        idempotency.remember(session, tenant.project_id, "POST /v1/jobs", "one", "first", 1)
        answer = tenant.client.post("/v1/jobs", json={"source": URL}, headers={"Idempotency-Key": "one"})
        assert_problem(answer, 409, "idempotency_in_progress")
        assert int(answer.headers["Retry-After"]) > 0
        session.rollback()


@pytest.mark.parametrize(
    "headers", [{}, {"Authorization": "Bearer sfk_live_wrong"}, {"X-API-Key": "x"}, {"Authorization": "Basic YTpi"}]
)
def test_without_a_valid_key_nothing_but_health_is_served(running: Running, headers: dict[str, str]) -> None:
    with running.client(**headers) as client:
        for path in ("/v1/jobs", "/v1/jobs/job_1/result", "/v1/models", "/v1/limits", "/v1/events"):
            answer = client.get(path)
            assert_problem(answer, 401, "unauthenticated")
            assert answer.headers["WWW-Authenticate"].startswith("Bearer")
        assert client.get("/livez").status_code == 200


def test_a_key_in_the_other_header_is_as_good(tenant: Tenant, running: Running) -> None:
    with running.client(**{"X-API-Key": tenant.key}) as client:
        assert client.get("/v1/jobs").status_code == 200


def test_a_key_in_the_address_is_refused_even_where_none_is_needed(tenant: Tenant, running: Running) -> None:
    with running.client() as client:
        assert_problem(client.get(f"/livez?anything={tenant.key}"), 400, "key_in_query")


SCOPE_OF = [
    ("jobs:read", "GET", "/v1/jobs"),
    ("jobs:read", "GET", "/v1/jobs/x"),
    ("jobs:read", "GET", "/v1/jobs/x/result"),
    ("jobs:read", "GET", "/v1/jobs/x/attempts"),
    ("jobs:read", "GET", "/v1/jobs/x/events"),
    ("jobs:read", "GET", "/v1/models"),
    ("jobs:read", "GET", "/v1/models/x"),
    ("jobs:read", "GET", "/v1/limits"),
    ("jobs:read", "GET", "/v1/retention"),
    ("jobs:read", "GET", "/v1/events"),
    ("jobs:read", "GET", "/v1/uploads/x"),
    ("jobs:read", "GET", "/v1/batches"),
    ("jobs:read", "GET", "/v1/batches/x"),
    ("jobs:read", "GET", "/v1/batches/x/items"),
    ("jobs:read", "GET", "/v1/batches/x/errors"),
    ("batches:write", "POST", "/v1/batches"),
    ("batches:write", "POST", "/v1/batches/x:pause"),
    ("batches:write", "POST", "/v1/batches/x:resume"),
    ("batches:write", "POST", "/v1/batches/x:cancel"),
    ("batches:write", "POST", "/v1/batches/x:retry-failed"),
    ("evidence:read", "GET", "/v1/jobs/x/tracks"),
    ("evidence:read", "GET", "/v1/jobs/x/tracks/y"),
    ("evidence:read", "GET", "/v1/jobs/x/clips"),
    ("evidence:read", "GET", "/v1/jobs/x/segments"),
    ("evidence:read", "GET", "/v1/jobs/x/frames"),
    ("evidence:read", "GET", "/v1/jobs/x/report"),
    ("jobs:write", "POST", "/v1/jobs"),
    ("jobs:write", "POST", "/v1/jobs/x:cancel"),
    ("jobs:write", "POST", "/v1/jobs/x:retry"),
    ("jobs:write", "DELETE", "/v1/jobs/x"),
    ("jobs:write", "POST", "/v1/uploads"),
    ("jobs:write", "POST", "/v1/uploads/x:complete"),
    ("jobs:write", "DELETE", "/v1/uploads/x"),
    ("jobs:write", "POST", "/predict"),
    ("jobs:read", "GET", "/healthcheck"),
    ("erasure:write", "PUT", "/v1/retention"),
    ("erasure:write", "POST", "/v1/erasures"),
    ("erasure:write", "GET", "/v1/erasures/x"),
    ("erasure:write", "POST", "/v1/jobs/x:hold"),
    ("erasure:write", "POST", "/v1/jobs/x:release"),
    ("webhooks:manage", "POST", "/v1/webhook-endpoints"),
    ("webhooks:manage", "GET", "/v1/webhook-endpoints"),
    ("webhooks:manage", "GET", "/v1/webhook-endpoints/x"),
    ("webhooks:manage", "PATCH", "/v1/webhook-endpoints/x"),
    ("webhooks:manage", "DELETE", "/v1/webhook-endpoints/x"),
    ("webhooks:manage", "POST", "/v1/webhook-endpoints/x:ping"),
    ("webhooks:manage", "GET", "/v1/webhook-endpoints/x/deliveries"),
    ("webhooks:manage", "GET", "/v1/deliveries/x"),
    ("webhooks:manage", "POST", "/v1/deliveries/x:redeliver"),
]


def test_each_call_needs_its_scope_and_no_other_scope_will_do(office: Office) -> None:
    scopes = ("jobs:read", "jobs:write", "batches:write", "evidence:read", "webhooks:manage", "erasure:write")
    for needed in scopes:
        tenant = office.tenant(scopes=tuple(scope for scope in scopes if scope != needed))
        for scope, method, path in SCOPE_OF:
            if scope == needed:
                answer = tenant.client.request(method, path, json={} if method in ("POST", "PATCH", "PUT") else None)
                assert_problem(answer, 403, "forbidden_scope")


def test_the_scopes_table_lists_every_route_with_a_key(running: Running) -> None:
    listed = {(method, re.sub(r"\bx\b|\by\b", "{}", path)) for _, method, path in SCOPE_OF}
    described = {
        (method.upper(), re.sub(r"{\w+}", "{}", path))
        for path, operations in running.app.openapi()["paths"].items()
        for method, operation in operations.items()
        if "security" in operation
    }
    assert listed == described


def test_ids_of_another_project_are_not_found_on_any_route(office: Office) -> None:
    owner, stranger = office.tenant(), office.tenant()
    job = owner.post_job()["id"]
    owner.succeed(job)
    upload = owner.client.post("/v1/uploads", json={"filename": "a.mp4", "size_bytes": 3}).json()["id"]
    listed = {"name": "b", "source": {"type": "inline", "items": [{"source": URL}]}}
    batch = owner.client.post("/v1/batches", json=listed, **key("b")).json()["id"]
    endpoint = owner.client.post("/v1/webhook-endpoints", json={"url": "https://a.example.org/"}).json()["id"]
    delivery = owner.client.post(f"/v1/webhook-endpoints/{endpoint}:ping").json()["id"]
    erasure = owner.client.post("/v1/erasures", json={"client_ref": "nobody"}).json()["id"]
    ids = {"job": job, "batch": batch, "upload": upload, "endpoint": endpoint, "delivery": delivery, "erasure": erasure}
    bodies: dict[str, Any] = {"PATCH": {}, ":hold": {"reason": "a"}}
    for method, template in ID_ROUTES:
        path = template.format(**ids)
        answer = stranger.client.request(method, path, json=bodies.get(method, bodies.get(path[-5:])))
        assert_problem(answer, 404, "not_found")
    source = {"source": {"type": "upload", "upload_id": upload}}
    assert_problem(stranger.client.post("/v1/jobs", json=source), 404, "not_found")
    assert owner.client.get(f"/v1/jobs/{job}").status_code == 200
    assert owner.client.get(f"/v1/deliveries/{delivery}").status_code == 200


def test_every_route_with_an_id_is_tried_by_a_stranger(running: Running) -> None:
    described = {
        (method.upper(), re.sub(r"{\w+}", "{}", path))
        for path, operations in running.app.openapi()["paths"].items()
        for method, operation in operations.items()
        if "{" in path and "security" in operation and not path.startswith("/v1/models")
    }
    assert described == {(method, re.sub(r"{\w+}|trk_1", "{}", path)) for method, path in ID_ROUTES}


@pytest.mark.parametrize(("given", "kept"), [("abc-1.2:3", True), ("x" * 65, False), ("a b", False), ("", False)])
def test_a_plain_short_request_id_is_echoed_and_any_other_replaced(
    client: httpx.Client, given: str, kept: bool
) -> None:
    answer = client.get("/livez", headers={"X-Request-Id": given})
    assert (answer.headers["X-Request-Id"] == given) == kept
    assert 0 < len(answer.headers["X-Request-Id"]) <= 64


@contextmanager
def served_with(api_settings: Callable[..., Settings], **changes: Any) -> Iterator[Running]:
    with serve(api_settings(**changes)) as running:
        yield running


def test_without_the_database_requests_are_told_to_come_again_and_the_process_lives(
    api_settings: Callable[..., Settings], tenant: Tenant, tmp_path: Path
) -> None:
    with (
        served_with(api_settings, database_url=f"postgresql+psycopg://x@/x?host={tmp_path}") as running,
        running.client(tenant.key) as client,
    ):
        for answer in (client.get("/v1/jobs"), client.post("/v1/jobs", json={"source": URL})):
            problem = assert_problem(answer, 503, "dependency_unavailable")
            assert problem["retryable"]
            assert str(tmp_path) not in answer.text
        assert client.get("/livez").status_code == 200
        ready = client.get("/readyz")
        assert (ready.status_code, ready.json()["status"]) == (503, "unavailable")
        assert "styleflow_database_up 0.0" in client.get("/metrics").text


def test_a_full_backlog_is_told_to_come_again(api_settings: Callable[..., Settings], tenant: Tenant) -> None:
    with (
        served_with(api_settings, max_queued_jobs=-1) as running,
        running.client(tenant.key) as client,
    ):
        assert_problem(client.post("/v1/jobs", json={"source": URL}), 503, "backlog_full")


def test_an_error_nobody_thought_of_is_internal_and_says_nothing_of_us(
    api_settings: Callable[..., Settings], tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError(f"a secret path /srv/{SECRET}")

    with served_with(api_settings) as running, running.client(tenant.key) as client:
        monkeypatch.setattr("api.jobs.queries.get_job", broken)
        answer = client.get("/v1/jobs/job_1")
        assert_problem(answer, 500, "internal")
        assert SECRET not in answer.text


def test_a_body_with_a_lying_length_or_without_end_is_413_and_not_kept(running: Running, tenant: Tenant) -> None:
    def endless() -> Iterator[bytes]:
        for _ in range(1 << 14):
            yield bytes(1 << 16)

    with running.client(tenant.key) as client:
        for _ in range(3):
            with suppress(httpx.TransportError):  # closed while we were still sending
                assert_problem(client.post("/v1/jobs", content=endless()), 413, "payload_too_large")


def test_an_announced_ten_gigabytes_are_refused_before_a_byte_is_read(running: Running, tenant: Tenant) -> None:
    head = (
        f"POST /v1/jobs HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {tenant.key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {10 << 30}\r\nExpect: 100-continue\r\n\r\n"
    )
    parts = urlsplit(running.url)
    with socket.create_connection((str(parts.hostname), int(parts.port or 0)), timeout=10) as connection:
        connection.sendall(head.encode())
        answer = connection.recv(64)
    assert answer.startswith(b"HTTP/1.1 413 ")


@given(st.lists(st.text() | st.integers(0, 99)))
def test_a_pointer_reads_back_as_the_path(path: list[str | int]) -> None:
    parts = pointer(path).split("/")[1:]
    assert [part.replace("~1", "/").replace("~0", "~") for part in parts] == [str(part) for part in path]
