"""What the commands send for parts of the API that are tested in rooms of their own: a server that writes it down."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from styleflow.cli.main import app

FILE = b"job_id,verdict\njob_1,strong\n"
ENDPOINT = {"id": "whe_1", "state": "active", "url": "https://a.test", "events": ["job.*"], "secret": "whsec_new"}
KEY = {"id": "key_1", "state": "active", "name": "k", "scopes": ["jobs:read"], "secret": "sfk_live_new"}
EXPORT = {
    "id": "exp_1",
    "state": "running",
    "rows": "jobs",
    "format": "csv",
    "counts": {"rows": 1, "files": 1, "bytes": len(FILE)},
}


def page(*rows: dict[str, Any], cursor: str | None = None) -> dict[str, Any]:
    return {"data": list(rows), "next_cursor": cursor, "has_more": cursor is not None}


@dataclass
class Desk:
    """Answers by method and path, each the next of its list and then the last again; and what was asked."""

    url: str = ""
    answers: dict[str, list[tuple[int, Any]]] = field(default_factory=dict)
    asked: list[tuple[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)

    def give(self, route: str, *bodies: Any, status: int = 200) -> None:
        self.answers[route] = [(status, body) for body in bodies]

    def run(self, *arguments: str) -> Result:
        told = {"STYLEFLOW_URL": self.url, "STYLEFLOW_API_KEY": "sfk_live_x", "STYLEFLOW_HOME": "/nowhere"}
        done = CliRunner().invoke(app, list(arguments), env=told)
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        return done


@pytest.fixture
def desk() -> Iterator[Desk]:
    desk = Desk()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            sent = self.rfile.read(int(self.headers.get("content-length") or 0))
            route = f"{self.command} {self.path}"
            is_json = self.headers.get("content-type") == "application/json"
            desk.asked.append((route, json.loads(sent) if is_json else None))
            desk.headers.append({name.lower(): value for name, value in self.headers.items()})
            waiting = desk.answers[route]
            status, body = waiting.pop(0) if len(waiting) > 1 else waiting[0]
            content = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_DELETE = answer  # noqa: N815 (the server's names)

        def log_message(self, format: str, *args: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    desk.url = f"http://127.0.0.1:{server.server_address[1]}"
    yield desk
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_key_is_made_with_what_it_may_do_and_its_secret_shown(desk: Desk) -> None:
    desk.give("POST /v1/api-keys", KEY, status=201)
    done = desk.run(
        "api-keys", "create", "--name", "k", "--scope", "jobs:read", "--network", "10.0.0.0/8", "--days", "1"
    )
    ((_, body),) = desk.asked
    assert body.pop("expires_at")
    assert body == {"name": "k", "scopes": ["jobs:read"], "cidrs": ["10.0.0.0/8"]}
    assert (done.exit_code, "sfk_live_new" in done.stdout) == (0, True)


def test_a_secret_that_was_lost_on_the_way_is_told(desk: Desk) -> None:
    desk.give("POST /v1/api-keys/key_1:rotate", {**KEY, "secret": None})
    done = desk.run("api-keys", "rotate", "key_1", "--overlap-hours", "2")
    assert desk.asked[0][1] == {"overlap_hours": 2.0}
    assert (done.exit_code, "revoke key_1" in done.stderr) == (5, True)


def test_keys_are_listed_page_by_page_shown_and_revoked(desk: Desk) -> None:
    desk.give("GET /v1/api-keys?limit=200", page(KEY, cursor="c"))
    desk.give("GET /v1/api-keys?limit=200&cursor=c", page({**KEY, "id": "key_2"}))
    desk.give("GET /v1/api-keys/key_1", KEY)
    desk.give("DELETE /v1/api-keys/key_1", None, status=204)
    listed = desk.run("api-keys", "list")
    assert [line.split("\t")[0] for line in listed.stdout.splitlines()] == ["key_1", "key_2"]
    assert "jobs:read" in desk.run("api-keys", "show", "key_1").stdout
    assert desk.run("api-keys", "revoke", "key_1").stdout == "key_1\trevoked\n"


def test_a_secret_of_an_endpoint_is_rotated_and_a_disabled_one_enabled(desk: Desk) -> None:
    desk.give("POST /v1/webhook-endpoints/whe_1:rotate-secret", ENDPOINT)
    desk.give("POST /v1/webhook-endpoints/whe_1:enable", ENDPOINT)
    assert "whsec_new" in desk.run("webhooks", "rotate", "whe_1", "--overlap-hours", "48").stdout
    assert desk.run("webhooks", "enable", "whe_1").exit_code == 0
    assert desk.asked[0][1] == {"overlap_hours": 48}


def test_what_was_missed_is_asked_for_by_its_time(desk: Desk) -> None:
    replay = {"id": "rep_1", "state": "running", "deliveries": 3}
    desk.give("POST /v1/webhook-endpoints/whe_1:replay", replay, status=202)
    done = desk.run("webhooks", "replay", "whe_1", "--since", "2026-11-20", "--state", "failed", "--json")
    assert json.loads(done.stdout) == replay
    ((_, body),) = desk.asked
    assert datetime.fromisoformat(body.pop("to")) <= datetime.now(UTC)
    assert body == {"from": "2026-11-20T00:00:00+00:00", "states": ["failed"]}


@pytest.fixture
def exporting(desk: Desk) -> Desk:
    """An export that is done at the second look."""
    file = {"name": "part-00001.csv", "sha256": hashlib.sha256(FILE).hexdigest(), "url": "/v1/exports/exp_1/files/part"}
    desk.give("POST /v1/exports", EXPORT, status=202)
    desk.give("GET /v1/exports/exp_1", EXPORT, {**EXPORT, "state": "succeeded"})
    desk.give("GET /v1/exports/exp_1/files?limit=200", page(file))
    desk.give("GET /v1/exports/exp_1/files/part?redirect=false", FILE)
    desk.give("GET /v1/exports/exp_1/files/manifest.json?redirect=false", b"{}")
    return desk


def test_an_export_is_ordered_waited_for_and_fetched(exporting: Desk, tmp_path: Path) -> None:
    folder = tmp_path / "november"
    filters = ("--verdict", "strong", "--tag", "queue=politics", "--since", "2026-11-01")
    done = exporting.run("exports", "create", "--format", "csv", *filters, "--into", str(folder), "--json")
    assert done.exit_code == 0, done.output
    assert exporting.asked[0][1] == {
        "format": "csv",
        "rows": "jobs",
        "query": {"verdict": "strong", "tag": "queue:politics", "created_after": "2026-11-01T00:00:00+00:00"},
    }
    fetched = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert fetched == {"part-00001.csv": FILE, "manifest.json": b"{}"}


def test_a_batch_is_exported_by_its_id(exporting: Desk) -> None:
    assert exporting.run("batches", "export", "bat_1", "--format", "parquet", "--rows", "frames").exit_code == 0
    assert exporting.asked[0][1] == {"batch_id": "bat_1", "format": "parquet", "rows": "frames"}


def test_a_file_that_is_not_what_was_written_does_not_appear(exporting: Desk, tmp_path: Path) -> None:
    exporting.give("GET /v1/exports/exp_1/files/part?redirect=false", FILE[:-1])
    done = exporting.run("exports", "wait", "exp_1", "--into", str(tmp_path / "november"))
    assert (done.exit_code, "did not arrive as it was written" in done.stderr) == (5, True)
    assert list((tmp_path / "november").iterdir()) == []


@pytest.mark.parametrize("name", ["../escape.csv", "/etc/cron.d/x", ".hidden"])
def test_a_name_that_leads_out_of_the_folder_is_refused(exporting: Desk, tmp_path: Path, name: str) -> None:
    file = {"name": name, "sha256": hashlib.sha256(FILE).hexdigest(), "url": "/v1/exports/exp_1/files/part"}
    exporting.give("GET /v1/exports/exp_1/files?limit=200", page(file))
    done = exporting.run("exports", "wait", "exp_1", "--into", str(tmp_path / "november"))
    assert (done.exit_code, "unsafe_name" in done.stderr) == (2, True)


@pytest.mark.parametrize(("state", "code"), [("failed", 1), ("canceled", 1), ("running", 6)])
def test_an_export_that_did_not_succeed_is_an_exit_code(desk: Desk, state: str, code: int) -> None:
    desk.give("GET /v1/exports/exp_1", {**EXPORT, "state": state})
    assert desk.run("exports", "wait", "exp_1", "--timeout", "0.2").exit_code == code


@pytest.mark.parametrize(
    ("status", "body", "code"),
    [(502, b"<html>bad gateway", 5), (200, b"<html>log in", 5), (404, b"", 3), (401, {"code": "unauthenticated"}, 4)],
)
def test_what_no_service_would_say_is_told_in_a_sentence(desk: Desk, status: int, body: Any, code: int) -> None:
    desk.give("GET /v1/exports/exp_1", body, status=status)
    done = desk.run("exports", "show", "exp_1")
    assert done.exit_code == code, done.output
    assert len(done.stderr.splitlines()) == 1


def test_the_key_does_not_go_where_the_bytes_go(desk: Desk, tmp_path: Path) -> None:
    (tmp_path / "clip.mp4").write_bytes(b"123")
    address = f"{desk.url}/elsewhere?signature=x"
    upload = {"id": "upl_1", "state": "pending", "method": "PUT", "url": address, "headers": {"x-signed": "yes"}}
    desk.give("POST /v1/uploads", upload, status=201)
    desk.give("PUT /elsewhere?signature=x", None)
    desk.give("POST /v1/uploads/upl_1:complete", upload)
    desk.give("POST /v1/jobs", {"id": "job_1", "state": "queued"}, status=202)
    assert desk.run("jobs", "submit", str(tmp_path / "clip.mp4")).exit_code == 0
    assert [bool(headers.get("authorization")) for headers in desk.headers] == [True, False, True, True]
    assert desk.headers[1]["x-signed"] == "yes"


@pytest.mark.parametrize("status", [429, 503])
def test_a_service_that_is_busy_is_asked_again_under_the_same_key(desk: Desk, status: int) -> None:
    desk.answers["POST /v1/jobs"] = [(status, b""), (202, {"id": "job_1", "state": "queued"})]
    assert desk.run("jobs", "submit", "https://media.test/a.mp4").exit_code == 0
    first, second = (headers["idempotency-key"] for headers in desk.headers)
    assert first == second


def test_an_id_stays_one_part_of_the_address_whatever_is_in_it(desk: Desk) -> None:
    desk.give("GET /v1/exports/..%2Fapi-keys%3Fx", EXPORT)
    assert desk.run("exports", "show", "../api-keys?x").exit_code == 0
    assert desk.run("exports", "show", "..").exit_code == 2
