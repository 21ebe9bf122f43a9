"""Exports as a caller sees them; the light worker's part is done by hand, on the same database and bucket."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Callable, Iterator
from typing import Any

import boto3
import httpx
import pytest
from moto.server import ThreadedMotoServer
from sqlalchemy import text

from styleflow.exports.exporter import Exporter
from styleflow.exports.keeping import sweep_fruitless
from styleflow.settings import Settings
from styleflow.storage.connect import open_bucket
from tests.api.conftest import Office, Running, Tenant, serve
from tests.api.test_problems import assert_problem

WHOLE = {"redirect": "false"}
"""The bytes themselves, by the key; else an address for them is told."""


def work(running: Running, **changes: Any) -> None:
    """What the light worker does, until nothing is left for it."""
    settings = running.settings
    bucket = open_bucket(settings.bucket_url, endpoint_url=settings.s3_endpoint_url)
    exporter = Exporter(
        database=running.database,
        bucket=bucket,
        bucket_named=lambda project, name: open_bucket(f"s3://{name}", endpoint_url=settings.s3_endpoint_url),
        owner="test",
        **changes,
    )
    while exporter.export_once():
        pass


def asked(tenant: Tenant, **body: Any) -> dict[str, Any]:
    answer = tenant.client.post("/v1/exports", json={"format": "csv", **body})
    assert answer.status_code == 202, answer.text
    return dict(answer.json())


def table(answer: httpx.Response) -> list[dict[str, str]]:
    assert answer.headers["Content-Type"].startswith("text/csv")
    return list(csv.DictReader(io.StringIO(answer.text, newline="")))


def test_an_export_is_accepted_before_a_row_is_read(tenant: Tenant) -> None:
    answer = tenant.client.post("/v1/exports", json={"format": "parquet", "query": {"tag": "queue:a:b"}})

    export = answer.json()
    assert answer.headers["Location"] == f"/v1/exports/{export['id']}"
    assert answer.headers["Retry-After"] == "5"
    assert (export["state"], export["rows"], export["files"]) == ("queued", "jobs", [])
    assert export["query"] == {"tag": "queue:a:b"}
    assert "job_id" in export["fields"]
    assert tenant.client.get(f"/v1/exports/{export['id']}").json() == export
    early = tenant.client.get(f"/v1/exports/{export['id']}/files")
    assert_problem(early, 409, "result_not_ready")


def test_an_export_is_fetched_file_by_file_and_checked_by_its_manifest(tenant: Tenant) -> None:
    jobs = [tenant.post_job(client_ref=f"=post-{number}")["id"] for number in range(3)]
    tenant.succeed(jobs[0])
    export = asked(tenant, fields=["job_id", "client_ref", "score", "outcome"])
    work(tenant.running)

    seen = tenant.client.get(f"/v1/exports/{export['id']}").json()
    assert (seen["state"], seen["counts"]["rows"]) == ("succeeded", 3)
    [file] = seen["files"]
    answer = tenant.client.get(file["url"], params=WHOLE)
    assert (hashlib.sha256(answer.content).hexdigest(), len(answer.content)) == (file["sha256"], file["size_bytes"])
    assert "attachment" in answer.headers["Content-Disposition"]
    assert answer.headers["Content-Length"] == str(file["size_bytes"])
    rows = table(answer)
    assert [row["job_id"] for row in rows] == jobs
    assert [row["client_ref"] for row in rows] == [f"'=post-{number}" for number in range(3)]
    assert [row["score"] for row in rows] == ["", "", ""]
    manifest = tenant.client.get(seen["links"]["manifest"], params=WHOLE).json()
    assert manifest["files"][0]["sha256"] == file["sha256"]
    assert tenant.client.get(seen["links"]["files"]).json()["data"] == [file]


def test_what_is_in_a_cell_can_be_had_as_it_is(tenant: Tenant) -> None:
    tenant.post_job(client_ref="=1+1")
    export = asked(tenant, fields=["client_ref"], csv_safe=False)
    work(tenant.running)

    [file] = tenant.client.get(f"/v1/exports/{export['id']}").json()["files"]
    assert table(tenant.client.get(file["url"], params=WHOLE)) == [{"client_ref": "=1+1"}]


def test_files_come_in_pages(tenant: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("styleflow.exports.selection.JOBS_AT_ONCE", 1)
    for _ in range(5):
        tenant.post_job()
    export = asked(tenant)["id"]
    work(tenant.running, file_rows=1)

    names, address = [], f"/v1/exports/{export}/files?limit=2"
    while address:
        answer = tenant.client.get(address)
        names += [file["name"] for file in answer.json()["data"]]
        address = answer.links["next"]["url"] if "Link" in answer.headers else ""
    assert names == [f"part-{number:05}.csv" for number in range(1, 6)]
    for name in ("part-00009.csv", "part-00001.jsonl", "part-99999999.csv", "part-000001.csv", "secret"):
        assert_problem(tenant.client.get(f"/v1/exports/{export}/files/{name}"), 404, "not_found")


def test_the_end_is_told_in_the_feed_and_the_list_knows_them_all(tenant: Tenant) -> None:
    exports = [asked(tenant)["id"] for _ in range(3)]
    work(tenant.running)

    events = tenant.client.get("/v1/events", params={"limit": 200}).json()["data"]
    told = [event["event"]["data"]["export_id"] for event in events if event["type"] == "export.ready"]
    assert sorted(told) == exports
    listed: list[str] = []
    address = "/v1/exports?limit=2&state=succeeded"
    while address:
        answer = tenant.client.get(address)
        listed += [export["id"] for export in answer.json()["data"]]
        address = answer.links["next"]["url"] if "Link" in answer.headers else ""
    assert listed == exports[::-1]
    assert tenant.client.get("/v1/exports?state=failed").json()["data"] == []
    hook = {"url": "https://a.example.org/", "events": ["export.*", "export.ready"]}
    assert tenant.client.post("/v1/webhook-endpoints", json=hook).status_code == 201


def test_evidence_is_exported_and_fetched_with_its_scope_only(office: Office) -> None:
    tenant = office.tenant()
    job = tenant.post_job()["id"]
    tenant.succeed(job)
    reader = office.tenant(scopes=("jobs:read",), project_id=tenant.project_id)
    export = asked(tenant, rows="frames")["id"]
    work(tenant.running)

    [file] = tenant.client.get(f"/v1/exports/{export}").json()["files"]
    assert len(table(tenant.client.get(file["url"], params=WHOLE))) == 40
    body = {"format": "csv", "rows": "frames"}
    assert_problem(reader.client.post("/v1/exports", json=body), 403, "forbidden_scope")
    assert_problem(reader.client.get(file["url"]), 403, "forbidden_scope")
    assert reader.client.get(f"/v1/exports/{export}").status_code == 200


def test_the_same_key_makes_one_export_and_tells_when_it_was_deleted(tenant: Tenant) -> None:
    def again() -> httpx.Response:
        return tenant.client.post("/v1/exports", json={"format": "csv"}, headers={"Idempotency-Key": "k"})

    first, second = again(), again()
    assert first.json() == second.json()
    export = first.json()["id"]
    assert_problem(tenant.client.delete(f"/v1/exports/{export}"), 409, "not_retryable")
    work(tenant.running)
    assert tenant.client.delete(f"/v1/exports/{export}").status_code == 204

    assert_problem(tenant.client.get(f"/v1/exports/{export}"), 404, "not_found")
    assert_problem(again(), 410, "erased")
    bucket = open_bucket(tenant.running.settings.bucket_url)
    assert list(bucket.list(f"exports/{tenant.project_id}/")) == []


def test_a_canceled_export_has_no_files(tenant: Tenant) -> None:
    export = asked(tenant)["id"]
    canceled = tenant.client.post(f"/v1/exports/{export}:cancel")
    assert (canceled.status_code, canceled.json()["state"]) == (200, "canceled")
    work(tenant.running)

    assert tenant.client.post(f"/v1/exports/{export}:cancel").json() == canceled.json()
    files = assert_problem(tenant.client.get(f"/v1/exports/{export}/files"), 409, "result_not_ready")
    assert not files["retryable"]
    with tenant.running.database.transaction() as session:
        assert sweep_fruitless(session, open_bucket(tenant.running.settings.bucket_url)) == 0
    assert tenant.client.delete(f"/v1/exports/{export}").status_code == 204


def test_files_that_are_gone_are_told_as_gone(tenant: Tenant) -> None:
    export = asked(tenant)["id"]
    work(tenant.running)
    bucket = open_bucket(tenant.running.settings.bucket_url)
    bucket.delete([found.key for found in bucket.list(f"exports/{tenant.project_id}/")])

    assert_problem(tenant.client.get(f"/v1/exports/{export}/files/part-00001.csv", params=WHOLE), 410, "erased")


def test_too_many_at_once_are_refused(tenant: Tenant) -> None:
    with tenant.running.database.transaction() as session:
        session.execute(
            text(
                "insert into exports (id, project_id, state, rows, format, fields, query, keep_days, expires_at)"
                " select 'exp_' || :project || n, :project, 'queued', 'jobs', 'csv', '{job_id}', '{}', 7, now()"
                " from generate_series(1, 20) as n"
            ),
            {"project": tenant.project_id},
        )
    answer = tenant.client.post("/v1/exports", json={"format": "csv"})
    assert (answer.status_code, answer.json()["code"]) == (429, "quota_exceeded")
    assert answer.json()["violated-policies"] == ["exports"]
    with tenant.running.database.transaction() as session:
        session.execute(text("delete from exports where project_id = :project"), {"project": tenant.project_id})


@pytest.fixture
def in_s3(api_settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    """An application whose bucket lies in a running S3 server, beside one of a caller."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    client = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1")
    for name in ("ours", "acme-exports"):
        client.create_bucket(Bucket=name)
    allowed = ["acme-exports", "ours", "others-exports:prj_1"]
    changes = {"bucket_url": "s3://ours", "s3_endpoint_url": endpoint, "export_buckets": allowed}
    with serve(api_settings(**changes)) as running:
        yield running
    server.stop()


def test_files_in_s3_are_fetched_there_by_an_address_for_a_while(in_s3: Running, office: Office) -> None:
    tenant = Office(in_s3).tenant()
    tenant.post_job()
    export = asked(tenant)["id"]
    work(in_s3)

    address = f"/v1/exports/{export}/files/part-00001.csv"
    answer = tenant.client.get(address)
    assert answer.status_code == 303
    assert "X-Amz-Expires=900" in answer.headers["Location"]
    there = httpx.get(answer.headers["Location"], trust_env=False)
    assert there.content == tenant.client.get(f"{address}?redirect=false").content
    tenant.client.close()


def test_an_export_into_the_callers_own_bucket_names_keys_and_no_addresses(in_s3: Running) -> None:
    tenant = Office(in_s3).tenant()
    export = asked(tenant, destination={"bucket": "acme-exports", "prefix": "out/"})["id"]
    work(in_s3)

    seen = tenant.client.get(f"/v1/exports/{export}").json()
    assert [(file["key"], file["url"]) for file in seen["files"]] == [(f"out/{export}/1/part-00001.csv", None)]
    assert seen["links"]["manifest"] is None
    theirs = open_bucket("s3://acme-exports", endpoint_url=in_s3.settings.s3_endpoint_url)
    with theirs.open(f"out/{export}/1/manifest.json") as chunks:
        assert json.loads(b"".join(chunks))["export_id"] == export
    assert_problem(tenant.client.get(f"/v1/exports/{export}/files/manifest.json"), 404, "not_found")
    for destination in ({"bucket": "acme-exports", "prefix": "no-slash"}, {"bucket": "acme-exports", "prefix": "../"}):
        body = {"format": "csv", "destination": destination}
        assert_problem(tenant.client.post("/v1/exports", json=body), 422, "invalid_request")
    for refused in ("ours", "others-exports"):
        body = {"format": "csv", "destination": {"bucket": refused}}
        assert_problem(tenant.client.post("/v1/exports", json=body), 403, "source_not_allowed")
    tenant.client.close()
