"""Keeps the children of one machine running: starts them in order, restarts what dies, stops all in reverse."""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from styleflow.errors import ConfigurationError, StyleFlowError
from styleflow.processes import Program, Running, Stopped, spawn, start, tail_of

_STEADY_SECONDS = 60.0
"""A child that lived this long has its earlier deaths forgotten."""


def restart_delay(deaths: int) -> float:
    """Seconds to wait before the start that follows the `deaths`-th death in a row (from 1)."""
    return float(min(30.0, 0.5 * 2 ** min(deaths - 1, 10)))


@dataclass
class _Child:
    running: Running
    deaths: int = 0
    restart_at: float | None = None


class Supervisor:
    """Holds the children; leaving the block stops them, last started first. Use it in the main thread only."""

    def __init__(self, tell: Callable[[str], None] = lambda _: None) -> None:
        self._tell = tell
        self._children: list[_Child] = []
        self._stopping = False
        self._previous: dict[signal.Signals, Any] = {}
        self._wake_reader, self._wake_writer = os.pipe()

    def __enter__(self) -> Supervisor:
        os.set_blocking(self._wake_writer, False)
        self._previous_wakeup = signal.set_wakeup_fd(self._wake_writer, warn_on_full_buffer=False)
        for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            self._previous[signum] = signal.signal(signum, lambda *_: self._ask_to_stop())
        self._previous[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, lambda *_: None)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping = True
        try:
            self.stop()
        finally:
            for signum, handler in self._previous.items():
                signal.signal(signum, handler)
            signal.set_wakeup_fd(self._previous_wakeup)
            os.close(self._wake_reader)
            os.close(self._wake_writer)

    def _ask_to_stop(self) -> None:
        self._stopping = True

    def wake(self) -> None:
        """Make `watch` look at once whether it is to end; may be called from any thread."""
        with suppress(OSError):
            os.write(self._wake_writer, b"\0")

    def start(self, program: Program) -> Running:
        """Start a child, wait until it is ready, and keep it running from then on."""
        running = start(program, interrupted=lambda: self._stopping)
        self._children.append(_Child(running))
        return running

    def run_once(self, program: Program) -> None:
        """Run a step to its end. Raises ConfigurationError when it fails, Stopped."""
        running = spawn(program)
        try:
            while running.process.poll() is None:
                self._pause(running.since + program.ready_seconds)
                if self._stopping:
                    raise Stopped
                if time.monotonic() > running.since + program.ready_seconds:
                    raise ConfigurationError(f"{program.name} did not end in time: {tail_of(program.log)}")
        finally:
            running.stop()
        if running.process.returncode:
            raise ConfigurationError(f"{program.name} failed: {tail_of(program.log)}")

    def watch(self, until: Callable[[], bool] = lambda: False) -> None:
        """Restart what dies, until a signal asks to stop or `until` holds."""
        while not self._stopping and not until():
            for child in self._children:
                self._tend(child)
            due = [child.restart_at for child in self._children if child.restart_at is not None]
            self._pause(min(due, default=time.monotonic() + 1.0))

    def is_stopping(self) -> bool:
        """Whether a signal asked to stop."""
        return self._stopping

    def stop(self) -> None:
        """Stop every child, last started first."""
        while self._children:
            self._children.pop().running.stop()

    def _tend(self, child: _Child) -> None:
        program = child.running.program
        if child.restart_at is None:
            code = child.running.process.poll()
            if code is None:
                return
            child.running.stop()
            lived = time.monotonic() - child.running.since
            child.deaths = 1 if lived > _STEADY_SECONDS else child.deaths + 1
            delay = restart_delay(child.deaths)
            child.restart_at = time.monotonic() + delay
            self._tell(f"{program.name} ended ({_ending(code)}); starting it again in {delay:g} s")
        elif time.monotonic() >= child.restart_at:
            self._restart(child)

    def _restart(self, child: _Child) -> None:
        try:
            child.running = spawn(child.running.program)
        except (StyleFlowError, OSError) as error:
            child.deaths += 1
            child.restart_at = time.monotonic() + restart_delay(child.deaths)
            self._tell(f"{child.running.program.name} cannot be started: {error}")
        else:
            child.restart_at = None

    def _pause(self, until: float) -> None:
        """Wait for that moment (monotonic), a signal, the end of a child, or `wake`."""
        ready, _, _ = select.select([self._wake_reader], [], [], max(0.0, min(1.0, until - time.monotonic())))
        if ready:
            os.read(self._wake_reader, 4096)


def _ending(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"
