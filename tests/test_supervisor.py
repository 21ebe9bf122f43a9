from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from styleflow.errors import ConfigurationError
from styleflow.processes import Program, Stopped
from styleflow.supervisor import Supervisor, restart_delay

SLEEPER = "import time; print('up', flush=True); time.sleep(600)"


def program(folder: Path, name: str, code: str = SLEEPER) -> Program:
    return Program(
        name=name,
        command=(sys.executable, "-c", code),
        log=folder / f"{name}.log",
        pidfile=folder / f"{name}.json",
        is_ready=lambda: "up" in (folder / f"{name}.log").read_text(),
        ready_seconds=10.0,
    )


@given(st.integers(min_value=1, max_value=10_000))
def test_the_delay_before_a_restart_grows_and_stays_within_half_a_minute(deaths: int) -> None:
    assert 0.5 <= restart_delay(deaths) <= restart_delay(deaths + 1) <= 30.0


def test_children_are_stopped_last_started_first(tmp_path: Path) -> None:
    order = tmp_path / "order"
    tells = (
        "import signal, sys, time\n"
        f"signal.signal(signal.SIGTERM, lambda *_: (open({str(order)!r}, 'a').write(sys.argv[1]), sys.exit()))\n"
        "print('up', flush=True)\n"
        "time.sleep(600)\n"
    )
    with Supervisor() as supervisor:
        for name in "abc":
            one = program(tmp_path, name)
            supervisor.start(Program(**{**vars(one), "command": (sys.executable, "-c", tells, name)}))
    assert order.read_text() == "cba"


def test_a_child_that_dies_is_started_again_and_it_is_told(tmp_path: Path) -> None:
    told: list[str] = []
    with Supervisor(told.append) as supervisor:
        first = supervisor.start(program(tmp_path, "child")).process.pid
        os.kill(first, signal.SIGKILL)
        supervisor.watch(until=lambda: (tmp_path / "child.log").read_text().count("up") == 2)
    assert told == ["child ended (SIGKILL); starting it again in 0.5 s"]


def test_a_child_that_keeps_dying_is_given_longer_pauses(tmp_path: Path) -> None:
    told: list[str] = []
    with Supervisor(told.append) as supervisor:
        supervisor.start(program(tmp_path, "child", "print('up', flush=True)"))
        supervisor.watch(until=lambda: len(told) == 2)
    assert [line.rpartition(" in ")[2] for line in told] == ["0.5 s", "1 s"]


def test_a_signal_ends_the_watch_and_the_earlier_handlers_come_back(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGTERM)
    with Supervisor() as supervisor:
        running = supervisor.start(program(tmp_path, "child"))
        threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGTERM)).start()
        supervisor.watch()
        assert supervisor.is_stopping()
    assert running.process.poll() is not None
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_signal_during_a_start_stops_what_was_starting(tmp_path: Path) -> None:
    slow = program(tmp_path, "slow", "import time; time.sleep(600)")
    slow = Program(**{**vars(slow), "prepare": lambda: os.kill(os.getpid(), signal.SIGINT)})
    with Supervisor() as supervisor, pytest.raises(Stopped):
        supervisor.start(slow)
    assert not slow.pidfile.exists()


def test_a_step_is_carried_out_to_its_end(tmp_path: Path) -> None:
    with Supervisor() as supervisor:
        supervisor.run_once(program(tmp_path, "step", "print('done')"))
    assert (tmp_path / "step.log").read_text() == "done\n"


def test_a_step_that_fails_is_an_error_with_its_last_words(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="step failed: no room left"), Supervisor() as supervisor:
        supervisor.run_once(program(tmp_path, "step", "raise SystemExit('no room left')"))
