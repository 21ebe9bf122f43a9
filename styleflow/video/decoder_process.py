"""The decoder as the parent sees it: a child process that answers, or whose end is an error with a name."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from styleflow import errors
from styleflow.errors import DecoderCrash, DecodeTimeout, InternalFailure, JobError, MediaError
from styleflow.video.confinement import Layer, is_enough
from styleflow.video.inlet import Inlet, PipeBroken, PipeStalled
from styleflow.video.probe import MediaLimits
from styleflow.video.wire import Head, Kind, read_json

START_SECONDS = 60.0
"""A busy machine may take long to start an interpreter; that is not the video's fault."""
EXIT_SECONDS = 5.0
STALLS_BEFORE_FACTS = 3
"""A header is read, and one frame decoded, in so many times the longest silence, whatever the signs of life."""
LONGEST_MESSAGE = 300
PACKAGE_ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, kw_only=True)
class SandboxLimits:
    """What one decoder may use."""

    memory_bytes: int = 2 * 2**30
    """Address space, which is more than what is resident."""
    cpu_seconds: int = 3600
    stall_seconds: float = 20.0
    """Longest wait for the next sign of life."""
    frame_seconds: float = 600.0
    """Longest wait for the next frame, signs of life or not: the way to a far start may be long."""
    total_seconds: float = 7200.0
    """Longest wait for all frames together; time that the caller spends on them does not count."""
    confinement_required: bool = False
    """Start no decoder that is not confined well enough (`confinement.is_enough`)."""


@dataclass(frozen=True)
class DecoderProcess:
    """A running child. `receive` and `ask` raise DecoderCrash when it died and DecodeTimeout when it is too slow."""

    _child: subprocess.Popen[bytes]
    _inlet: Inlet
    layers: frozenset[Layer] = frozenset()
    """What confines it."""
    sandbox: SandboxLimits = field(default_factory=SandboxLimits)

    @property
    def pid(self) -> int:
        return self._child.pid

    def ask(self, value: dict[str, Any], tick: Callable[[], None] = lambda: None) -> None:
        """Send one line of JSON: the plan. From now on the limits for frames hold."""
        self._inlet.patience_seconds = self.sandbox.frame_seconds
        with self._failures():
            self._inlet.ask(value, tick)

    def receive(
        self, frame_width: int, frame_height: int, tick: Callable[[], None] = lambda: None
    ) -> tuple[Head, bytearray]:
        """The next message that is more than a sign of life; a frame must have the given size in pixels.

        `tick` is called about twice a second while it is waited for; it may raise. Raises the MediaError or the
        InternalFailure that the child reports, if it reports one.
        """
        with self._failures():
            head, payload = self._inlet.receive(frame_width, frame_height, tick)
            if head.kind is Kind.ERROR:
                raise reported_error(read_json(payload))
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
def decoder_process(
    fd: int | None,
    size_bytes: int,
    limits: MediaLimits,
    sandbox: SandboxLimits,
    tick: Callable[[], None] = lambda: None,
) -> Iterator[DecoderProcess]:
    """Start a decoder on the file behind a descriptor; killed and reaped on leaving, whatever happened.

    Without a descriptor it ends once it is confined. `tick` is called about twice a second until it is. Raises
    InternalFailure when it does not come up, or is confined less well than is required.
    """
    child = subprocess.Popen(
        [sys.executable, "-s", "-P", "-m", "styleflow.video.sandbox_child"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        bufsize=0,
        pass_fds=() if fd is None else (fd,),
        cwd="/",
        env=clean_environment(),
        # Signals of a terminal are for the parent, which then ends the child itself.
        start_new_session=True,
    )
    with child:
        try:
            inlet = Inlet(child)
            inlet.stall_seconds = START_SECONDS
            layers = _bring_up(inlet, task(fd, size_bytes, limits, sandbox), tick)
            if sandbox.confinement_required and not is_enough(layers):
                raise InternalFailure(weakness(layers))
            inlet.stall_seconds = sandbox.stall_seconds
            inlet.patience_seconds = STALLS_BEFORE_FACTS * sandbox.stall_seconds
            inlet.total_seconds = sandbox.total_seconds
            yield DecoderProcess(child, inlet, layers, sandbox)
        finally:
            child.kill()


def _bring_up(inlet: Inlet, first_task: dict[str, Any], tick: Callable[[], None]) -> frozenset[Layer]:
    """What the child says to be confined by. It has not touched the video yet, and is believed."""
    try:
        inlet.ask(first_task, tick)
        head, payload = inlet.receive(0, 0, tick)
        if head.kind is not Kind.READY:
            raise ValueError("no greeting")
        return frozenset(Layer(name) for name in json.loads(payload)["layers"])
    except (PipeBroken, PipeStalled, ValueError) as error:
        raise InternalFailure("No decoder could be started.") from error


def confinement_here(sandbox: SandboxLimits) -> frozenset[Layer]:
    """Start a decoder on nothing, to see what confines one here.

    Raises InternalFailure when none comes up, or it is confined less well than is required.
    """
    with decoder_process(None, 0, MediaLimits(), sandbox) as decoder:
        return decoder.layers


def weakness(layers: frozenset[Layer]) -> str:
    """A sentence for whoever runs the service."""
    return (
        "The decoder cannot be confined here as is required: that takes a start as root, which it gives up, or a kernel"
        f" and a container that permit both Landlock and seccomp. What holds: {', '.join(sorted(layers)) or 'nothing'}."
    )


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


def task(fd: int | None, size_bytes: int, limits: MediaLimits, sandbox: SandboxLimits) -> dict[str, Any]:
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
        "confinement_required": sandbox.confinement_required,
    }


def how_it_ended(returncode: int) -> str:
    """A sentence about a decoder's exit status (negative: the signal that ended it)."""
    if returncode == -signal.SIGXCPU:
        return "The decoder used more processor time than is allowed."
    if returncode < 0:
        return f"The decoder was ended on this file: {signal.strsignal(-returncode)}."
    return "The decoder stopped on this file before it was done."


def reported_error(report: object) -> JobError:
    """The error that a child's report names; DecoderCrash when it names none that is the child's to name."""
    named = report if isinstance(report, dict) else {}
    if named.get("error") == InternalFailure.__name__:
        return InternalFailure("The decoder could not read its own installation.")
    kind = getattr(errors, str(named.get("error")), None)
    if not (isinstance(kind, type) and issubclass(kind, MediaError)):
        return DecoderCrash("The decoder reported an error of no known kind.")
    return kind(readable(str(named.get("message", ""))))


def readable(text: str) -> str:
    """At most so much of a stranger's text as a message holds, and nothing that a page or a database chokes on."""
    return "".join(letter for letter in text[:LONGEST_MESSAGE] if letter.isprintable())
