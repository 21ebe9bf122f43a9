"""The service's own processes, started for a test on real PostgreSQL and Redis, and surely ended after it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from styleflow.processes import die_with_parent

CHECKOUT = Path(__file__).parent.parent


@dataclass
class Stack:
    """A set of child processes that share an environment."""

    home: Path
    environment: dict[str, str]
    children: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def spawn(self, *arguments: str, **variables: str) -> subprocess.Popen[bytes]:
        """`python ARGUMENTS…` in the checkout; its output goes to a log in the home."""
        name = arguments[1] if arguments[0] == "-m" else Path(arguments[0]).stem
        log = (self.home / f"{name}-{len(self.children)}.log").open("wb")
        inherited = {key: value for key, value in os.environ.items() if not key.startswith("STYLEFLOW_")}
        child = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=CHECKOUT,
            env=inherited | self.environment | variables,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            preexec_fn=die_with_parent(signal.SIGKILL),  # whatever ends the tests leaves no worker behind
        )
        log.close()
        self.children.append(child)
        return child

    def stop(self) -> None:
        """End every child; none survives."""
        running = [child for child in self.children if child.poll() is None]
        for child in running:
            child.send_signal(signal.SIGCONT)
            child.terminate()
        deadline = time.monotonic() + 10
        for child in running:
            try:
                child.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()

    def logs(self) -> str:
        """The last lines of every child, for a failing test's message."""
        return "\n".join(
            f"== {log.name}\n" + "\n".join(log.read_text(errors="replace").splitlines()[-15:])
            for log in sorted(self.home.glob("*.log"))
        )


def settings_of(database_url: str, redis_url: str, home: Path, **more: str) -> dict[str, str]:
    """Variables for the processes of one installation."""
    (home / "bucket").mkdir(exist_ok=True)
    return {
        "STYLEFLOW_DATABASE_URL": database_url,
        "STYLEFLOW_REDIS_URL": redis_url,
        "STYLEFLOW_BUCKET_URL": f"file://{home / 'bucket'}",
        "STYLEFLOW_SECRET_KEY": "a key for tests, 32 bytes or more of it",
        "OMP_NUM_THREADS": "1",
        "OMP_WAIT_POLICY": "PASSIVE",
        **{f"STYLEFLOW_{key.upper()}": value for key, value in more.items()},
    }


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def eventually(condition: Callable[[], bool], *, seconds: float = 30.0, explain: Callable[[], str] = str) -> None:
    """Return as soon as the condition holds; fail with the explanation when it does not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {explain()}")
        time.sleep(0.05)


def answers(url: str, headers: Mapping[str, str] | None = None) -> bool:
    """Whether a server answers there with success."""
    try:
        return httpx.get(url, headers=dict(headers or {}), timeout=5).is_success
    except httpx.TransportError:
        return False
