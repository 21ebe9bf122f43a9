from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from styleflow.errors import ConfigurationError
from styleflow.processes import Program, Running, hold, reclaim, spawn, start

SLEEPER = "import sys, time; print('up', flush=True); time.sleep(600)"
IGNORES_TERM = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"
)
WITH_CHILD = "import subprocess, time; subprocess.Popen(['sleep', '600']); print('up', flush=True); time.sleep(600)"


def program(folder: Path, code: str, **changes: object) -> Program:
    log = folder / "child.log"
    values: dict[str, object] = {
        "name": "child",
        "command": (sys.executable, "-c", code),
        "log": log,
        "pidfile": folder / "child.json",
        "is_ready": lambda: log.exists() and "up" in log.read_text(),
        "ready_seconds": 10.0,
        **changes,
    }
    return Program(**values)  # type: ignore[arg-type]  # a test's shorthand


@pytest.fixture
def ended() -> Iterator[list[Running]]:
    """Whatever a test puts here is stopped after it."""
    started: list[Running] = []
    yield started
    for running in started:
        running.stop(1)


def until(holds: Callable[[], bool], seconds: float = 10.0) -> bool:
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_a_started_program_is_ready_and_a_stopped_one_is_gone_with_its_pid_file(tmp_path: Path) -> None:
    running = start(program(tmp_path, SLEEPER))
    assert (tmp_path / "child.log").read_text() == "up\n"
    running.stop()
    assert running.process.returncode == -signal.SIGTERM
    assert not (tmp_path / "child.json").exists()


def test_a_program_that_ignores_the_signal_is_killed(tmp_path: Path) -> None:
    running = start(program(tmp_path, IGNORES_TERM))
    running.stop(0.2)
    assert running.process.returncode == -signal.SIGKILL


def test_what_a_program_started_itself_ends_with_it(tmp_path: Path) -> None:
    running = start(program(tmp_path, WITH_CHILD))
    (grandchild,) = psutil.Process(running.process.pid).children()
    running.stop()
    assert until(lambda: gone(grandchild.pid))


def test_a_program_that_ends_before_it_is_ready_is_told_with_its_last_words(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="child did not start: no such colour"):
        start(program(tmp_path, "raise SystemExit('no such colour')"))


def test_a_program_that_is_not_ready_in_time_is_stopped(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="child did not start"):
        start(program(tmp_path, SLEEPER, is_ready=lambda: False, ready_seconds=0.2))
    assert not (tmp_path / "child.json").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's help is Linux's")
def test_a_child_dies_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    owner = _owner_of(tmp_path, SLEEPER)
    child = json.loads((tmp_path / "child.json").read_text())["pid"]
    owner.kill()
    owner.wait()
    assert until(lambda: gone(child))


def test_the_next_start_ends_what_a_killed_parent_left_behind(tmp_path: Path, ended: list[Running]) -> None:
    """The first one ignores the kernel's signal, so only its pid file leads to it."""
    owner = _owner_of(tmp_path, IGNORES_TERM)
    first = json.loads((tmp_path / "child.json").read_text())["pid"]
    owner.kill()
    owner.wait()
    assert not gone(first)
    ended.append(spawn(program(tmp_path, SLEEPER, stop_seconds=0.3)))
    assert gone(first)


def test_a_reclaimed_leader_takes_its_group_along_even_when_it_is_dead_already(tmp_path: Path) -> None:
    running = start(program(tmp_path, WITH_CHILD))
    (grandchild,) = psutil.Process(running.process.pid).children()
    running.process.kill()
    running.process.wait()
    assert not gone(grandchild.pid)
    reclaim(tmp_path / "child.json")
    assert gone(grandchild.pid)


def test_a_process_that_merely_got_the_same_number_is_left_alone(tmp_path: Path, ended: list[Running]) -> None:
    ended.append(start(program(tmp_path, SLEEPER)))
    stranger = ended[0].process.pid
    pidfile = tmp_path / "other.json"
    pidfile.write_text(json.dumps({"pid": stranger, "started": time.time() - 3600}))
    reclaim(pidfile)
    assert ended[0].process.poll() is None
    assert not pidfile.exists()


@pytest.mark.parametrize("content", ["", "{}", "null", "[1]", '{"pid": "x", "started": 1}'])
def test_a_pid_file_that_says_nothing_is_ignored(tmp_path: Path, content: str) -> None:
    pidfile = tmp_path / "broken.json"
    pidfile.write_text(content)
    reclaim(pidfile)


def test_a_home_that_is_held_is_refused_in_one_sentence(tmp_path: Path) -> None:
    code = f"from pathlib import Path; from styleflow.processes import hold\nwith hold(Path({str(tmp_path)!r})): pass"
    with hold(tmp_path):
        other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert f"in use by process {os.getpid()}: stop that first" in other.stderr.splitlines()[-1]
    with hold(tmp_path):
        pass


def _owner_of(folder: Path, code: str) -> subprocess.Popen[bytes]:
    """A process that started the child and then waits."""
    script = (
        "import sys; sys.path.insert(0, '.')\n"
        "from pathlib import Path\n"
        "from styleflow.processes import start\n"
        "from tests.test_processes import program\n"
        f"start(program(Path({str(folder)!r}), {code!r}))\n"
        "print('started', flush=True)\n"
        "import time; time.sleep(600)\n"
    )
    owner = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    assert owner.stdout is not None
    assert owner.stdout.readline() == b"started\n"
    owner.stdout.close()
    return owner
