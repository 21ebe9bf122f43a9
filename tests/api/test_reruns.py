"""`:rerun` and `dedupe` from outside."""

from __future__ import annotations

from tests.api.conftest import Office, Tenant


def finished(tenant: Tenant, **more: object) -> str:
    job_id = str(tenant.post_job(**more)["id"])
    tenant.succeed(job_id)
    return job_id


def test_a_finished_job_is_judged_again_as_a_new_job_that_names_it(tenant: Tenant) -> None:
    first = finished(tenant, client_ref="post-1", options={"faces": {"max_tracks": 2}})

    answer = tenant.client.post(f"/v1/jobs/{first}:rerun", json={"model": "tiny@1"})

    job = answer.json()
    assert answer.status_code == 202
    assert answer.headers["Location"] == f"/v1/jobs/{job['id']}"
    assert (job["parent_job_id"], job["model"], job["state"]) == (first, "tiny@1", "queued")
    assert (job["client_ref"], job["options"]) == ("post-1", {"faces": {"max_tracks": 2}})
    assert tenant.client.get(f"/v1/jobs/{first}").json()["state"] == "succeeded"


def test_a_rerun_may_look_at_other_parts_of_the_video(tenant: Tenant) -> None:
    first = finished(tenant, options={"faces": {"max_tracks": 2}})
    wanted = {"model": "tiny@1", "options": {"region": {"start_ms": 0, "end_ms": 5000}}}

    job = tenant.client.post(f"/v1/jobs/{first}:rerun", json=wanted).json()

    assert job["options"] == {"region": {"start_ms": 0, "end_ms": 5000}}


def test_a_rerun_is_refused_with_its_reason(office: Office, tenant: Tenant) -> None:
    waiting = tenant.post_job()["id"]
    first = finished(tenant)
    erased = finished(tenant)
    tenant.client.delete(f"/v1/jobs/{erased}")
    asked = {"model": "tiny@1"}

    def code(job_id: str, body: dict[str, str], by: Tenant = tenant) -> str:
        return str(by.client.post(f"/v1/jobs/{job_id}:rerun", json=body).json()["code"])

    assert code(waiting, asked) == "not_retryable"
    assert code(first, {"model": "nobody@1"}) == "unknown_model"
    assert code(first, {}) == "invalid_request"
    assert code(erased, asked) == "erased"
    assert code(first, asked, office.tenant()) == "not_found"


def test_a_repeated_rerun_with_one_key_makes_one_job(tenant: Tenant) -> None:
    first = finished(tenant)
    send = {"json": {"model": "tiny@1"}, "headers": {"Idempotency-Key": "again"}}

    one = tenant.client.post(f"/v1/jobs/{first}:rerun", **send)
    two = tenant.client.post(f"/v1/jobs/{first}:rerun", **send)

    assert one.json()["id"] == two.json()["id"]
    assert two.headers["Idempotency-Replayed"] == "true"


def test_a_job_says_what_it_does_with_earlier_results(tenant: Tenant) -> None:
    assert tenant.post_job(dedupe="reuse")["dedupe"] == "reuse"
    job = tenant.post_job()
    assert (job["dedupe"], job["deduplicated_from"]) == ("off", None)
    refused = tenant.client.post(
        "/v1/jobs", json={"source": {"type": "url", "url": "https://a.org/"}, "dedupe": "some"}
    )
    assert refused.json()["errors"][0]["pointer"] == "/dedupe"
