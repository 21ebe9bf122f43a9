"""Health, metrics, models, limits."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from styleflow.embedded import start_redis
from styleflow.settings import Settings
from tests.api.conftest import Running, Tenant, serve
from tests.stack import free_port


def test_a_whole_installation_is_ready(anonymous: httpx.Client) -> None:
    assert anonymous.get("/livez").json() == {"status": "ok"}
    ready = anonymous.get("/readyz")
    assert ready.status_code == 200
    assert ready.json() == {
        "status": "ok",
        "checks": {"database": "ok", "migrations": "ok", "broker": "ok", "bucket": "ok"},
    }


def test_without_the_broker_it_is_degraded_and_still_accepts(
    api_settings: Callable[..., Settings], tenant: Tenant, tmp_path: Path
) -> None:
    redis = start_redis(tmp_path)
    with serve(api_settings(redis_url=redis.url)) as running, running.client(tenant.key) as client:
        redis.stop()
        ready = client.get("/readyz")
        assert (ready.status_code, ready.json()["status"]) == (200, "degraded")
        assert ready.json()["checks"]["broker"] == "unreachable"
        body = {"source": {"type": "url", "url": "https://a.example.org/a.mp4"}}
        assert client.post("/v1/jobs", json=body).status_code == 202


def test_an_old_schema_is_not_ready(running: Running, anonymous: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.health.head", lambda: "9999")
    ready = anonymous.get("/readyz")
    assert (ready.status_code, ready.json()["checks"]["migrations"]) == (503, "behind")


def test_metrics_tell_the_backlog_and_the_latency(tenant: Tenant, anonymous: httpx.Client) -> None:
    tenant.post_job(lane="bulk")
    families = {family.name: family for family in text_string_to_metric_families(anonymous.get("/metrics").text)}
    assert {
        "styleflow_database_up",
        "styleflow_queued_jobs",
        "styleflow_oldest_queued_seconds",
        "styleflow_jobs",
        "styleflow_pending_deliveries",
        "styleflow_open_exports",
        "styleflow_oldest_export_seconds",
        "styleflow_overdue_delivery_seconds",
        "styleflow_http_request_seconds",
        "styleflow_waiting_requests",
    } <= families.keys()
    lanes = {sample.labels["lane"] for sample in families["styleflow_queued_jobs"].samples}
    assert lanes == {"realtime", "standard", "bulk"}
    routes = {sample.labels["route"] for sample in families["styleflow_http_request_seconds"].samples}
    assert "/v1/jobs" in routes
    assert not any(re.search("job_[0-9]", route) for route in routes), "ids would make endless labels"


def test_a_method_that_somebody_made_up_is_no_label(anonymous: httpx.Client) -> None:
    for path in ("/livez", "/nowhere"):
        assert anonymous.request("BREW", path).status_code in (404, 405)
    told = anonymous.get("/metrics").text
    assert "BREW" not in told
    assert 'method="OTHER"' in told


def test_metrics_can_have_a_port_of_their_own(api_settings: Callable[..., Settings]) -> None:
    port = free_port()
    with serve(api_settings(metrics_port=port)) as running, running.client() as client:
        assert client.get("/metrics").status_code == 404
        apart = httpx.get(f"http://127.0.0.1:{port}/metrics", trust_env=False)
        assert "styleflow_database_up 1.0" in apart.text


def test_models_tell_what_is_served_and_that_it_is_not_calibrated(client: httpx.Client) -> None:
    (model,) = client.get("/v1/models").json()["data"]
    assert (model["id"], model["default"], model["calibrated"]) == ("tiny@1", True, False)
    assert model["weights"][0]["sha256"] == "0" * 64
    for name in ("tiny@1", "styleflow@default"):
        assert client.get(f"/v1/models/{name}").json() == model


def test_limits_are_those_of_the_settings(client: httpx.Client, running: Running) -> None:
    limits = client.get("/v1/limits").json()
    assert limits["max_upload_bytes"] == running.settings.max_upload_bytes
    assert limits["max_attempts"] == running.settings.max_attempts
    assert limits["retention"]["frames_days"] == running.settings.frames_days


def test_every_metric_has_its_line_in_the_operations_page_and_every_line_its_metric(anonymous: httpx.Client) -> None:
    page = (Path(__file__).parent.parent.parent / "docs" / "operations.md").read_text()
    documented = set(re.findall(r"^\| `(styleflow_[a-z_]+)[`{]", page, re.MULTILINE))

    # counters are exposed with the suffix, families are named without it
    told = {family.name for family in text_string_to_metric_families(anonymous.get("/metrics").text)}

    assert {name.removesuffix("_total") for name in documented} == {name.removesuffix("_created") for name in told}
