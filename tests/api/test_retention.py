"""`/v1/retention`, `/v1/erasures`, legal holds, and what jobs say of how long they are kept."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from api.schemas.retention import ERASURE_EXAMPLES, RETENTION_EXAMPLES, CreateErasure, RetentionWishes
from styleflow.jobs.retention import KINDS
from tests.api.conftest import Office, Tenant
from tests.jobs.desk import KEEP

URL = {"type": "url", "url": "https://media.example.org/clip.mp4"}


def put(tenant: Tenant, body: dict[str, Any], etag: str | None = None) -> httpx.Response:
    given = tenant.client.get("/v1/retention").headers["ETag"] if etag is None else etag
    return tenant.client.put("/v1/retention", json=body, headers={"If-Match": given})


def sweep(tenant: Tenant, *kinds: str) -> None:
    for kind in kinds:
        with tenant.running.database.transaction() as session:
            KINDS[kind](session, KEEP, 500)


def due(tenant: Tenant, column: str, job_id: str) -> None:
    with tenant.running.database.transaction() as session:
        statement = f"update jobs set {column} = now() - interval '1 second' where id = :id"
        session.execute(text(statement), {"id": job_id})


def post(tenant: Tenant, retention: Any, **more: Any) -> httpx.Response:
    return tenant.client.post("/v1/jobs", json={"source": URL, "retention": retention, **more})


def test_a_project_that_never_asked_has_the_operators_defaults(tenant: Tenant) -> None:
    shown = tenant.client.get("/v1/retention").json()
    assert shown["project"] == {
        "mode": "standard",
        "source_hours": None,
        "crops_days": None,
        "frames_days": None,
        "results_days": None,
    }
    assert shown["effective"] == {
        "mode": "standard",
        "source_hours": 24,
        "crops_days": 30,
        "frames_days": 90,
        "results_days": 400,
    }
    assert shown["maximum"]["results_days"] == 3650
    assert shown["updated_at"] is None


def test_a_change_holds_for_jobs_that_come_after_it(tenant: Tenant) -> None:
    before = tenant.post_job()
    changed = put(tenant, {"frames_days": 10, "results_days": 20})
    assert changed.status_code == 200, changed.text
    assert changed.json()["effective"]["crops_days"] == 20, "no crop outlives its job"

    after = tenant.post_job()
    assert after["retention"]["frames_days"] == 10
    kept = tenant.client.get(f"/v1/jobs/{before['id']}").json()["retention"]
    assert (kept["frames_days"], kept["results_days"]) == (90, 400)


def test_a_change_needs_the_version_that_was_read(tenant: Tenant) -> None:
    first = tenant.client.get("/v1/retention").headers["ETag"]
    assert tenant.client.put("/v1/retention", json={}).status_code == 428
    assert put(tenant, {}, '"another"').status_code == 412
    assert put(tenant, {"crops_days": 1}, first).status_code == 200
    assert put(tenant, {"crops_days": 2}, first).json()["code"] == "precondition_failed"
    assert put(tenant, {"crops_days": 2}).status_code == 200


def test_of_many_first_changes_with_one_version_one_holds(tenant: Tenant) -> None:
    etag = tenant.client.get("/v1/retention").headers["ETag"]
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda days: put(tenant, {"crops_days": days}, etag).status_code, range(8)))
    assert sorted(answers) == [200] + [412] * 7


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"results_days": 3651}, "/results_days"),
        ({"results_days": 5, "frames_days": 6}, "/frames_days"),
        ({"mode": "zero", "frames_days": 1}, "/frames_days"),
        ({"frames_days": -1}, "/frames_days"),
        ({"frames_days": True}, "/frames_days"),
        ({"frame_days": 1}, "/frame_days"),
    ],
)
def test_what_does_not_fit_is_refused_for_the_project_and_for_a_job(
    tenant: Tenant, body: dict[str, Any], pointer: str
) -> None:
    for answer, where in ((put(tenant, body), pointer), (post(tenant, body), f"/retention{pointer}")):
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
        assert answer.json()["errors"][0]["pointer"] == where
    batch = tenant.client.post(
        "/v1/batches",
        json={"name": "b", "source": {"type": "inline", "items": [{"source": URL}]}, "defaults": {"retention": body}},
        headers={"Idempotency-Key": "one"},
    )
    assert batch.json()["errors"][0]["pointer"] == f"/defaults/retention{pointer}"


def test_only_who_may_erase_changes_retention_and_holds(office: Office, tenant: Tenant) -> None:
    reader = office.tenant(scopes=("jobs:read", "jobs:write"), project_id=tenant.project_id).client
    job = tenant.post_job()["id"]
    assert reader.get("/v1/retention").status_code == 200
    for answer in (
        reader.put("/v1/retention", json={}, headers={"If-Match": "*"}),
        reader.post(f"/v1/jobs/{job}:hold", json={"reason": "a"}),
        reader.post(f"/v1/jobs/{job}:release"),
        reader.post("/v1/erasures", json={"job_ids": [job]}),
        reader.get("/v1/erasures/era_1"),
    ):
        assert (answer.status_code, answer.json()["code"]) == (403, "forbidden_scope")


def test_a_project_of_zero_retention_cannot_be_loosened_by_a_job(tenant: Tenant) -> None:
    assert put(tenant, {"mode": "zero", "results_days": 2}).json()["effective"]["results_days"] == 2
    assert post(tenant, {"mode": "standard"}).json()["errors"][0]["pointer"] == "/retention/mode"
    assert post(tenant, {"results_days": 3}).status_code == 422
    assert post(tenant, {"results_days": 1}).json()["retention"]["results_days"] == 1
    assert tenant.post_job()["retention"]["mode"] == "zero"


def test_a_job_says_when_each_class_ends(tenant: Tenant) -> None:
    job = post(tenant, {"crops_days": 1, "frames_days": 2, "results_days": 3}).json()
    assert job["retention"]["expires_at"] == {
        "source": None,
        "crops": None,
        "frames": None,
        "results": job["expires_at"],
    }
    tenant.succeed(job["id"])

    done = tenant.client.get(f"/v1/jobs/{job['id']}").json()
    ends = done["retention"]["expires_at"]
    assert ends["results"] == done["expires_at"]
    assert done["finished_at"] < ends["crops"] < ends["frames"] < ends["results"]


def test_after_each_class_its_address_says_which_and_when(tenant: Tenant) -> None:
    job = tenant.post_job()["id"]
    tenant.succeed(job)
    due(tenant, "frames_until", job)
    sweep(tenant, "frames")

    for path in ("frames", "frames?limit=1", "report"):
        problem = tenant.client.get(f"/v1/jobs/{job}/{path}").json()
        assert (problem["code"], problem["erased_class"]) == ("erased", "frames")
        assert problem["erased_at"] in problem["detail"]
    assert tenant.client.get(f"/v1/jobs/{job}/result").status_code == 200
    assert tenant.client.get(f"/v1/jobs/{job}").json()["retention"]["ended"]["frames"] == problem["erased_at"]

    due(tenant, "expires_at", job)
    sweep(tenant, "jobs")
    for path in ("", "/result", "/frames", "/events"):
        problem = tenant.client.get(f"/v1/jobs/{job}{path}").json()
        assert (problem["code"], problem["erased_class"], problem["reason"]) == ("erased", "job", "retention")
    assert tenant.client.delete(f"/v1/jobs/{job}").status_code == 410


def test_an_upload_that_is_past_its_time_says_so(tenant: Tenant, office: Office) -> None:
    upload = tenant.client.post("/v1/uploads", json={"filename": "a.mp4", "size_bytes": 1}).json()
    with tenant.running.database.transaction() as session:
        past = "update uploads set expires_at = now() - interval '1 second' where id = :id"
        session.execute(text(past), {"id": upload["id"]})
    sweep(tenant, "uploads")

    problem = tenant.client.get(f"/v1/uploads/{upload['id']}").json()
    assert (problem["code"], problem["erased_class"]) == ("erased", "source")
    job = {"source": {"type": "upload", "upload_id": upload["id"]}}
    assert tenant.client.post("/v1/jobs", json=job).json()["code"] == "erased"
    assert httpx.put(upload["url"], content=b"x", headers=upload["headers"]).status_code == 404
    assert office.tenant().client.get(f"/v1/uploads/{upload['id']}").status_code == 404


def test_an_erasure_by_reference_is_followed_to_its_proof(tenant: Tenant, office: Office) -> None:
    job = tenant.post_job(client_ref="who")["id"]
    tenant.succeed(job)
    headers = {"Idempotency-Key": "erase-who"}
    ordered = tenant.client.post("/v1/erasures", json={"client_ref": "who"}, headers=headers)
    assert (ordered.status_code, ordered.json()["state"]) == (202, "pending")
    path = ordered.headers["Location"]
    again = tenant.client.post("/v1/erasures", json={"client_ref": "who"}, headers=headers)
    assert (again.json()["id"], again.headers["Idempotency-Replayed"]) == (ordered.json()["id"], "true")
    assert office.tenant().client.get(path).status_code == 404

    tenant.let_objects_go()
    tenant.let_objects_go()

    done = tenant.client.get(path).json()
    assert (done["state"], done["counts"]["erased"], done["counts"]["objects_waiting"]) == ("completed", 1, 0)
    assert done["proof"]["counts"]["erased"] == 1
    assert "who" not in str(done)
    problem = tenant.client.get(f"/v1/jobs/{job}").json()
    assert problem["erasure_id"] == done["id"]
    assert len(problem["summary_sha256"]) == 64
    events = tenant.client.get("/v1/events").json()["data"]
    assert [event["type"] for event in events][-1] == "data.erased"


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"client_ref": "a", "job_ids": ["b"]},
        {"job_ids": []},
        {"sha256": "short"},
        {"created_before": "2026-01-01T00:00:00Z"},
        {"job_ids": ["x"] * 1001},
    ],
)
def test_an_erasure_names_exactly_one_selector(tenant: Tenant, body: dict[str, Any]) -> None:
    assert tenant.client.post("/v1/erasures", json=body).json()["code"] == "invalid_request"


def test_a_held_job_is_not_erased_by_anybody(tenant: Tenant) -> None:
    upload = tenant.client.post("/v1/uploads", json={"filename": "a.mp4", "size_bytes": 1}).json()
    httpx.put(upload["url"], content=b"x", headers=upload["headers"])
    job = tenant.post_job(source={"type": "upload", "upload_id": upload["id"]})["id"]
    assert tenant.client.post(f"/v1/jobs/{job}:hold", json={"reason": ""}).status_code == 422
    placed = tenant.client.post(f"/v1/jobs/{job}:hold", json={"reason": "case 4711"})
    assert (placed.status_code, placed.json()["reason"]) == (200, "case 4711")
    assert tenant.client.get(f"/v1/jobs/{job}").json()["retention"]["held_at"] == placed.json()["placed_at"]

    for path in (f"/v1/jobs/{job}", f"/v1/uploads/{upload['id']}"):
        answer = tenant.client.delete(path)
        assert (answer.status_code, answer.json()["code"]) == (409, "legal_hold")

    assert tenant.client.post(f"/v1/jobs/{job}:release").json()["released_at"] is not None
    assert tenant.client.delete(f"/v1/jobs/{job}").status_code == 202
    assert tenant.client.post(f"/v1/jobs/{job}:hold", json={"reason": "late"}).json()["code"] == "erased"


def test_another_projects_job_is_not_there(tenant: Tenant, office: Office) -> None:
    job, other = tenant.post_job()["id"], office.tenant().client
    assert other.delete(f"/v1/jobs/{job}").status_code == 404
    assert other.post(f"/v1/jobs/{job}:hold", json={"reason": "a"}).status_code == 404
    assert other.post(f"/v1/jobs/{job}:release").status_code == 404
    unknown = other.post("/v1/erasures", json={"job_ids": [job]}).json()
    assert unknown["counts"]["unknown"] == 1
    tenant.client.delete(f"/v1/jobs/{job}")
    assert other.get(f"/v1/jobs/{job}").status_code == 404


def test_the_examples_are_accepted() -> None:
    for example in RETENTION_EXAMPLES.values():
        RetentionWishes.model_validate(example["value"])
    for example in ERASURE_EXAMPLES.values():
        CreateErasure.model_validate(example["value"])


def test_a_batch_says_what_is_agreed_for_its_jobs(tenant: Tenant) -> None:
    put(tenant, {"crops_days": 3})
    source = {"type": "inline", "items": [{"source": URL}]}
    wishes = {"retention": {"frames_days": 5}}
    body = {"name": "b", "source": source, "defaults": wishes}
    batch = tenant.client.post("/v1/batches", json=body, headers={"Idempotency-Key": "one"}).json()
    assert batch["retention"] == {
        "mode": "standard",
        "source_hours": 24,
        "crops_days": 3,
        "frames_days": 5,
        "results_days": 400,
    }
