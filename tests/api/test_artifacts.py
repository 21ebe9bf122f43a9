"""The files behind a result, by short-lived addresses that need no key."""

from __future__ import annotations

import re
import time
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from sqlalchemy import text

from styleflow.jobs.object_erasures import ObjectEraser
from styleflow.report import report_to_json
from styleflow.storage.connect import open_bucket
from tests.api.conftest import Office, Tenant, make_report


@pytest.fixture
def job(tenant: Tenant) -> str:
    job = tenant.post_job()
    tenant.succeed(job["id"])
    return f"/v1/jobs/{job['id']}"


def location(tenant: Tenant, job: str) -> str:
    answer = tenant.client.get(f"{job}/artifacts/report")
    assert answer.status_code == 303, answer.text
    assert answer.headers["Cache-Control"] == "no-store"
    return answer.headers["Location"]


def fetch(url: str, **headers: str) -> httpx.Response:
    return httpx.get(url, headers=headers, trust_env=False)


def test_the_whole_report_is_listed_with_its_size(tenant: Tenant, job: str) -> None:
    (found,) = tenant.client.get(f"{job}/artifacts").json()["data"]
    assert (found["id"], found["kind"], found["content_type"]) == ("report", "report", "application/json")
    assert found["size_bytes"] == len(tenant.client.get(f"{job}/report").content)
    assert found["url"] == f"{job}/artifacts/report"
    assert tenant.client.get(f"{job}/result").json()["links"]["artifacts"] == f"{job}/artifacts"


def test_an_address_needs_no_key_and_ends_after_a_quarter_of_an_hour(tenant: Tenant, job: str) -> None:
    url = location(tenant, job)
    answer = fetch(url)
    assert answer.json() == report_to_json(make_report())
    assert answer.headers["Cache-Control"] == "private"
    assert answer.headers["Content-Type"] == "application/json"
    assert int(re.findall(r"expires=(\d+)", url)[0]) == pytest.approx(time.time() + 900, abs=60)


@pytest.mark.parametrize(
    ("asked", "start", "end"), [("bytes=0-9", 0, 10), ("bytes=10-", 10, None), ("bytes=-7", -7, None)]
)
def test_a_range_of_the_file_is_served(tenant: Tenant, job: str, asked: str, start: int, end: int | None) -> None:
    whole = tenant.client.get(f"{job}/report").content
    for answer in (
        fetch(location(tenant, job), Range=asked),
        tenant.client.get(f"{job}/artifacts/report?redirect=false", headers={"Range": asked}),
    ):
        assert (answer.status_code, answer.content) == (206, whole[start:end])
        assert answer.headers["Content-Range"].endswith(f"/{len(whole)}")
        assert answer.headers["Accept-Ranges"] == "bytes"


def test_a_range_of_another_version_or_behind_the_end_is_answered_with_the_whole(tenant: Tenant, job: str) -> None:
    url = location(tenant, job)
    whole = fetch(url)
    for headers in ({"Range": "bytes=0-9", "If-Range": '"other"'}, {"Range": "bytes=99999999-"}):
        answer = fetch(url, **headers)
        assert (answer.status_code, answer.content) == (200, whole.content)
    same = fetch(url, **{"Range": "bytes=0-9", "If-Range": whole.headers["ETag"]})
    assert (same.status_code, same.content) == (206, whole.content[:10])


def test_the_bytes_come_at_once_where_no_redirect_is_wanted(tenant: Tenant, job: str) -> None:
    answer = tenant.client.get(f"{job}/artifacts/report", params={"redirect": "false"})
    assert (answer.status_code, answer.headers["Cache-Control"]) == (200, "private")
    assert answer.json() == report_to_json(make_report())


def test_an_altered_or_expired_address_is_refused(tenant: Tenant, job: str, office: Office) -> None:
    other = office.tenant()
    foreign = other.post_job()["id"]
    other.succeed(foreign)
    url = location(tenant, job)
    query = urlsplit(url).query
    identity = job.rpartition("/")[2]
    wrong = [
        url.replace(identity, foreign),
        url.replace(re.findall(r"expires=\d+", query)[0], "expires=1"),
        url.replace(re.findall(r"signature=\w{2}", query)[0], "signature=00"),
        url.replace("report.json", "../report.json"),
    ]
    for altered in wrong:
        answer = fetch(altered)
        assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated"), altered


def test_what_was_erased_or_expired_is_gone(tenant: Tenant, job: str) -> None:
    url = location(tenant, job)
    identity = job.rpartition("/")[2]
    with tenant.running.database.transaction() as session:
        session.execute(text("update results set report_key = null where job_id = :id"), {"id": identity})
    assert tenant.client.get(f"{job}/artifacts").json() == {"data": []}
    assert code(tenant, f"{job}/artifacts/report") == (410, "erased")
    tenant.client.delete(job)
    assert code(tenant, f"{job}/artifacts") == (410, "erased")
    assert code(tenant, f"{job}/artifacts/report?redirect=false") == (410, "erased")
    bucket = open_bucket(tenant.running.settings.bucket_url)
    while ObjectEraser(database=tenant.running.database, bucket=bucket).erase_due():
        pass
    assert fetch(url).status_code == 404, "an address that was handed out before leads nowhere"


def test_an_object_that_is_missing_is_gone_and_not_an_address_to_nowhere(tenant: Tenant, job: str) -> None:
    bucket = tenant.running.app.state.services.bucket
    bucket.delete([found.key for found in bucket.list(f"evidence/{job.rpartition('/')[2]}/")])
    assert code(tenant, f"{job}/artifacts/report") == (410, "erased")
    assert code(tenant, f"{job}/artifacts/report?redirect=false") == (410, "erased")
    assert tenant.client.get(f"{job}/artifacts").json() == {"data": []}


def test_what_there_is_not_is_not_found(tenant: Tenant, job: str) -> None:
    assert code(tenant, f"{job}/artifacts/heatmap") == (404, "not_found")
    waiting = tenant.post_job()["id"]
    assert code(tenant, f"/v1/jobs/{waiting}/artifacts") == (409, "result_not_ready")


def test_artifacts_are_for_those_who_may_read_evidence_of_the_project(tenant: Tenant, office: Office, job: str) -> None:
    reader = office.tenant(scopes=("jobs:read", "jobs:write"), project_id=tenant.project_id)
    for path in (f"{job}/artifacts", f"{job}/artifacts/report", f"{job}/artifacts/report?redirect=false"):
        assert code(reader, path) == (403, "forbidden_scope")
        assert code(office.tenant(), path) == (404, "not_found")


def code(tenant: Tenant, path: str) -> tuple[int, Any]:
    answer = tenant.client.get(path)
    return answer.status_code, answer.json()["code"]
