"""Lists of orders and holds: erasures, legal holds, relabellings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest

from styleflow.policies.relabeling import relabel_once
from tests.api.conftest import Tenant

WORDS = {"thresholds": {"weak": 0.1, "suspicious": 0.2, "strong": 0.3}}


def _erasure(tenant: Tenant) -> str:
    return str(tenant.client.post("/v1/erasures", json={"client_ref": uuid4().hex}).json()["id"])


def _hold(tenant: Tenant) -> str:
    job: str = tenant.post_job()["id"]
    assert tenant.client.post(f"/v1/jobs/{job}:hold", json={"reason": "case 4711"}).is_success
    return job


def _relabeling(tenant: Tenant) -> str:
    if not tenant.client.get("/v1/policies/strict").is_success:
        tenant.client.put("/v1/policies/strict", json=WORDS)
    return str(tenant.client.post("/v1/policies/strict:relabel", json={}).json()["id"])


LISTS: dict[str, tuple[Callable[[Tenant], str], str]] = {
    "erasures": (_erasure, "id"),
    "legal-holds": (_hold, "job_id"),
    "relabelings": (_relabeling, "id"),
}


def pages(tenant: Tenant, address: str) -> list[list[dict[str, Any]]]:
    """All pages, by the addresses that the Link headers give."""
    found = []
    while address:
        answer = tenant.client.get(address)
        assert answer.status_code == 200, answer.text
        found.append(answer.json()["data"])
        assert answer.json()["has_more"] == ("next" in answer.links)
        address = answer.links.get("next", {}).get("url", "")
    return found


@pytest.mark.parametrize("place", LISTS)
def test_every_one_is_listed_once_and_the_newest_first(tenant: Tenant, place: str) -> None:
    make, member = LISTS[place]
    assert tenant.client.get(f"/v1/{place}").json() == {"data": [], "next_cursor": None, "has_more": False}
    made = [make(tenant) for _ in range(5)]
    found = pages(tenant, f"/v1/{place}?limit=2")
    assert [len(page) for page in found] == [2, 2, 1]
    assert [one[member] for page in found for one in page] == made[::-1]


@pytest.mark.parametrize("place", LISTS)
def test_what_is_made_while_somebody_pages_is_on_no_later_page(tenant: Tenant, place: str) -> None:
    make, member = LISTS[place]
    made = [make(tenant) for _ in range(3)]
    first = tenant.client.get(f"/v1/{place}?limit=1")
    make(tenant)
    rest = pages(tenant, first.links["next"]["url"])
    assert [one[member] for page in rest for one in page] == [made[1], made[0]]


@pytest.mark.parametrize("place", LISTS)
def test_a_cursor_is_good_for_its_own_list_alone(tenant: Tenant, place: str) -> None:
    make, _ = LISTS[place]
    for _ in range(2):
        make(tenant)
    cursor = tenant.client.get(f"/v1/{place}?limit=1").json()["next_cursor"]
    for other in LISTS.keys() - {place}:
        answer = tenant.client.get(f"/v1/{other}", params={"limit": 1, "cursor": cursor})
        assert (answer.status_code, answer.json()["code"]) == (400, "cursor_mismatch")


def test_an_erasure_is_listed_as_its_own_address_shows_it(tenant: Tenant) -> None:
    job = tenant.post_job(client_ref="post-1")
    tenant.succeed(job["id"])
    deleted = tenant.client.delete(f"/v1/jobs/{job['id']}").json()
    listed = tenant.client.get("/v1/erasures?state=running").json()["data"]
    assert [one["id"] for one in listed] == [deleted["id"]]
    assert listed[0]["counts"]["objects_waiting"] > 0
    assert listed == [tenant.client.get(f"/v1/erasures/{deleted['id']}").json()]
    tenant.let_objects_go()
    assert tenant.client.get("/v1/erasures?state=running").json()["data"] == []
    completed = tenant.client.get("/v1/erasures?state=completed").json()["data"]
    assert completed == [tenant.client.get(f"/v1/erasures/{deleted['id']}").json()]
    assert completed[0]["proof"]["counts"]["erased"] == 1


def test_holds_that_stand_are_told_from_those_that_were_released(tenant: Tenant) -> None:
    standing, released = _hold(tenant), _hold(tenant)
    tenant.client.post(f"/v1/jobs/{released}:release")
    tenant.client.post(f"/v1/jobs/{released}:hold", json={"reason": "again"})
    tenant.client.post(f"/v1/jobs/{released}:release")

    def jobs(query: str) -> list[str]:
        return [one["job_id"] for one in tenant.client.get(f"/v1/legal-holds{query}").json()["data"]]

    assert jobs("?state=standing") == [standing]
    assert jobs("?state=released") == [released, released]
    assert jobs("") == [released, released, standing]
    again = tenant.client.get("/v1/legal-holds?limit=1").json()["data"][0]
    assert (again["reason"], again["released_at"] is None) == ("again", False)


def test_a_relabelling_is_listed_as_its_own_address_shows_it(tenant: Tenant) -> None:
    identity = _relabeling(tenant)
    while tenant.client.get(f"/v1/relabelings/{identity}").json()["state"] == "running":
        relabel_once(tenant.running.database)
    assert tenant.client.get("/v1/relabelings").json()["data"] == [
        tenant.client.get(f"/v1/relabelings/{identity}").json()
    ]
