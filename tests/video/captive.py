"""A worker with something to lose, and a confined child of it that tries to take it: run as a program of its own.

    python -m tests.video.captive '{"worker_uid": 10001, "without": ["seccomp"], "folder": ..., "port": ...}'

All is imported before either changes its user, who may not be able to read the interpreter's folder.
"""

from __future__ import annotations

import _thread
import ctypes
import errno
import fcntl
import json
import os
import resource
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from styleflow.video import confinement

PTRACE_SEIZE = 0x4206
LIBC = ctypes.CDLL(None, use_errno=True)


def outcome(act: Callable[[], object]) -> str:
    try:
        act()
    except (OSError, RuntimeError, MemoryError) as error:
        return type(error).__name__
    return "done"


def call(name: str, *arguments: int | None) -> None:
    if getattr(LIBC, name)(*arguments) < 0:
        raise OSError(ctypes.get_errno(), name)


def connect(port: int) -> None:
    with socket.socket() as client:
        client.connect(("127.0.0.1", port))


def spawn() -> None:
    if os.fork() == 0:
        os._exit(0)


def become_program(path: Path) -> None:
    """The program is none, so that whoever may start it is still there to tell."""
    try:
        os.execv(path, ["program"])
    except OSError as error:
        if error.errno != errno.ENOEXEC:
            raise


def attempts(folder: Path, port: int, parent: int, held: dict[str, int]) -> dict[str, str]:
    """What a decoder that was taken over would try first."""
    acts: dict[str, Callable[[], object]] = {
        "read a file of the worker": lambda: os.open(folder / "secret", os.O_RDONLY),
        "read a file that all may read": lambda: os.open("/etc/passwd", os.O_RDONLY),
        "list the worker's folder": lambda: os.listdir(folder),
        "make a file": lambda: os.open(folder / "new", os.O_WRONLY | os.O_CREAT),
        "rename a file": lambda: os.rename(folder / "secret", folder / "other"),
        "delete a file": lambda: os.unlink(folder / "victim"),
        "change who may read a file": lambda: os.chmod(folder / "victim", 0o777),
        "change who may read what it holds": lambda: os.fchmod(held["target"], 0o777),
        "write what it holds": lambda: os.write(held["target"], b"x"),
        "read the worker's environment": lambda: os.open(f"/proc/{parent}/environ", os.O_RDONLY),
        "open the worker's memory": lambda: os.open(f"/proc/{parent}/mem", os.O_RDONLY),
        "trace the worker": lambda: call("ptrace", PTRACE_SEIZE, parent, None, None),
        "signal the worker": lambda: os.kill(parent, 0),
        "hold the worker by a descriptor": lambda: os.pidfd_open(parent),
        "have the kernel signal the worker": lambda: fcntl.fcntl(held["pipe"], fcntl.F_SETOWN, parent),
        "limit the worker": lambda: resource.prlimit(parent, resource.RLIMIT_NOFILE),
        "slow the worker down": lambda: os.setpriority(os.PRIO_PROCESS, parent, 19),
        "connect to this machine": lambda: connect(port),
        "make a pair of sockets": socket.socketpair,
        "start a process": spawn,
        "start a thread": lambda: _thread.start_new_thread(int, ()),
        "become a program": lambda: become_program(folder / "program"),
        "outlive the worker": lambda: call("prctl", 1, 0, 0, 0, 0),
        "get more memory than allowed": lambda: bytearray(2**31),
        "hold many files": lambda: [os.dup(held["null"]) for _ in range(40)],
    }
    return {what: outcome(act) for what, act in acts.items()}


def become(uid: int) -> None:
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
    # As after the start of a program by that user.
    LIBC.prctl(confinement.PR_SET_DUMPABLE, 1, 0, 0, 0)


def child(setup: dict[str, Any], parent: int, answer: int) -> None:
    folder = Path(setup["folder"])
    held = {
        "target": os.open(folder / "target", os.O_WRONLY),
        "null": os.open(os.devnull, os.O_RDONLY),
        "pipe": os.pipe()[0],
    }
    for name in setup["without"]:
        setattr(confinement, STEPS[name], NOTHING[name])
    layers = confinement.confine(parent=parent, memory_bytes=2**30, cpu_seconds=20)
    tried = attempts(folder, setup["port"], parent, held)
    os.write(answer, json.dumps({"layers": sorted(layers), "tried": tried, "uid": os.geteuid()}).encode())
    while True:
        time.sleep(1)


STEPS = {"landlock": "give_up_paths", "seccomp": "give_up_calls", "leave": "_leave"}
NOTHING: dict[str, Callable[..., object]] = {
    "landlock": lambda _: False,
    "seccomp": lambda _: False,
    "leave": lambda _: set(),
}
"""As where the kernel does not permit a step."""


def main() -> None:
    setup = json.loads(sys.argv[1])
    if setup["worker_uid"] is not None:
        become(setup["worker_uid"])
    if setup.get("keep_memory"):
        confinement.keep_memory_to_ourselves()
    parent = os.getpid()
    answer_out, answer_in = os.pipe()
    pid = os.fork()
    if pid == 0:
        child(setup, parent, answer_in)
    os.close(answer_in)
    try:
        with open(answer_out, "rb", buffering=0) as answers:
            told = json.loads(answers.read(65536))
        told["status"] = Path(f"/proc/{pid}/status").read_text()
        told["limits"] = Path(f"/proc/{pid}/limits").read_text()
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    sys.stdout.write(json.dumps(told))


if __name__ == "__main__":
    main()
