"""`styleflow up` as its users run it: a process of its own with everything it starts."""

from __future__ import annotations

import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest
from dotenv import dotenv_values

from styleflow.cli.stack import free_port
from styleflow.embedded import socket_folder
from tests.test_processes import gone, until

PARTS = {"postgres", "redis", "light-worker", "worker-1", "worker-2", "api"}
START_SECONDS = 120.0


class Up:
    """One `styleflow up`, and the lines that it prints."""

    def __init__(self, home: Path, port: int) -> None:
        self.home = home
        self.url = f"http://127.0.0.1:{port}"
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("STYLEFLOW_")},
            "STYLEFLOW_HOME": str(home),
            "STYLEFLOW_PORT": str(port),
        }
        self.process = subprocess.Popen(
            [sys.executable, "-m", "styleflow.cli.main", "up"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=environment,
        )
        self.lines: queue.Queue[str] = queue.Queue()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.put(line.rstrip())
        self.process.stdout.close()
        self.lines.put("(end)")

    def await_line(self, part: str) -> str:
        """The next line that holds `part`. Fails when the output ends without."""
        while part not in (line := self.lines.get(timeout=START_SECONDS)):
            assert line != "(end)", f"it ended without having said {part!r}"
        return line

    def pids(self) -> dict[str, int]:
        """Part → process, as the pid files have it."""
        return {path.stem: json.loads(path.read_text())["pid"] for path in (self.home / "run").glob("*.json")}

    def end(self, signum: signal.Signals) -> int:
        self.process.send_signal(signum)
        code = self.process.wait(timeout=60)
        self._reader.join()
        return code


def living(home: Path) -> list[psutil.Process]:
    """Every process that belongs to this home: it was told the home, or works on the home's sockets."""
    found = []
    for process in psutil.process_iter():
        try:
            told = process.environ().get("STYLEFLOW_HOME") == str(home)
            if (told or str(socket_folder(home)) in " ".join(process.cmdline())) and not gone(process.pid):
                found.append(process)
        except psutil.Error:
            continue
    return found


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    home = Path(tempfile.mkdtemp(prefix="styleflow-up-"))
    yield home
    shutil.rmtree(socket_folder(home), ignore_errors=True)
    shutil.rmtree(home)


@pytest.fixture(scope="module")
def killed(home: Path) -> dict[str, int]:
    """The processes of an `up` that was killed with SIGKILL while it served."""
    first = Up(home, free_port("127.0.0.1"))
    first.await_line("listening on")
    pids = first.pids()
    first.end(signal.SIGKILL)
    return pids


@pytest.fixture(scope="module")
def up(home: Path, killed: dict[str, int]) -> Iterator[Up]:
    """An `up` that came after the killed one, on the same home."""
    running = Up(home, free_port("127.0.0.1"))
    try:
        running.await_line("listening on")
        yield running
    finally:
        if running.process.poll() is None:
            running.end(signal.SIGINT)


def test_after_a_kill_the_next_start_leaves_one_process_of_each_part(up: Up, killed: dict[str, int]) -> None:
    assert set(killed) == PARTS
    assert all(gone(pid) for pid in killed.values())
    pids = up.pids()
    assert set(pids) == PARTS
    leaders = {process.pid for process in living(up.home) if os.getpgid(process.pid) == process.pid}
    assert leaders - {up.process.pid} >= set(pids.values())
    groups = {os.getpgid(process.pid) for process in living(up.home) if process.name() != "postgres"}
    assert groups - {os.getpgid(up.process.pid)} == set(pids.values()) - {pids["postgres"]}


def test_the_key_that_is_kept_opens_the_api(up: Up) -> None:
    key_file = up.home / "api-key"
    assert key_file.stat().st_mode & 0o777 == 0o600
    with httpx.Client(base_url=up.url, trust_env=False) as client:
        known = client.get("/v1/jobs", headers={"Authorization": f"Bearer {key_file.read_text().strip()}"})
        unknown = client.get("/v1/jobs", headers={"Authorization": "Bearer sfk_live_wrong"})
    assert (known.status_code, unknown.status_code) == (200, 401)


def test_a_key_made_on_the_command_line_opens_the_api(up: Up) -> None:
    made = subprocess.run(
        [sys.executable, "-m", "styleflow.cli.main", "keys", "create", "--project", "other", "--scopes", "jobs:read"],
        env={**os.environ, "STYLEFLOW_HOME": str(up.home)},
        capture_output=True,
        text=True,
        check=True,
    )
    with httpx.Client(base_url=up.url, trust_env=False) as client:
        known = client.get("/v1/jobs", headers={"Authorization": f"Bearer {made.stdout.strip()}"})
    assert known.status_code == 200


@pytest.mark.parametrize("part", ["api", "light-worker", "worker"])
def test_the_health_command_finds_every_part_well(up: Up, part: str) -> None:
    assert until(lambda: _health(part, up) == 0, START_SECONDS)


def test_the_health_command_finds_what_does_not_answer(up: Up) -> None:
    """Another port, and a database in which no worker ever was seen."""
    silent = {
        "STYLEFLOW_PORT": str(free_port("127.0.0.1")),
        "STYLEFLOW_DATABASE_URL": "postgresql+psycopg://x@/x?host=/",
    }
    assert [_health(part, up, **silent) for part in ("api", "light-worker", "worker")] == [1, 1, 1]


def test_a_second_one_on_the_same_home_says_so_and_ends(up: Up) -> None:
    second = Up(up.home, free_port("127.0.0.1"))
    line = second.await_line("error")
    assert line == f"error: {up.home.name} is in use by process {up.process.pid}: stop that first"
    assert second.process.wait(timeout=30) == 1
    assert up.process.poll() is None


def test_a_taken_port_is_told_and_nothing_is_started(up: Up, tmp_path: Path) -> None:
    port = int(up.url.rpartition(":")[2])
    second = Up(tmp_path / "other", port)
    assert second.await_line("error") == (
        f"error: port {port} is taken (Address already in use): choose another with STYLEFLOW_PORT"
    )
    assert second.process.wait(timeout=30) == 1
    assert living(tmp_path / "other") == []


@pytest.mark.parametrize("part", ["api", "postgres", "redis", "light-worker"])
def test_a_part_that_is_killed_is_started_again(up: Up, part: str) -> None:
    before = up.pids()[part]
    os.kill(before, signal.SIGKILL)
    up.await_line(f"{part} ended (SIGKILL)")
    assert until(lambda: up.pids().get(part, before) != before, 30)
    with httpx.Client(base_url=up.url, trust_env=False, timeout=10) as client:
        assert until(lambda: _is_ready(client), 30)


def test_ctrl_c_leaves_nothing_running(up: Up) -> None:
    assert up.end(signal.SIGINT) == 0
    assert living(up.home) == []
    assert list((up.home / "run").glob("*.json")) == []


def _health(part: str, up: Up, **changes: str) -> int:
    told = dotenv_values(up.home / "environment")
    return subprocess.run(
        [sys.executable, "-m", "styleflow.cli.main", "health", part],
        env={**os.environ, **{name: value for name, value in told.items() if value}, **changes},
    ).returncode


def _is_ready(client: httpx.Client) -> bool:
    try:
        answer = client.get("/readyz")
    except httpx.TransportError:
        return False
    return answer.status_code == 200 and answer.json()["status"] == "ok"
