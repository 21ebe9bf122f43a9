"""What the reads that callers repeat cost the database: statements, which do not depend on how busy the machine is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import event

from tests.api.conftest import Running, Tenant


@pytest.fixture
def asked(running: Running) -> Callable[[], Any]:
    """A block that collects the statements which the API sends meanwhile, transactions' ends among them."""
    engine = running.app.state.services.database.engine

    @contextmanager
    def collecting() -> Iterator[list[str]]:
        statements: list[str] = []

        def sent(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
            statements.append(statement)

        event.listen(engine, "before_cursor_execute", sent)
        try:
            yield statements
        finally:
            event.remove(engine, "before_cursor_execute", sent)

    return collecting


def test_a_poll_with_the_etag_costs_two_statements_by_key(tenant: Tenant, asked: Callable[[], Any]) -> None:
    job = tenant.post_job()
    etag = tenant.client.get(f"/v1/jobs/{job['id']}").headers["ETag"]
    with asked() as statements:
        polls = [tenant.client.get(f"/v1/jobs/{job['id']}", headers={"If-None-Match": etag}) for _ in range(20)]
    assert {poll.status_code for poll in polls} == {304}
    assert len(statements) == 2 * len(polls)
    assert {statement.partition("WHERE")[2].split()[0] for statement in statements} == {"api_keys.key_id", "jobs.id"}
    assert all(statement.startswith("SELECT") for statement in statements)


def test_a_page_costs_as_many_statements_as_one_job(tenant: Tenant, asked: Callable[[], Any]) -> None:
    for _ in range(3):
        tenant.post_job()
    costs = []
    for limit in (1, 200):
        with asked() as statements:
            answer = tenant.client.get("/v1/jobs", params={"limit": limit})
        assert len(answer.json()["data"]) == min(limit, 3)
        costs.append(len(statements))
    assert costs == [2, 2]


def test_a_job_in_a_list_is_the_job_itself(tenant: Tenant) -> None:
    whole = {
        "client_ref": "post-é",
        "tags": {"queue": "politics"},
        "metadata": {"uploader": "u_17", "nested": [1, 2.5, None, {"a": "\u2028"}]},
        "options": {"sampling": {"mode": "uniform", "clips": 4}},
        "retention": {"results_days": 30},
    }
    queued, settled, bare = tenant.post_job(**whole), tenant.post_job(**whole), tenant.post_job()
    tenant.succeed(settled["id"])
    listed = tenant.client.get("/v1/jobs").json()["data"]
    assert [job["id"] for job in listed] == [bare["id"], settled["id"], queued["id"]]
    assert [tenant.client.get(f"/v1/jobs/{job['id']}").json() for job in listed] == listed
    assert listed[1]["pipeline"] is not None
