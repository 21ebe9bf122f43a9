"""`/v1/policies` from outside, and jobs that name a policy."""

from __future__ import annotations

from typing import Any

import pytest

from styleflow.policies.relabeling import relabel_once
from styleflow.report import Outcome, Verdict
from tests.api.conftest import Office, Tenant, make_report

STRICT = {"thresholds": {"weak": 0.97, "suspicious": 0.98, "strong": 0.99}}
MILD = {"thresholds": {"weak": 0.0, "suspicious": 0.0, "strong": 0.0}}


def put(tenant: Tenant, name: str = "strict", body: dict[str, Any] = STRICT, **headers: str) -> Any:
    return tenant.client.put(f"/v1/policies/{name}", json=body, headers=headers)


def scored_job(tenant: Tenant, **more: Any) -> str:
    job_id = str(tenant.post_job(**more)["id"])
    tenant.succeed(job_id, make_report(Outcome.SCORED, None, probability=0.75, verdict=Verdict.SUSPICIOUS))
    return job_id


def test_a_policy_has_revisions_that_are_changed_with_their_etag(tenant: Tenant) -> None:
    made = put(tenant)
    assert (made.status_code, made.headers["ETag"], made.json()["revision"]) == (200, '"1"', 1)
    assert put(tenant).json()["code"] == "precondition_required"
    assert put(tenant, body=MILD, **{"If-Match": '"9"'}).json()["code"] == "precondition_failed"
    assert put(tenant, body=MILD, **{"If-Match": '"1"'}).json()["revision"] == 2

    assert tenant.client.get("/v1/policies/strict").json()["thresholds"] == MILD["thresholds"]
    revisions = tenant.client.get("/v1/policies/strict/revisions?limit=1").json()
    assert ([row["revision"] for row in revisions["data"]], revisions["has_more"]) == ([2], True)
    rest = tenant.client.get(f"/v1/policies/strict/revisions?limit=1&cursor={revisions['next_cursor']}").json()
    assert ([row["revision"] for row in rest["data"]], rest["has_more"]) == ([1], False)
    assert [row["revision"] for row in tenant.client.get("/v1/policies").json()["data"]] == [2]
    assert tenant.client.get("/v1/policies/strict/revisions/1").json()["thresholds"] == STRICT["thresholds"]
    assert tenant.client.get("/v1/policies/strict/revisions/3").status_code == 404


def test_a_policy_that_must_be_new_is_refused_where_there_is_one(tenant: Tenant) -> None:
    assert put(tenant, **{"If-None-Match": "*"}).json()["revision"] == 1
    assert put(tenant, **{"If-None-Match": "*"}).json()["code"] == "precondition_failed"


def test_too_many_relabellings_at_once_are_refused(tenant: Tenant) -> None:
    put(tenant)
    for _ in range(20):
        assert tenant.client.post("/v1/policies/strict:relabel", json={}).status_code == 202
    refused = tenant.client.post("/v1/policies/strict:relabel", json={})
    assert (refused.status_code, refused.json()["violated-policies"]) == (429, ["relabelings"])
    while relabel_once(tenant.running.database):
        pass


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("strict", {"thresholds": {"weak": 0.5, "suspicious": 0.4, "strong": 0.9}}),
        ("strict", {"thresholds": {"weak": 0.5, "suspicious": 0.6, "strong": 1.1}}),
        ("strict", {"thresholds": {"weak": 0.5}}),
        ("Strict Words", STRICT),
        ("default", STRICT),
    ],
    ids=["falling", "above one", "not all", "no name", "the pack's own name"],
)
def test_what_is_no_policy_is_refused(tenant: Tenant, name: str, body: dict[str, Any]) -> None:
    assert put(tenant, name, body).json()["code"] == "invalid_request"


def test_a_job_keeps_the_revision_that_it_was_accepted_with(tenant: Tenant) -> None:
    put(tenant)
    job = tenant.post_job(policy="strict")
    put(tenant, body=MILD, **{"If-Match": '"1"'})

    assert tenant.client.get(f"/v1/jobs/{job['id']}").json()["policy"] == "strict@1"
    assert tenant.post_job()["policy"] == "default"


def test_a_policy_that_is_not_there_is_named_as_such(office: Office, tenant: Tenant) -> None:
    put(tenant)
    body = {"source": {"type": "url", "url": "https://media.example.org/"}, "policy": "strict"}
    stranger = office.tenant()

    assert stranger.client.post("/v1/jobs", json=body).json()["code"] == "unknown_policy"
    batch = {"name": "b", "source": {"type": "inline", "items": [{"source": body["source"]}]}}
    refused = stranger.client.post(
        "/v1/batches", json={**batch, "defaults": {"policy": "strict"}}, headers={"Idempotency-Key": "b"}
    )
    assert refused.json()["code"] == "unknown_policy"


def test_relabelling_changes_the_words_of_stored_results_and_not_their_scores(tenant: Tenant) -> None:
    job_id = scored_job(tenant)
    before = tenant.client.get(f"/v1/jobs/{job_id}/result")
    put(tenant)
    ordered = tenant.client.post("/v1/policies/strict:relabel", json={})
    assert (ordered.status_code, ordered.json()["state"]) == (202, "running")

    while relabel_once(tenant.running.database):
        pass

    done = tenant.client.get(ordered.headers["Location"]).json()
    assert (done["state"], done["policy"], done["looked_at"], done["changed"]) == ("succeeded", "strict@1", 1, 1)
    after = tenant.client.get(f"/v1/jobs/{job_id}/result", headers={"If-None-Match": before.headers["ETag"]})
    assert (after.status_code, after.json()["verdict"]) == (200, "no_evidence")
    assert after.json()["thresholds"] == {"policy": "strict@1", **STRICT["thresholds"]}
    assert after.json()["score"] == before.json()["score"]
    job = tenant.client.get(f"/v1/jobs/{job_id}").json()
    assert (job["verdict"], job["policy"], job["state"], job["outcome"]) == (
        "no_evidence",
        "strict@1",
        "succeeded",
        "scored",
    )
    again = tenant.client.get(f"/v1/jobs/{job_id}/result", headers={"If-None-Match": after.headers["ETag"]})
    assert again.status_code == 304


def relabel(tenant: Tenant, name: str) -> Any:
    ordered = tenant.client.post(f"/v1/policies/{name}:relabel", json={})
    assert ordered.status_code == 202, ordered.text
    while relabel_once(tenant.running.database):
        pass
    return tenant.client.get(ordered.headers["Location"]).json()


def test_a_policy_that_was_put_on_a_result_is_taken_off_again(tenant: Tenant) -> None:
    job_id = scored_job(tenant)
    path = f"/v1/jobs/{job_id}"
    before = tenant.client.get(f"{path}/result").json()
    put(tenant)
    relabel(tenant, "strict")
    assert tenant.client.get(path).json()["policy"] == "strict@1"

    done = relabel(tenant, "default")

    assert (done["state"], done["policy"], done["changed"]) == ("succeeded", "default", 1)
    assert tenant.client.get(f"{path}/result").json() == before
    job = tenant.client.get(path).json()
    assert (job["policy"], job["verdict"]) == ("default", before["verdict"])
    again = tenant.client.post(f"{path}:rerun", json={"model": "tiny@1"}).json()
    assert again["policy"] == "default"
    assert tenant.client.post("/v1/policies/default:preview", json={}).json()["code"] == "not_found"


def test_a_preview_says_what_would_change_and_changes_nothing(tenant: Tenant) -> None:
    job_id = scored_job(tenant)
    now = tenant.client.get(f"/v1/jobs/{job_id}").json()["verdict"]

    foreseen = tenant.client.post("/v1/policies/any:preview", json=STRICT).json()

    assert foreseen == {"changes": {now: {"no_evidence": 1}}, "looked_at": 1, "changed": 1}
    assert tenant.client.get(f"/v1/jobs/{job_id}").json()["verdict"] == now
    assert tenant.client.post("/v1/policies/any:preview", json={}).json()["code"] == "not_found"


def test_times_that_run_backwards_are_refused(tenant: Tenant) -> None:
    put(tenant)
    scope = {"created_after": "2026-11-20T12:00:00Z", "created_before": "2026-11-20T11:00:00Z"}

    problem = tenant.client.post("/v1/policies/strict:relabel", json=scope).json()

    assert problem["errors"][0]["pointer"] == "/created_before"
