"""What a caller is told of its quota, on every answer."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from styleflow.settings import Settings
from tests.api.conftest import SCOPES, Office, Running, Tenant, serve

POLICY = '"project-{0}";q={1};w=60, "key-{0}";q={2};w=60'


@pytest.fixture(scope="module")
def strict(api_settings: Callable[..., Settings]) -> Iterator[Running]:
    """An installation that allows a key 3 reads and 2 writes a minute, and its project 5 reads."""
    limits = {"project_reads_per_minute": 5, "key_reads_per_minute": 3, "key_writes_per_minute": 2}
    with serve(api_settings(**limits, project_writes_per_minute=0)) as running:
        yield running


@pytest.fixture
def caller(strict: Running) -> Iterator[Tenant]:
    office = Office(strict)
    yield office.tenant()
    for client in office.clients:
        client.close()


def shown(answer: httpx.Response) -> dict[str, tuple[int, int]]:
    """Policy → (requests left, seconds until one more)."""
    found = re.findall(r'"([a-z-]+)";r=(\d+);t=(\d+)', answer.headers["RateLimit"])
    return {name: (int(left), int(seconds)) for name, left, seconds in found}


def test_every_answer_to_a_key_says_what_is_left(caller: Tenant) -> None:
    first, second = caller.client.get("/v1/jobs"), caller.client.get("/v1/jobs/job_1")
    assert (first.status_code, second.status_code) == (200, 404)
    assert first.headers["RateLimit-Policy"] == POLICY.format("reads", 5, 3)
    assert shown(first) == {"project-reads": (4, 12), "key-reads": (2, 20)}
    assert shown(second)["key-reads"][0] == 1


def test_a_key_that_used_up_its_quota_is_told_when_to_come_again(caller: Tenant) -> None:
    answers = [caller.client.get("/v1/jobs") for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    problem = answers[-1].json()
    assert problem["code"] == "quota_exceeded"
    assert problem["type"] == "https://iana.org/assignments/http-problem-types#quota-exceeded"
    assert problem["retryable"]
    assert problem["violated-policies"] == ["key-reads"]
    assert int(answers[-1].headers["Retry-After"]) == max(seconds for _, seconds in shown(answers[-1]).values()) > 0
    assert shown(answers[-1])["key-reads"][0] == 0
    assert answers[-1].headers["RateLimit-Policy"] == POLICY.format("reads", 5, 3)


def test_another_key_of_the_project_shares_the_projects_quota_only(caller: Tenant, strict: Running) -> None:
    other = Office(strict).tenant(project_id=caller.project_id)
    stranger = Office(strict).tenant()
    for _ in range(3):
        assert caller.client.get("/v1/jobs").status_code == 200
    answers = [other.client.get("/v1/jobs") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert answers[-1].json()["violated-policies"] == ["project-reads"]
    assert stranger.client.get("/v1/jobs").status_code == 200
    for tenant in (other, stranger):
        tenant.client.close()


def test_reading_never_uses_up_what_writing_may(caller: Tenant) -> None:
    while caller.client.get("/v1/jobs").status_code == 200:
        pass
    cancels = [caller.client.post("/v1/jobs/job_1:cancel") for _ in range(3)]
    assert [answer.status_code for answer in cancels] == [404, 404, 429]
    assert cancels[0].headers["RateLimit-Policy"] == '"key-writes";q=2;w=60', "0 sets no limit for the project"


def test_a_request_that_lacks_the_scope_counts_and_one_without_a_key_does_not(strict: Running) -> None:
    office = Office(strict)
    tenant = office.tenant(scopes=tuple(scope for scope in SCOPES if scope != "jobs:read"))
    assert tenant.client.get("/v1/jobs").status_code == 403
    assert shown(tenant.client.get("/v1/jobs"))["key-reads"][0] == 1
    tenant.client.close()
    with strict.client() as anonymous:
        refused = anonymous.get("/v1/jobs")
    assert (refused.status_code, "RateLimit" in refused.headers) == (401, False)


def test_without_redis_work_is_accepted_and_nothing_counted(
    api_settings: Callable[..., Settings], tenant: Tenant, tmp_path: Path
) -> None:
    away = api_settings(redis_url=f"redis+socket://{tmp_path}/nobody.sock", key_writes_per_minute=1)
    with serve(away) as running, running.client(tenant.key) as client:
        body = {"source": {"type": "url", "url": "https://media.example.org/clip.mp4"}}
        answers = [client.post("/v1/jobs", json=body) for _ in range(3)]
        assert [answer.status_code for answer in answers] == [202, 202, 202]
        assert "RateLimit" not in answers[0].headers
        assert re.search(r"^styleflow_rate_limit_skipped_total [1-9]", client.get("/metrics").text, re.MULTILINE)


@pytest.mark.parametrize("value", ["-1", "1000001", "many"])
def test_a_quota_that_makes_no_sense_is_refused_at_the_start(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STYLEFLOW_KEY_READS_PER_MINUTE", value)
    with pytest.raises(ValueError, match="key_reads_per_minute"):
        Settings()


def test_the_headers_and_the_problem_are_described_for_every_operation_with_a_key(running: Running) -> None:
    for path, operations in running.app.openapi()["paths"].items():
        for operation in operations.values():
            described = "RateLimit" in operation["responses"]["500"].get("headers", {})
            assert described == (bool(operation["security"])), path
            assert ("429" in operation["responses"]) == (bool(operation["security"])), path
