"""A project, its quotas and its usage, as a caller reads and meets them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from styleflow import quotas
from tests.api.conftest import Office, Tenant

JOB = {"source": {"type": "url", "url": "https://media.example.org/clip.mp4"}}
HOOK = {"url": "https://a.example.org/"}


def own(tenant: Tenant, **changes: int) -> None:
    with tenant.running.database.transaction() as session:
        quotas.set_own(session, tenant.project_id, changes)


def test_a_quota_that_is_used_up_is_named_and_says_when_to_come_again(tenant: Tenant) -> None:
    own(tenant, jobs_per_day=1, webhook_endpoints=1, upload_bytes_per_day=10)
    for path, body, policy in (
        ("/v1/jobs", JOB, "jobs-per-day"),
        ("/v1/webhook-endpoints", HOOK, "webhook-endpoints"),
        ("/v1/uploads", {"filename": "a.mp4", "size_bytes": 10}, "upload-bytes-per-day"),
    ):
        assert tenant.client.post(path, json=body).is_success
        refusal = tenant.client.post(path, json=body)
        assert (refusal.status_code, refusal.json()["code"]) == (429, "quota_exceeded")
        assert refusal.json()["violated-policies"] == [policy]
        assert int(refusal.headers["Retry-After"]) > 0
    held = {one["policy"]: one for one in tenant.client.get("/v1/limits").json()["quotas"]}
    assert (held["jobs-per-day"]["limit"], held["jobs-per-day"]["used"]) == (1, 1)
    assert held["active-jobs"] == {"policy": "active-jobs", "limit": None, "used": 1, "resets_at": None}
    assert held == {one["policy"]: one for one in tenant.client.get("/v1/project").json()["quotas"]}


def test_usage_is_told_by_day_and_model(tenant: Tenant) -> None:
    tenant.succeed(tenant.post_job()["id"])
    tenant.post_job()

    (row,) = tenant.client.get("/v1/usage", params={"group_by": "day,model"}).json()["data"]

    assert row["day"] == datetime.now(UTC).date().isoformat()
    assert (row["jobs_accepted"], row["jobs_succeeded"], row["inconclusive"]) == (2, 1, 1)


@pytest.mark.parametrize("query", ["from=2026-01-02&to=2026-01-02", "from=2020-01-01&to=2026-01-01", "group_by=week"])
def test_a_span_that_cannot_be_read_is_refused(office: Office, query: str) -> None:
    assert office.tenant().client.get(f"/v1/usage?{query}").status_code == 422
