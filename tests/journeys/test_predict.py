"""The lines of the original server's README, as they stand there, against this service."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import httpx
import pytest

from styleflow.packs import Calibration, Training, read_pack, write_card
from styleflow.report import Thresholds
from tests import media
from tests.journeys.conftest import SAMPLES
from tests.stack import Stack, answers, eventually, free_port, settings_of
from tests.web_server import certificates, serving

HOST = "www.evalai.org"
LINE = """curl -X POST http://localhost:8000/predict --data '{"file_path": "https://www.evalai.org/ocasio.mp4"}'"""


@pytest.fixture
def calibrated_packs(packs: Path, tmp_path: Path) -> Path:
    """The compact pack with a card that claims training and calibration, so that something can be scored."""
    folder = tmp_path / "packs"
    shutil.copytree(packs, folder)
    (directory,) = folder.iterdir()
    card = read_pack(directory).card
    steps = Thresholds(policy="test@1", weak=0.0, suspicious=0.0, strong=1.0)
    calibration = Calibration(method="temperature", slope=1.0, thresholds=steps, measured_on="nothing: a test")
    training = Training(trained=True, statement="claimed by a test")
    write_card(card.model_copy(update={"calibration": calibration, "training": training}), directory)
    return folder


@pytest.fixture
def web(tmp_path: Path) -> Iterator[tuple[Path, int]]:
    """The host of the README's address on loopback: the authority to trust, and the port."""
    videos = {
        "/ocasio.mp4": (SAMPLES / "anitalker-aiface3.mp4").read_bytes(),
        "/faceless.mp4": media.plain_clip(tmp_path / "plain.mp4").read_bytes(),
    }

    def route(request: BaseHTTPRequestHandler) -> None:
        body = videos.get(request.path)
        request.send_response(200 if body else 404)
        request.send_header("Content-Length", str(len(body or b"")))
        request.end_headers()
        request.wfile.write(body or b"")

    authority, context = certificates(tmp_path, HOST)
    with serving(route, context) as port:
        yield authority, port


@pytest.fixture
def server(
    database_url: str, redis_url: str, tmp_path: Path, calibrated_packs: Path, web: tuple[Path, int]
) -> Iterator[str]:
    """API and worker with the compatibility setting on; the address that replaces http://localhost:8000."""
    authority, web_port = web
    port = free_port()
    environment = settings_of(
        database_url,
        redis_url,
        tmp_path,
        packs_directory=str(calibrated_packs),
        compat_predict="true",
        egress_connect_to=json.dumps([f"{HOST}:443:127.0.0.1:{web_port}"]),
        egress_ca_file=str(authority),
        poll_seconds="1",
    )
    stack = Stack(tmp_path, environment)
    try:
        stack.spawn("-m", "uvicorn", "api.main:create_app", "--factory", "--port", str(port), "--log-level", "warning")
        stack.spawn("-m", "worker.duties")
        stack.spawn("-m", "worker")
        url = f"http://localhost:{port}"
        eventually(lambda: answers(f"{url}/healthcheck"), seconds=60, explain=stack.logs)
        yield url
    finally:
        stack.stop()


def call(line: str, server: str) -> dict[str, Any]:
    """Run a line of the README with the port replaced; without curl, send what curl sends."""
    if shutil.which("curl"):
        shown = subprocess.run(
            ["bash", "-c", line.replace("http://localhost:8000", server)], capture_output=True, check=True
        ).stdout
        return dict(json.loads(shown))
    body = line.partition("--data '")[2].rstrip("'")
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    return dict(httpx.post(f"{server}/predict", content=body, headers=form, timeout=120).json())


def test_the_curl_lines_of_the_original_readme_work_as_they_stand(server: str) -> None:
    assert httpx.get(f"{server}/healthcheck").json()["healthy"] is True

    answer = call(LINE, server)

    assert 0 <= answer["df_probability"] <= 1
    assert answer["prediction"] in {"FAKE", "REAL"}
    assert {"start_time", "end_time", "job_id"} <= set(answer)
    assert not {"message", "msg", "error"} & set(answer)

    faceless = call(LINE.replace("ocasio", "faceless"), server)
    assert (faceless["df_probability"], faceless["prediction"]) == (-1, "NO_FACE")

    missing = call(LINE.replace("ocasio", "missing"), server)
    assert "error" in missing
    assert "df_probability" not in missing
