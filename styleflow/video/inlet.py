"""The parent's end of the pipes to a decoder: questions out, messages in, each within a time limit.

Time counts as waited only while this process was there to wait: a pause of it (SIGSTOP, a suspended machine) adds half
a second at most, so that a decoder is not given up for a pause that it had no part in.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import subprocess
import time
from collections.abc import Callable
from typing import Any

from styleflow.video.wire import HEAD, Head, Kind, unpack

PIPE_BYTES = 2**20
"""The largest pipe that needs no privilege; a frame then takes a few switches between processes, not a hundred."""
TICK_SECONDS = 0.5
"""How often the caller of `receive` is told that it goes on waiting."""
SIGNS_A_SECOND = 2
"""Signs of life taken from a child, on average over its life; an honest one sends one a second."""
SPARE_SIGNS = 10


class PipeBroken(Exception):
    """The decoder closed its end."""


class PipeStalled(Exception):
    """The decoder sent nothing in time."""


class Inlet:
    """Speaks to a child's standard input and output. Every limit is seconds of waiting, and passing it PipeStalled."""

    def __init__(self, child: subprocess.Popen[bytes]) -> None:
        assert child.stdin is not None
        assert child.stdout is not None
        self._questions, self._fd = child.stdin.fileno(), child.stdout.fileno()
        self.stall_seconds = 20.0
        """Longest wait for one message, be it a sign of life."""
        self.patience_seconds = float("inf")
        """Longest wait for a message that is more than a sign of life."""
        self.total_seconds = float("inf")
        """Longest wait for all messages together."""
        self._waited = 0.0
        self._started = time.monotonic()
        self._signs = 0
        for fd in (self._questions, self._fd):
            os.set_blocking(fd, False)
        with contextlib.suppress(OSError, AttributeError):
            # Not on macOS, and refused where the user's pipes are full already: then it is only slower.
            fcntl.fcntl(self._fd, fcntl.F_SETPIPE_SZ, PIPE_BYTES)

    def ask(self, value: dict[str, Any], tick: Callable[[], None] = lambda: None) -> None:
        """Send one line of JSON. Raises PipeBroken or PipeStalled."""
        rest = memoryview(json.dumps(value).encode() + b"\n")
        wait = _Wait(self._questions, select.POLLOUT, tick)
        try:
            while rest:
                self._wait(wait, self.stall_seconds)
                with contextlib.suppress(BlockingIOError):
                    rest = rest[os.write(self._questions, rest) :]
        except OSError as error:
            raise PipeBroken from error

    def receive(
        self, frame_width: int, frame_height: int, tick: Callable[[], None] = lambda: None
    ) -> tuple[Head, bytearray]:
        """The next message that is more than a sign of life; a frame must have the given size in pixels.

        `tick` is called about twice a second while it is waited for; what it raises goes through. Raises PipeBroken,
        PipeStalled, or ValueError for what is no message.
        """
        wait = _Wait(self._fd, select.POLLIN, tick)
        while True:
            until = min(wait.seconds + self.stall_seconds, self.patience_seconds)
            head = unpack(bytes(self._read(HEAD.size, wait, until)), frame_width, frame_height)
            payload = self._read(head.payload_bytes, wait, until)
            if head.kind is not Kind.TICK:
                return head, payload
            self._count_sign()

    def _count_sign(self) -> None:
        self._signs += 1
        if self._signs > SPARE_SIGNS + SIGNS_A_SECOND * (time.monotonic() - self._started):
            raise ValueError("a flood of signs of life")

    def _read(self, size: int, wait: _Wait, until: float) -> bytearray:
        data = bytearray(size)
        rest = memoryview(data)
        while rest:
            self._wait(wait, until)
            try:
                got = os.readv(self._fd, [rest])
            except BlockingIOError:
                continue
            if not got:
                raise PipeBroken
            rest = rest[got:]
        return data

    def _wait(self, wait: _Wait, until: float) -> None:
        """Return when the descriptor is ready. `until` is held against the seconds of this wait."""
        ready = False
        while not ready:
            left = min(until - wait.seconds, self.total_seconds - self._waited)
            ready, seconds = wait.some(left)
            self._waited += seconds
            if not ready and seconds >= left:
                raise PipeStalled


class _Wait:
    """Waiting for one descriptor in small steps, with a word to the caller about twice a second."""

    def __init__(self, fd: int, event: int, tick: Callable[[], None]) -> None:
        self.seconds = 0.0
        """Waited so far."""
        self._tick = tick
        self._told = time.monotonic()
        self._poll = select.poll()
        self._poll.register(fd, event)

    def some(self, most: float) -> tuple[bool, float]:
        """Wait for at most so many seconds; returns whether the descriptor is ready, and the seconds waited."""
        asked = min(TICK_SECONDS, max(0.0, most))
        began = time.monotonic()
        ready = bool(self._poll.poll(asked * 1000))
        now = time.monotonic()
        # More than was asked for was not waiting but a pause of this process.
        seconds = min(now - began, asked) if ready else asked
        self.seconds += seconds
        if now - self._told >= TICK_SECONDS:
            self._told = now
            self._tick()
        return ready, seconds
