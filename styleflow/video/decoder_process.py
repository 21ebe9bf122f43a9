"""The decoder as the parent sees it: a child process that answers, or whose end is an error with a name."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from styleflow import errors
from styleflow.errors import DecoderCrash, DecodeTimeout, InternalFailure, MediaError
from styleflow.video.inlet import Inlet, PipeBroken, PipeStalled
from styleflow.video.probe import MediaLimits
from styleflow.video.wire import Head, Kind

START_SECONDS = 60.0
"""A busy machine may take long to start an interpreter; that is not the video's fault."""
EXIT_SECONDS = 5.0
LONGEST_MESSAGE = 300
PACKAGE_ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, kw_only=True)
class SandboxLimits:
    """What one decoder may use."""

    memory_bytes: int = 2 * 2**30
    """Address space, which is more than what is resident."""
    cpu_seconds: int = 3600
    stall_seconds: float = 20.0
    """Longest wait for the next sign of progress."""


class DecoderProcess:
    """A running child. `receive` and `ask` raise DecoderCrash when it died and DecodeTimeout when it is silent."""

    def __init__(self, child: subprocess.Popen[bytes], inlet: Inlet) -> None:
        self._child, self._inlet = child, inlet

    @property
    def pid(self) -> int:
        return self._child.pid

    def ask(self, value: dict[str, Any]) -> None:
        """Send one line of JSON."""
        with self._failures():
            self._inlet.ask(value)

    def receive(
        self, frame_width: int, frame_height: int, tick: Callable[[], None] = lambda: None
    ) -> tuple[Head, bytearray]:
        """The next message that is no tick; a frame must have the given size in pixels.

        Raises the MediaError that the child reports, if it reports one.
        """
        with self._failures():
            head, payload = self._inlet.receive(frame_width, frame_height, tick)
            if head.kind is Kind.ERROR:
                raise reported_error(json.loads(payload))
        return head, payload

    @contextmanager
    def _failures(self) -> Iterator[None]:
        try:
            yield
        except PipeStalled as error:
            raise DecodeTimeout from error
        except PipeBroken as error:
            raise DecoderCrash(how_it_ended(self._exit_status())) from error
        except ValueError as error:
            raise DecoderCrash("The decoder sent something that is no message.") from error

    def _exit_status(self) -> int:
        try:
            return self._child.wait(EXIT_SECONDS)
        except subprocess.TimeoutExpired:
            self._child.kill()
            return self._child.wait()


@contextmanager
def decoder_process(fd: int, size_bytes: int, limits: MediaLimits, sandbox: SandboxLimits) -> Iterator[DecoderProcess]:
    """Start a decoder on the file behind a descriptor; killed and reaped on leaving, whatever happened.

    Raises InternalFailure when it does not come up.
    """
    child = subprocess.Popen(
        [sys.executable, "-s", "-P", "-m", "styleflow.video.sandbox_child"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        bufsize=0,
        pass_fds=(fd,),
        cwd="/",
        env=clean_environment(),
        # Signals of a terminal are for the parent, which then ends the child itself.
        start_new_session=True,
    )
    with child:
        try:
            inlet = Inlet(child)
            inlet.stall_seconds = START_SECONDS
            _bring_up(inlet, task(fd, size_bytes, limits, sandbox))
            inlet.stall_seconds = sandbox.stall_seconds
            yield DecoderProcess(child, inlet)
        finally:
            child.kill()


def _bring_up(inlet: Inlet, first_task: dict[str, Any]) -> None:
    try:
        inlet.ask(first_task)
        head, _ = inlet.receive(0, 0)
    except (PipeBroken, PipeStalled, ValueError) as error:
        raise InternalFailure("No decoder could be started.") from error
    if head.kind is not Kind.READY:
        raise InternalFailure("No decoder could be started.")


def clean_environment() -> dict[str, str]:
    """All that the child sees of ours: where to import from. One thread per library saves address space."""
    return {
        "PYTHONPATH": str(PACKAGE_ROOT),
        "PYTHONDONTWRITEBYTECODE": "1",
        "LC_ALL": "C.UTF-8",
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
    }


def task(fd: int, size_bytes: int, limits: MediaLimits, sandbox: SandboxLimits) -> dict[str, Any]:
    """What the child is told first, ready for JSON."""
    lists = {"containers": sorted(limits.containers), "codecs": sorted(limits.codecs)}
    return {
        "fd": fd,
        "size_bytes": size_bytes,
        "limits": {**asdict(limits), **lists},
        "confinement": {
            "parent": os.getpid(),
            "memory_bytes": sandbox.memory_bytes,
            "cpu_seconds": sandbox.cpu_seconds,
        },
    }


def how_it_ended(returncode: int) -> str:
    """A sentence about a decoder's exit status (negative: the signal that ended it)."""
    if returncode == -signal.SIGXCPU:
        return "The decoder used more processor time than is allowed."
    if returncode < 0:
        return f"The decoder was ended on this file: {signal.strsignal(-returncode)}."
    return "The decoder stopped on this file before it was done."


def reported_error(report: object) -> MediaError:
    """The error that a child's report names; DecoderCrash when it names none of ours."""
    named = report if isinstance(report, dict) else {}
    kind = getattr(errors, str(named.get("error")), None)
    if not (isinstance(kind, type) and issubclass(kind, MediaError)):
        return DecoderCrash("The decoder reported an error of no known kind.")
    return kind(str(named.get("message", ""))[:LONGEST_MESSAGE])
