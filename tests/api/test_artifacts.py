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
from styleflow.jobs.retention import KINDS
from styleflow.report import report_to_json
from styleflow.storage.connect import open_bucket
from tests.api.conftest import Office, Tenant, make_report, make_scored, picture_of
from tests.jobs.desk import KEEP


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


def altered_signature(url: str) -> str:
    [start] = re.findall(r"signature=\w", url)
    return url.replace(start, "signature=1" if start.endswith("0") else "signature=0")


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
        altered_signature(url),
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


@pytest.fixture
def pictured(tenant: Tenant) -> str:
    """A job with two crops."""
    identity = tenant.post_job()["id"]
    tenant.succeed(identity, make_scored(crops=2))
    return f"/v1/jobs/{identity}"


def test_crops_are_listed_with_what_they_show_and_the_result_names_them(tenant: Tenant, pictured: str) -> None:
    report, *crops = tenant.client.get(f"{pictured}/artifacts").json()["data"]
    assert (report["kind"], report["shows"]) == ("report", None)
    assert [(crop["id"], crop["kind"], crop["content_type"]) for crop in crops] == [
        ("crop-1", "crop", "image/jpeg"),
        ("crop-2", "crop", "image/jpeg"),
    ]
    assert [crop["size_bytes"] for crop in crops] == [len(picture_of("crop-1")), len(picture_of("crop-2"))]
    named = tenant.client.get(f"{pictured}/result").json()["crops"]
    assert [crop["shows"] for crop in crops] == named
    assert named[0] == {
        "artifact_id": "crop-1",
        "track_id": "trk_1",
        "clip_index": 0,
        "frame_index": 1,
        "t_ms": 40,
        "score": 0.75,
        "attention": 0.5,
    }
    frame = tenant.client.get(f"{pictured}/frames", params={"from_ms": 40, "to_ms": 40}).json()["data"][0]
    for name in ("track_id", "frame_index", "t_ms", "score", "attention"):
        assert named[0][name] == frame[name], name


def test_a_crop_is_read_by_a_short_lived_address_or_at_once(tenant: Tenant, pictured: str) -> None:
    answer = tenant.client.get(f"{pictured}/artifacts/crop-2")
    assert answer.status_code == 303
    read = fetch(answer.headers["Location"])
    assert (read.content, read.headers["Content-Type"]) == (picture_of("crop-2"), "image/jpeg")
    straight = tenant.client.get(f"{pictured}/artifacts/crop-2?redirect=false")
    assert (straight.content, straight.headers["Content-Type"]) == (read.content, "image/jpeg")
    assert code(tenant, f"{pictured}/artifacts/crop-3") == (404, "not_found")


def test_crops_whose_time_is_over_are_gone_while_the_report_stays(tenant: Tenant, pictured: str) -> None:
    url = tenant.client.get(f"{pictured}/artifacts/crop-1").headers["Location"]
    identity = pictured.rpartition("/")[2]
    with tenant.running.database.transaction() as session:
        session.execute(text("update jobs set crops_until = '2020-01-01' where id = :id"), {"id": identity})
        KINDS["crops"](session, KEEP, 100)
    assert [one["id"] for one in tenant.client.get(f"{pictured}/artifacts").json()["data"]] == ["report"]
    gone = tenant.client.get(f"{pictured}/artifacts/crop-1")
    assert (gone.status_code, gone.json()["code"], gone.json()["erased_class"]) == (410, "erased", "crops")
    assert len(tenant.client.get(f"{pictured}/result").json()["crops"]) == 2, "what was found never changes"
    tenant.let_objects_go()
    assert fetch(url).status_code == 404


def test_crops_of_an_erased_job_are_gone(tenant: Tenant, pictured: str) -> None:
    url = tenant.client.get(f"{pictured}/artifacts/crop-1").headers["Location"]
    tenant.client.delete(pictured)
    tenant.let_objects_go()
    assert code(tenant, f"{pictured}/artifacts/crop-1") == (410, "erased")
    assert fetch(url).status_code == 404


def test_a_crop_that_is_missing_is_not_listed_and_leads_nowhere(tenant: Tenant, pictured: str) -> None:
    bucket = tenant.running.app.state.services.bucket
    bucket.delete([f"crops/{pictured.rpartition('/')[2]}/1/crop-1.jpg"])
    assert [one["id"] for one in tenant.client.get(f"{pictured}/artifacts").json()["data"]] == ["report", "crop-2"]
    assert code(tenant, f"{pictured}/artifacts/crop-1") == (410, "erased")


def test_a_rerun_has_crops_of_its_own(tenant: Tenant, pictured: str) -> None:
    again = tenant.client.post(f"{pictured}:rerun", json={"model": "tiny@1"}).json()["id"]
    tenant.succeed(again, make_scored(crops=1))
    data = tenant.client.get(f"/v1/jobs/{again}/artifacts").json()["data"]
    assert [one["id"] for one in data] == ["report", "crop-1"]
    tenant.client.delete(f"/v1/jobs/{again}")
    tenant.let_objects_go()
    assert len(tenant.client.get(f"{pictured}/artifacts").json()["data"]) == 3


def test_crops_are_for_those_who_may_read_evidence_of_the_project(
    tenant: Tenant, office: Office, pictured: str
) -> None:
    reader = office.tenant(scopes=("jobs:read", "jobs:write"), project_id=tenant.project_id)
    for path in (f"{pictured}/artifacts/crop-1", f"{pictured}/artifacts/crop-1?redirect=false"):
        assert code(reader, path) == (403, "forbidden_scope")
        assert code(office.tenant(), path) == (404, "not_found")


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
