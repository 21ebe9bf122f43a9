from __future__ import annotations

import ctypes
import json
import os
import resource
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from styleflow.video.confinement import Layer, is_enough
from styleflow.video.landlock import ASK_VERSION, CREATE_RULESET

ROOT = Path(__file__).parents[2]
IS_ROOT = os.geteuid() == 0
SOMEBODY = 10001
LANDLOCK = ctypes.CDLL(None).syscall(CREATE_RULESET, None, 0, ASK_VERSION) if sys.platform == "linux" else 0

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="confinement is Linux's")


def succeeds(code: str) -> bool:
    return subprocess.run([sys.executable, "-c", code], timeout=30, capture_output=True).returncode == 0


MAY_BECOME_NOBODY = IS_ROOT and succeeds("import os; os.setgroups([]); os.setresuid(65534, 65534, 65534)")
MAY_FILTER_CALLS = succeeds(
    "import ctypes; from styleflow.video.seccomp import give_up_calls; libc = ctypes.CDLL(None);"
    "libc.prctl(38, 1, 0, 0, 0); import os; os._exit(not give_up_calls(libc))"
)
NEEDS_LANDLOCK = pytest.mark.skipif(LANDLOCK < 1, reason="this kernel has no Landlock")
NEEDS_SECCOMP = pytest.mark.skipif(not MAY_FILTER_CALLS, reason="no seccomp filter is permitted here")
AS_SOMEBODY = pytest.mark.skipif(IS_ROOT and not MAY_BECOME_NOBODY, reason="this root cannot become another user")

Try = Callable[..., dict[str, Any]]


@pytest.fixture
def attempt() -> Iterator[Try]:
    """What a confined child of a worker managed to do, and how the kernel describes it."""

    def attempt(*, worker_uid: int | None = None, without: tuple[str, ...] = (), **setup: bool) -> dict[str, Any]:
        for name in ("secret", "victim", "target", "program"):
            (folder / name).write_text("worth having")
            (folder / name).chmod(0o700 if name == "program" else 0o600)
        if worker_uid is not None:
            for path in (folder, *folder.iterdir()):
                os.chown(path, worker_uid, worker_uid)
        with socket.create_server(("127.0.0.1", 0)) as server:
            task = {"worker_uid": worker_uid, "without": without, "folder": str(folder), **setup}
            done = subprocess.run(
                [sys.executable, "-m", "tests.video.captive", json.dumps({**task, "port": server.getsockname()[1]})],
                cwd=ROOT,
                capture_output=True,
                text=True,
                timeout=60,
                check=True,
            )
        return dict(json.loads(done.stdout))

    # Not pytest's own folder for a test: those above it are closed to all but who runs the tests, and are shared.
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        yield attempt


def somebody() -> int | None:
    """Who the worker is where it is not root; a test that is not run by root is somebody already."""
    return SOMEBODY if IS_ROOT else None


def managed(told: dict[str, Any]) -> set[str]:
    return {what for what, result in told["tried"].items() if result == "done"}


def test_a_child_without_any_layer_could_do_nearly_everything(attempt: Try) -> None:
    """So that the tests below can fail."""
    told = attempt(worker_uid=somebody(), without=("leave", "landlock", "seccomp"))
    assert told["layers"] == []
    assert managed(told) >= {
        "read a file that all may read",
        "make a file",
        "delete a file",
        "read the worker's environment",
        "open the worker's memory",
        "signal the worker",
        "limit the worker",
        "connect to this machine",
        "make a pair of sockets",
        "outlive the worker",
        "become a program",
        "hold the worker by a descriptor",
        "have the kernel signal the worker",
    }


def test_a_confined_child_manages_nothing(attempt: Try) -> None:
    told = attempt()
    assert Layer.SECCOMP in told["layers"] or not MAY_FILTER_CALLS
    assert not managed(told) or not MAY_FILTER_CALLS


@AS_SOMEBODY
@NEEDS_SECCOMP
@NEEDS_LANDLOCK
def test_a_child_of_a_worker_that_is_not_root_manages_nothing(attempt: Try) -> None:
    told = attempt(worker_uid=somebody(), without=("leave",))
    assert set(told["layers"]) == {Layer.LANDLOCK, Layer.SECCOMP}
    assert managed(told) == set()
    assert told["uid"] == (somebody() or os.geteuid())


@AS_SOMEBODY
@NEEDS_SECCOMP
def test_the_filter_of_calls_alone_withholds_all_of_it(attempt: Try) -> None:
    told = attempt(worker_uid=somebody(), without=("leave", "landlock"))
    assert told["layers"] == [Layer.SECCOMP]
    assert managed(told) == set()


@AS_SOMEBODY
@NEEDS_LANDLOCK
def test_landlock_alone_withholds_files_and_the_workers_memory(attempt: Try) -> None:
    told = attempt(worker_uid=somebody(), without=("leave", "seccomp"))
    assert told["layers"] == [Layer.LANDLOCK]
    withheld = {
        "read a file of the worker",
        "read a file that all may read",
        "list the worker's folder",
        "make a file",
        "rename a file",
        "delete a file",
        "read the worker's environment",
        "open the worker's memory",
        "trace the worker",
        "become a program",
        "start a process",
    }
    withheld |= {"connect to this machine"} if LANDLOCK >= 4 else set()
    withheld |= {"signal the worker"} if LANDLOCK >= 6 else set()
    assert managed(told) & withheld == set()


@AS_SOMEBODY
def test_a_worker_that_keeps_its_memory_to_itself_is_closed_to_its_own_user(attempt: Try) -> None:
    told = attempt(worker_uid=somebody(), without=("leave", "landlock", "seccomp"), keep_memory=True)
    assert not managed(told) & {"read the worker's environment", "open the worker's memory", "trace the worker"}
    assert "read a file of the worker" in managed(told)


def test_the_caps_hold_whatever_else_is_permitted(attempt: Try) -> None:
    told = attempt(worker_uid=somebody(), without=("leave", "landlock", "seccomp"))
    assert not managed(told) & {"write what it holds", "get more memory than allowed", "hold many files"}
    (core,) = [line.split() for line in told["limits"].splitlines() if line.startswith("Max core file size")]
    assert core[4:6] == ["0", "0"]


@pytest.mark.skipif(not MAY_BECOME_NOBODY, reason="only root can become another user")
def test_root_becomes_nobody(attempt: Try) -> None:
    told = attempt()
    assert Layer.USER in told["layers"]
    assert "Uid:\t65534\t65534\t65534\t65534" in told["status"]
    assert "\nGroups:\t \n" in told["status"]


def test_a_confined_process_gains_no_privileges(attempt: Try) -> None:
    assert "NoNewPrivs:\t1" in attempt()["status"]


@pytest.mark.parametrize(
    ("layers", "enough"),
    [
        (set(), False),
        ({Layer.NETWORK, Layer.LANDLOCK}, False),
        ({Layer.NETWORK, Layer.SECCOMP}, False),
        ({Layer.USER}, True),
        ({Layer.LANDLOCK, Layer.SECCOMP}, True),
        (set(Layer), True),
    ],
)
def test_another_user_or_both_filters_are_enough(layers: set[Layer], *, enough: bool) -> None:
    assert is_enough(layers) == enough


def test_a_process_whose_parent_is_gone_already_does_not_go_on() -> None:
    code = (
        "from styleflow.video.confinement import confine;"
        "confine(parent=1, memory_bytes=2**30, cpu_seconds=9); print('on')"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, timeout=30, check=True)
    assert done.stdout == b""


def test_a_lower_limit_that_holds_already_is_kept() -> None:
    code = (
        "import resource as r; r.setrlimit(r.RLIMIT_CPU, (7, 7));"
        "from styleflow.video.confinement import cap_resources;"
        "cap_resources(2**30, 60); print(r.getrlimit(r.RLIMIT_CPU))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, timeout=30, check=True)
    assert done.stdout.strip() == b"(7, 7)"
    assert resource.getrlimit(resource.RLIMIT_CPU)[0] != 7
