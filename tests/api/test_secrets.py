"""Secrets that go through the service are told to nobody else: not by logs, events, problems, metrics or rows."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
import structlog
from sqlalchemy import text

from styleflow.settings import Settings
from styleflow.webhook_tables import EventRow
from tests.api.conftest import SECRET
from tests.api.shop import VIDEO, opened_shop
from tests.journeys.receiver import listening

STORE_SECRET = "canary-secret-of-the-store"
PASSWORD = "canary-password-in-an-address"
SIGNATURE = "canary-signature-of-somebody-elses-store"


def test_no_secret_is_found_in_what_a_journey_leaves_behind(
    api_settings: Callable[..., Settings],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "canary-id-of-the-store")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", STORE_SECRET)
    told: list[str] = []
    with opened_shop(api_settings, tmp_path) as shop, listening() as receiver:
        logging.getLogger().setLevel(logging.INFO)  # as in production; the tests' server is quieter
        client, key = shop.tenant.client, shop.tenant.key
        secrets = [key, key.rpartition("_")[2], SECRET, STORE_SECRET, PASSWORD, SIGNATURE]

        endpoint = client.post("/v1/webhook-endpoints", json={"url": receiver.url, "events": ["*"]}).json()
        secrets.append(endpoint["secret"].removeprefix("whsec_"))
        told.append(client.get(f"/v1/webhook-endpoints/{endpoint['id']}").text)
        dead = {"url": f"http://u:{PASSWORD}@127.0.0.1:9/hook", "events": ["*"]}
        told.append(client.post("/v1/webhook-endpoints", json=dead).text)

        upload = client.post("/v1/uploads", json={"filename": "a.mp4", "size_bytes": len(VIDEO)}).json()
        secrets += parse_qs(urlsplit(upload["url"]).query)["X-Amz-Signature"]
        token = shop.tenant.running.app.state.services.upload_tokens.address(upload["id"], 4_000_000_000)
        secrets += parse_qs(urlsplit(token).query)["signature"]
        told.append(httpx.put(f"{shop.tenant.running.url}{urlsplit(token).path}?{urlsplit(token).query}").text)
        assert httpx.put(upload["url"], content=VIDEO, headers=upload["headers"]).is_success
        job = shop.tenant.post_job(source={"type": "upload", "upload_id": upload["id"]})
        assert shop.execution.run(job_id=job["id"])

        address = f"https://somebody.example.org/a.mp4?X-Amz-Signature={SIGNATURE}"
        unreachable = shop.tenant.post_job(source={"type": "url", "url": address})
        assert shop.execution.run(job_id=unreachable["id"])
        told.append(
            client.post("/v1/jobs", json={"source": {"type": "url", "url": f"https://u:{PASSWORD}@x.org"}}).text
        )
        told.append(client.get("/v1/jobs", params={"api_key": key}).text)
        told.append(client.get("/v1/jobs", headers={"Authorization": f"Bearer {key[:-1]}"}).text)
        told.append(client.get(f"/v1/jobs/{unreachable['id']}/attempts").text)
        structlog.get_logger().warning("careless", key=key, to=upload["url"], token=token, text=f"Bearer {key}")
        structlog.get_logger().warning("careless", hook=endpoint["secret"], link=f"https://u:{PASSWORD}@x.org/")
        shop.tell()
        client.delete(f"/v1/jobs/{job['id']}")
        shop.tidy()
        told += [client.get(path).text for path in ("/v1/events", "/metrics", "/readyz")]
        told += [body.decode() for _, body in receiver.calls]
        with shop.tenant.running.database.transaction() as session:
            told += [event.body for event in session.query(EventRow).filter_by(project_id=shop.tenant.project_id)]
            for table in ("delivery_attempts", "attempts", "outbox", "api_keys", "webhook_endpoints"):
                told += session.execute(text(f"select t::text from {table} t")).scalars()
            told += session.execute(text("select error::text from jobs where error is not null")).scalars()
        logging.getLogger().setLevel(logging.WARNING)
    out, err = capfd.readouterr()
    assert "request" in err, "there were log lines"
    assert err.count("careless") == 2, "also such as should not have been written"
    assert len(told) > 20

    found = [
        (secret, where[:200]) for secret in secrets for where in (*told, *(out + err).splitlines()) if secret in where
    ]
    assert found == []
