from __future__ import annotations

import json
import os
import resource
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

PROBE = """
import json, os, socket, sys
import resource
from styleflow.video.confinement import confine

def outcome(act):
    try:
        return act() or "done"
    except (OSError, MemoryError) as error:
        return type(error).__name__

def reach(port):
    # Not create_connection: it imports a codec, which nobody may not be able to read.
    with socket.socket() as client:
        client.connect(("127.0.0.1", port))

def spawn():
    if os.fork() == 0:
        os._exit(0)

free_port, target = int(sys.argv[1]), os.open(sys.argv[2], os.O_WRONLY)
null = os.open(os.devnull, os.O_RDONLY)
confine(parent=os.getppid(), memory_bytes=2**30, cpu_seconds=20)
print(json.dumps({
    "uid": os.geteuid(),
    "groups": os.getgroups(),
    "network": outcome(lambda: reach(free_port)),
    "spawn": outcome(spawn),
    "write": outcome(lambda: os.write(target, b"x") and None),
    "memory": outcome(lambda: bytearray(2**31) and None),
    "core": resource.getrlimit(resource.RLIMIT_CORE),
    "status": open("/proc/self/status").read() if os.path.exists("/proc/self/status") else "",
    "files": outcome(lambda: [os.dup(null) for _ in range(40)] and None),
}))
"""


def succeeds(code: str) -> bool:
    return subprocess.run([sys.executable, "-c", code], timeout=30, capture_output=True).returncode == 0


IS_ROOT = os.geteuid() == 0
MAY_BECOME_NOBODY = IS_ROOT and succeeds("import os; os.setgroups([]); os.setresuid(65534, 65534, 65534)")
MAY_LEAVE_THE_NETWORK = succeeds("import ctypes; raise SystemExit(ctypes.CDLL(None).unshare(0x40000000) != 0)")


@pytest.fixture(scope="module")
def confined(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a process could still do after it confined itself."""
    target = tmp_path_factory.mktemp("confined") / "target"
    target.touch()
    with socket.create_server(("127.0.0.1", 0)) as server:
        done = subprocess.run(
            [sys.executable, "-c", PROBE, str(server.getsockname()[1]), str(target)],
            cwd=Path(__file__).parents[2],
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
        )
    return dict(json.loads(done.stdout))


def test_a_confined_process_writes_no_file(confined: dict[str, Any]) -> None:
    assert confined["write"] == "OSError"


def test_a_confined_process_gets_no_more_memory_than_allowed(confined: dict[str, Any]) -> None:
    assert confined["memory"] == "MemoryError"


def test_a_confined_process_holds_few_files_and_leaves_no_core_dump(confined: dict[str, Any]) -> None:
    assert confined["files"] == "OSError"
    assert confined["core"] == [0, 0]


@pytest.mark.skipif(IS_ROOT and not MAY_BECOME_NOBODY, reason="root that must stay root may start processes")
def test_a_confined_process_starts_no_other(confined: dict[str, Any]) -> None:
    assert confined["spawn"] == "BlockingIOError"


@pytest.mark.skipif(not MAY_BECOME_NOBODY, reason="only root can become another user")
def test_root_becomes_nobody(confined: dict[str, Any]) -> None:
    assert confined["uid"] == 65534
    assert confined["groups"] == []


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux")
def test_a_confined_process_gains_no_privileges(confined: dict[str, Any]) -> None:
    assert "NoNewPrivs:\t1" in confined["status"]


@pytest.mark.skipif(not MAY_LEAVE_THE_NETWORK, reason="not permitted here")
def test_a_confined_process_reaches_no_address(confined: dict[str, Any]) -> None:
    assert confined["network"] == "OSError"


def test_a_process_whose_parent_is_gone_already_does_not_go_on() -> None:
    code = (
        "from styleflow.video.confinement import confine;"
        "confine(parent=1, memory_bytes=2**30, cpu_seconds=9); print('on')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=Path(__file__).parents[2], capture_output=True, timeout=30, check=True
    )
    assert done.stdout == b""


def test_a_lower_limit_that_holds_already_is_kept() -> None:
    code = (
        "import resource as r; r.setrlimit(r.RLIMIT_CPU, (7, 7));"
        "from styleflow.video.confinement import cap_resources;"
        "cap_resources(2**30, 60); print(r.getrlimit(r.RLIMIT_CPU))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=Path(__file__).parents[2], capture_output=True, timeout=30, check=True
    )
    assert done.stdout.strip() == b"(7, 7)"
    assert resource.getrlimit(resource.RLIMIT_CPU)[0] != 7
