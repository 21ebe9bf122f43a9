"""Child processes that are never left behind.

Three things end a child: its parent's stop, the kernel when the parent dies (Linux), and, for what slipped through
both, the next start, which finds it by the pid file that every start writes.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import psutil

from styleflow.errors import ConfigurationError

_PR_SET_PDEATHSIG = 1
_LARGEST_LOG = 16 << 20
_CLOCK_TOLERANCE = 2.0
"""Seconds by which the reckoned start time of one process may move with the machine's clock."""


class Account(Protocol):
    """Whose rights a program runs with; `pwd.struct_passwd` is one."""

    @property
    def pw_uid(self) -> int: ...
    @property
    def pw_gid(self) -> int: ...


class Stopped(Exception):
    """A signal asked to stop while something was still starting."""


@dataclass(frozen=True, kw_only=True)
class Program:
    """What to run and how to tell that it runs. `environment` replaces the parent's when given."""

    name: str
    command: tuple[str, ...]
    log: Path
    pidfile: Path
    environment: Mapping[str, str] | None = None
    folder: Path | None = None
    account: Account | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    stop_seconds: float = 20.0
    prepare: Callable[[], None] = lambda: None
    """Called before every start, after leftovers of an earlier one are gone."""
    is_ready: Callable[[], bool] = lambda: True
    ready_seconds: float = 60.0


@dataclass(frozen=True)
class Running:
    """A program that was started."""

    program: Program
    process: subprocess.Popen[bytes]
    since: float = field(default_factory=time.monotonic)

    def stop(self, timeout: float | None = None) -> None:
        """End it cleanly, kill it when it does not go, and kill what it left in its process group."""
        if self.process.poll() is None:
            self.process.send_signal(self.program.stop_signal)
        try:
            self.process.wait(self.program.stop_seconds if timeout is None else timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.program.pidfile.unlink(missing_ok=True)


def start(program: Program, *, interrupted: Callable[[], bool] = lambda: False) -> Running:
    """Start and wait until it is ready. Raises ConfigurationError with the log's last lines, Stopped."""
    running = spawn(program)
    try:
        _await_ready(running, interrupted)
    except BaseException:
        running.stop()
        raise
    return running


def spawn(program: Program) -> Running:
    """Start without waiting. Call it from the main thread: the kernel ties the child's life to the calling one."""
    reclaim(program.pidfile, patience=program.stop_seconds)
    program.prepare()
    program.log.parent.mkdir(parents=True, exist_ok=True)
    if program.log.exists() and program.log.stat().st_size > _LARGEST_LOG:
        program.log.replace(program.log.with_suffix(".log.1"))
    with program.log.open("ab") as log:
        process = subprocess.Popen(
            program.command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=program.folder,
            env=program.environment,
            preexec_fn=die_with_parent(program.stop_signal),
            process_group=0,  # a terminal's Ctrl-C must reach the supervisor alone, which stops in order
            **as_user(program.account),
        )
    _write_pidfile(program.pidfile, process.pid)
    return Running(program, process)


def die_with_parent(signum: signal.Signals) -> Callable[[], None]:
    """For `preexec_fn`: ask the kernel to send `signum` when the parent is gone (Linux; elsewhere nothing)."""
    if sys.platform != "linux":
        return lambda: None
    prctl = ctypes.CDLL(None).prctl
    parent = os.getpid()

    def ask() -> None:
        prctl(_PR_SET_PDEATHSIG, int(signum), 0, 0, 0)
        if os.getppid() != parent:  # it died before the kernel was asked
            os._exit(1)

    return ask


def as_user(account: Account | None) -> dict[str, Any]:
    """Arguments of `subprocess` that run a program with that account's rights."""
    return {} if account is None else {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}


def _await_ready(running: Running, interrupted: Callable[[], bool]) -> None:
    program = running.program
    deadline = time.monotonic() + program.ready_seconds
    while not program.is_ready():
        if interrupted():
            raise Stopped
        if running.process.poll() is not None or time.monotonic() > deadline:
            raise ConfigurationError(f"{program.name} did not start: {tail_of(program.log)}")
        time.sleep(0.02)


def tail_of(log: Path) -> str:
    """The last lines of a log, in one line."""
    lines = log.read_text(errors="replace").strip().splitlines()
    return " / ".join(lines[-3:]) or "it wrote nothing"


# --- what earlier runs left behind ----------------------------------------------------------------


def _write_pidfile(pidfile: Path, pid: int) -> None:
    if (started := _start_time(pid)) is None:
        return
    pidfile.parent.mkdir(parents=True, exist_ok=True)
    draft = pidfile.with_suffix(".new")
    draft.write_text(json.dumps({"pid": pid, "started": started}))
    draft.replace(pidfile)


def _start_time(pid: int) -> float | None:
    try:
        return float(psutil.Process(pid).create_time())
    except psutil.NoSuchProcess:
        return None


def reclaim(pidfile: Path, *, patience: float = 20.0) -> None:
    """End the process that `pidfile` names, and its process group, if they still are what an earlier run started."""
    try:
        noted = json.loads(pidfile.read_text())
        pid, started = int(noted["pid"]), float(noted["started"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return
    # Another start time: the number was handed out again. No such process: its group may live on without it.
    if (found := _start_time(pid)) is None or abs(found - started) < _CLOCK_TOLERANCE:
        end(_group(pid), patience=patience)
    pidfile.unlink(missing_ok=True)


def _group(pid: int) -> list[psutil.Process]:
    members = []
    for process in psutil.process_iter():
        with suppress(ProcessLookupError, PermissionError):
            if os.getpgid(process.pid) == pid:
                members.append(process)
    return members


def end(processes: list[psutil.Process], *, first: signal.Signals = signal.SIGTERM, patience: float = 20.0) -> None:
    """Ask, wait, kill, wait. Returns when none of them runs any more."""
    for signum, seconds in ((first, patience), (signal.SIGKILL, 30.0)):
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(signum)
        deadline = time.monotonic() + seconds
        while (processes := [process for process in processes if _runs(process)]) and time.monotonic() < deadline:
            time.sleep(0.02)


def _runs(process: psutil.Process) -> bool:
    """A zombie does not: where nothing reaps orphans it stays for ever."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


@contextmanager
def hold(home: Path) -> Iterator[None]:
    """Keep `home` for this process alone. Raises ConfigurationError while another has it; a dead one has nothing."""
    home.mkdir(mode=0o711, parents=True, exist_ok=True)  # nobody lists it; PostgreSQL's account passes through
    with (home / "lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise ConfigurationError(
                f"{home.name} is in use by process {lock.read().strip()}: stop that first"
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield
