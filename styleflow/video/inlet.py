"""The parent's end of the pipes to a decoder: one question out, messages in, each within a time limit."""

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


class PipeBroken(Exception):
    """The decoder closed its end."""


class PipeStalled(Exception):
    """The decoder sent nothing in time."""


class Inlet:
    """Reads what a child writes to its standard output. `stall_seconds` is the longest wait for a message."""

    def __init__(self, child: subprocess.Popen[bytes]) -> None:
        assert child.stdin is not None
        assert child.stdout is not None
        self._questions, self._fd = child.stdin.fileno(), child.stdout.fileno()
        self.stall_seconds = 20.0
        os.set_blocking(self._fd, False)
        with contextlib.suppress(OSError, AttributeError):
            # Not on macOS, and refused where the user's pipes are full already: then it is only slower.
            fcntl.fcntl(self._fd, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        self._poll = select.poll()
        self._poll.register(self._fd, select.POLLIN)

    def ask(self, value: dict[str, Any]) -> None:
        """Send one line of JSON. Raises PipeBroken."""
        rest = memoryview(json.dumps(value).encode() + b"\n")
        try:
            while rest:
                rest = rest[os.write(self._questions, rest) :]
        except OSError as error:
            raise PipeBroken from error

    def receive(
        self, frame_width: int, frame_height: int, tick: Callable[[], None] = lambda: None
    ) -> tuple[Head, bytearray]:
        """The next message that is no tick; a frame must have the given size in pixels. Calls `tick` at each tick.

        Raises PipeBroken, PipeStalled, or ValueError for what is no message.
        """
        while True:
            deadline = time.monotonic() + self.stall_seconds
            head = unpack(bytes(self._read(HEAD.size, deadline)), frame_width, frame_height)
            payload = self._read(head.payload_bytes, deadline)
            if head.kind is not Kind.TICK:
                return head, payload
            tick()

    def _read(self, size: int, deadline: float) -> bytearray:
        data = bytearray(size)
        rest = memoryview(data)
        while rest:
            if not self._poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
                raise PipeStalled
            try:
                got = os.readv(self._fd, [rest])
            except BlockingIOError:
                continue
            if not got:
                raise PipeBroken
            rest = rest[got:]
        return data
