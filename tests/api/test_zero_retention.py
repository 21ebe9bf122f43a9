"""Jobs of zero retention, and erased ones, on a store that keeps versions: nothing is to be found of them, anywhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from styleflow.settings import Settings
from tests.api.shop import Shop, opened_shop
from tests.journeys.receiver import Received, listening


@pytest.fixture
def shop(api_settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Shop]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    with opened_shop(api_settings, tmp_path) as shop:
        yield shop


@pytest.fixture
def told(shop: Shop) -> Iterator[Received]:
    with listening() as received:
        answer = shop.tenant.client.post("/v1/webhook-endpoints", json={"url": received.url, "events": ["job.*"]})
        assert answer.status_code == 201, answer.text
        yield received


def test_once_its_end_was_told_nothing_is_left_of_it(shop: Shop, told: Received) -> None:
    upload, job = shop.submit_canaries()
    assert f"uploads/{shop.tenant.project_id}/{upload}" in shop.lying()

    assert shop.execution.run(job_id=job)
    assert [key for key in shop.lying() if "evidence" in key] == [], "no report was ever put there"
    shop.tidy()
    assert shop.lying() == [], "the upload went as soon as the job had ended"
    answer = shop.tenant.client.get(f"/v1/jobs/{job}").json()
    assert (answer["verdict"], answer["probability"]) == ("suspicious", 0.75), "who polls can still read it"
    assert shop.tenant.client.get(f"/v1/jobs/{job}/result").json()["reason"] == "zero_retention"

    shop.tell()
    shop.tidy()

    assert "job.succeeded" in told.events(job)
    assert shop.canary.encode() in b"".join(body for _, body in told.calls), "the receiver was told everything"
    assert shop.tables_with(shop.canary) == []
    assert shop.tables_with(job, "0.75") == []
    assert shop.lying() == []
    problem = shop.tenant.client.get(f"/v1/jobs/{job}").json()
    assert (problem["code"], problem["reason"], problem["media_sha256"]) == ("erased", "zero_retention", None)


def test_a_receiver_that_is_down_delays_it_for_minutes_only_and_is_told_nothing_later(
    shop: Shop, told: Received
) -> None:
    _, job = shop.submit_canaries()
    shop.execution.run(job_id=job)
    shop.tidy()
    assert shop.tenant.client.get(f"/v1/jobs/{job}").status_code == 200
    with shop.tenant.running.database.transaction() as session:
        session.execute(text("update jobs set zero_at = now() - interval '1 second' where id = :id"), {"id": job})

    shop.tidy()
    assert shop.tables_with(shop.canary) == []
    shop.tell()
    shop.tidy()

    assert "job.succeeded" in told.events(job)
    assert shop.canary.encode() not in b"".join(body for _, body in told.calls)


def test_an_answer_that_is_to_be_kept_is_all_that_is_kept(shop: Shop) -> None:
    _, job = shop.submit_canaries(results_days=3)
    shop.execution.run(job_id=job)
    with shop.tenant.running.database.transaction() as session:
        session.execute(text("update jobs set zero_at = now() - interval '1 second' where id = :id"), {"id": job})

    shop.tidy()

    assert shop.tables_with(shop.canary) == []
    assert shop.lying() == []
    kept = shop.tenant.client.get(f"/v1/jobs/{job}").json()
    assert (kept["verdict"], kept["probability"], kept["outcome"]) == ("suspicious", 0.75, "scored")
    assert (kept["client_ref"], kept["tags"], kept["metadata"], kept["media"]) == (None, {}, {}, None)
    assert kept["source"]["type"] == "upload"
    assert kept["source"]["upload_id"] is None
    assert kept["retention"]["expires_at"]["results"] > kept["finished_at"]


def test_a_failed_job_leaves_as_little(shop: Shop) -> None:
    upload, job = shop.submit_canaries()
    shop.tenant.client.post(f"/v1/jobs/{job}:cancel")
    shop.tidy()
    assert shop.lying() == []
    assert shop.tenant.client.get(f"/v1/uploads/{upload}").json()["erased_class"] == "source"


def test_of_an_erased_job_nothing_is_left_though_its_webhook_was_still_on_its_way(shop: Shop, told: Received) -> None:
    _, job = shop.submit_canaries(mode="standard")
    shop.execution.run(job_id=job)
    assert any("report.json" in key for key in shop.lying())
    assert {"results", "tracks"} <= set(shop.tables_with(job))
    assert {"jobs", "events", "idempotency_keys", "uploads"} <= set(shop.tables_with(shop.canary))

    erasure = shop.tenant.client.delete(f"/v1/jobs/{job}").headers["Location"]
    assert shop.tables_with(shop.canary) == [], "rows go at once"
    shop.tidy()
    shop.tenant.let_objects_go()
    shop.tell()

    assert shop.lying() == []
    assert shop.tables_with(shop.canary) == []
    assert shop.tenant.client.get(erasure).json()["state"] == "completed"
    assert shop.canary.encode() not in b"".join(body for _, body in told.calls)
