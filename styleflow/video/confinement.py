"""What a process gives up before it touches untrusted bytes. Linux; elsewhere the resource limits alone hold.

Called by the decoder's child on itself, after its imports: it may not be able to read them afterwards.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
import sys
from collections.abc import Set
from enum import StrEnum

from styleflow.video.landlock import give_up_paths
from styleflow.video.seccomp import give_up_calls

NOBODY = 65534
PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_NO_NEW_PRIVS = 38
CLONE_NEWUSER = 0x10000000
CLONE_NEWNET = 0x40000000
OPEN_FILES = 32


class Layer(StrEnum):
    """One thing that keeps a decoder which was taken over from the worker and the rest of the machine."""

    USER = "user"
    """It is nobody, and the worker is root."""
    NETWORK = "network"
    """It has a network of its own with nothing in it."""
    LANDLOCK = "landlock"
    """It has no right to any path."""
    SECCOMP = "seccomp"
    """It can make only the system calls that decoding takes."""


def is_enough(layers: Set[Layer]) -> bool:
    """Whether the worker's files, memory and life are out of reach: by another user, or by both filters."""
    return Layer.USER in layers or {Layer.LANDLOCK, Layer.SECCOMP} <= layers


def confine(*, parent: int, memory_bytes: int, cpu_seconds: int) -> frozenset[Layer]:
    """Drop network, user and privileges where permitted, cap memory, CPU time and files, then drop paths and calls.

    `parent` is the process id whose death ends this process too. Returns the layers that hold: a container or an old
    kernel may forbid any of them. The caps are not optional, and raise OSError or ValueError. To be called while there
    is one thread: the last two layers hold for the calling thread only.
    """
    layers: frozenset[Layer] = frozenset()
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        layers |= _leave(libc)
        _control(libc, PR_SET_NO_NEW_PRIVS, 1)
        # After the change of user, which clears it.
        _control(libc, PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(0)
    cap_resources(memory_bytes, cpu_seconds)
    if sys.platform == "linux":
        # The filter of calls comes last: none of the above gets past it.
        steps = {Layer.LANDLOCK: give_up_paths, Layer.SECCOMP: give_up_calls}
        layers |= {layer for layer, step in steps.items() if step(libc)}
    return layers


def _leave(libc: ctypes.CDLL) -> set[Layer]:
    """Leave the network and the user."""
    offline = libc.unshare(CLONE_NEWNET) == 0
    dropped = drop_user()
    # Whoever may not leave the network directly often may within a user namespace of their own.
    offline = offline or libc.unshare(CLONE_NEWUSER | CLONE_NEWNET) == 0
    held = {Layer.USER: dropped, Layer.NETWORK: offline}
    return {layer for layer, holds in held.items() if holds}


def keep_memory_to_ourselves() -> None:
    """Let no other process of our user read our memory and the environment we were started with, or trace us.

    For the parent. Does not carry over to programs that it starts. Only root still gets a core dump or a debugger.
    """
    if sys.platform == "linux":
        _control(ctypes.CDLL(None), PR_SET_DUMPABLE, 0)


def _control(libc: ctypes.CDLL, option: int, value: int) -> None:
    libc.prctl(option, *(ctypes.c_ulong(argument) for argument in (value, 0, 0, 0)))


def drop_user() -> bool:
    """Become nobody when we are root; returns whether we did."""
    if os.geteuid() != 0:
        return False
    with contextlib.suppress(OSError):
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
    return os.getresuid() == (NOBODY,) * 3


def cap_resources(memory_bytes: int, cpu_seconds: int) -> None:
    """Never raises a limit that is already lower. CPU time ends with SIGXCPU, five seconds on with SIGKILL."""
    caps = {
        resource.RLIMIT_AS: (memory_bytes, memory_bytes),
        resource.RLIMIT_CPU: (cpu_seconds, cpu_seconds + 5),
        resource.RLIMIT_FSIZE: (0, 0),
        resource.RLIMIT_NOFILE: (OPEN_FILES, OPEN_FILES),
        resource.RLIMIT_CORE: (0, 0),
        # No process and no thread: the decoder is asked to work in one. Says nothing to root.
        resource.RLIMIT_NPROC: (0, 0),
    }
    for kind, (soft, hard) in caps.items():
        allowed = resource.getrlimit(kind)[1]
        if allowed != resource.RLIM_INFINITY:
            soft, hard = min(soft, allowed), min(hard, allowed)  # noqa: PLW2901 - the clamped value is the one meant
        resource.setrlimit(kind, (soft, hard))
