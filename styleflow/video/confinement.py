"""What a process gives up before it touches untrusted bytes. Linux; elsewhere the resource limits alone hold.

Called by the decoder's child on itself, after its imports: as another user it may not be able to read them.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
import sys

NOBODY = 65534
PR_SET_PDEATHSIG = 1
PR_SET_NO_NEW_PRIVS = 38
CLONE_NEWUSER = 0x10000000
CLONE_NEWNET = 0x40000000
OPEN_FILES = 32


def confine(*, parent: int, memory_bytes: int, cpu_seconds: int) -> None:
    """Drop network, user and privileges where permitted, then cap memory, CPU time and files.

    `parent` is the process id whose death ends this process too. Steps that need a privilege are best effort (a
    container may forbid them); the caps are not, and raise OSError or ValueError.
    """
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        offline = libc.unshare(CLONE_NEWNET) == 0
        drop_user()
        if not offline:
            # Whoever may not leave the network directly often may within a user namespace of their own.
            libc.unshare(CLONE_NEWUSER | CLONE_NEWNET)
        _control(libc, PR_SET_NO_NEW_PRIVS, 1)
        # After the change of user, which clears it.
        _control(libc, PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(0)
    cap_resources(memory_bytes, cpu_seconds)


def _control(libc: ctypes.CDLL, option: int, value: int) -> None:
    libc.prctl(option, *(ctypes.c_ulong(argument) for argument in (value, 0, 0, 0)))


def drop_user() -> None:
    """Become nobody when we are root."""
    if os.geteuid() != 0:
        return
    with contextlib.suppress(OSError):
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)


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
