"""The benchmark measures what it says, on a small backlog."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.service.figures import Figure, quantile
from benchmarks.service.load import Server, closed_loop, open_loop
from styleflow.cli import bench
from tests.stack import CHECKOUT, eventually


@given(st.lists(st.floats(0, 1e6), min_size=1), st.floats(0.01, 1))
def test_a_quantile_is_a_measured_value_that_at_least_that_share_does_not_exceed(
    values: list[float], share: float
) -> None:
    found = quantile(values, share)

    assert found in values
    assert sum(value <= found for value in values) >= share * len(values) - 1e-6


@pytest.mark.parametrize(
    ("figure", "met"),
    [
        (Figure("a", 10, "ms", aim=20), True),
        (Figure("a", 21, "ms", aim=20), False),
        (Figure("a", 10, "jobs/s", aim=20, at_least=True), False),
        (Figure("a", 10, "MB"), None),
    ],
)
def test_an_aim_is_a_ceiling_or_a_floor_or_absent(figure: Figure, met: bool | None) -> None:
    assert figure.met is met


def test_an_open_loop_counts_from_when_a_request_was_due_and_does_not_wait_for_a_slow_server() -> None:
    async def slow(pool: object) -> None:
        await asyncio.sleep(0.2)

    begin = time.perf_counter()
    taken = asyncio.run(open_loop(Server("http://127.0.0.1:1", ""), slow, rate=50, seconds=0.4))

    assert len(taken.milliseconds) == 20
    assert min(taken.milliseconds) >= 199
    assert time.perf_counter() - begin < 2.0  # one after the other they would take four seconds


def test_a_closed_loop_never_has_more_requests_under_way_than_clients() -> None:
    most, now = 0, 0

    async def counted(pool: object) -> None:
        nonlocal most, now
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.01)
        now -= 1

    taken = asyncio.run(closed_loop(Server("http://127.0.0.1:1", ""), counted, clients=3, seconds=0.2))

    assert most == 3
    assert len(taken.milliseconds) > 3


def test_the_command_measures_every_phase_on_a_small_backlog(tmp_path: Path) -> None:
    with pytest.raises(bench.typer.Exit) as ended:
        bench.service(rows=300, seconds=0.5, json=tmp_path / "figures.json")

    assert ended.value.exit_code == 0
    figures = {figure["name"]: figure for figure in json.loads((tmp_path / "figures.json").read_text())}
    for name in (
        "POST /v1/jobs at 100/s, open loop, p50",
        "POST /v1/jobs, closed loop of 64",
        "expansion of a batch of 300",
        "GET /v1/jobs, page after page, p50",
        "claim + settle, 16 claimers over 300 queued",
        "Redis memory, most",
    ):
        assert figures[name]["value"] > 0, name


@pytest.fixture
def nowhere_else() -> Iterator[Path]:
    """A folder for temporary files, with a name short enough for sockets, which other accounts may enter."""
    folder = Path(tempfile.mkdtemp(prefix="sfb-"))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def test_a_command_that_is_ended_in_the_middle_leaves_no_process_and_no_files(nowhere_else: Path) -> None:
    command = subprocess.Popen(
        [sys.executable, "-m", "styleflow.cli.main", "bench", "service", "--rows", "300", "--seconds", "30"],
        cwd=CHECKOUT,
        env={**os.environ, "TMPDIR": str(nowhere_else)},
        stderr=subprocess.DEVNULL,
    )
    seen: dict[int, psutil.Process] = {}

    def serves() -> bool:
        seen.update({process.pid: process for process in psutil.Process(command.pid).children(recursive=True)})
        return any("worker.duties" in " ".join(process.cmdline()) for process in seen.values() if process.is_running())

    try:
        eventually(serves, seconds=60)
        command.terminate()
        command.wait(10)
        eventually(lambda: not any(process.is_running() for process in seen.values()), seconds=40)
        eventually(lambda: not list(nowhere_else.iterdir()), seconds=10)
    finally:
        for process in [command, *seen.values()]:
            with suppress(psutil.NoSuchProcess, ProcessLookupError):
                process.kill()
