"""The whole service on one machine: which programs it consists of, with which settings, started in which order."""

from __future__ import annotations

import os
import secrets
import socket
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

import styleflow
from styleflow.errors import ConfigurationError
from styleflow.processes import Program, hold, reclaim
from styleflow.settings import Settings
from styleflow.supervisor import Supervisor

LANES = ("realtime,standard,bulk", "realtime")
"""One worker process each: the second keeps a slot for what somebody waits for."""
DEVELOPMENT = {"STYLEFLOW_EGRESS_ALLOW_HTTP": "true", "STYLEFLOW_EGRESS_ALLOW_LOOPBACK": "true"}
"""Lets webhooks reach a receiver on this machine. Never set where strangers submit jobs."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a stack lives and where it listens."""

    home: Path
    checkout: Path
    host: str
    port: int

    @property
    def url(self) -> str:
        host = "127.0.0.1" if self.host in ("0.0.0.0", "::") else self.host  # noqa: S104 (compared, not bound)
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}"

    @property
    def key_file(self) -> Path:
        return self.home / "api-key"

    @property
    def environment_file(self) -> Path:
        return self.home / "environment"


def checkout_folder() -> Path:
    """The source tree that holds the doors. Raises ConfigurationError for an installed wheel, which has none."""
    folder = Path(styleflow.__file__).resolve().parents[1]
    if not all((folder / door).is_dir() for door in ("api", "worker", "migrations")):
        raise ConfigurationError("this command runs from a checkout of the repository, which an installed wheel is not")
    return folder


def home_folder(given: Path | None) -> Path:
    """`STYLEFLOW_HOME` or the option where given, else `.styleflow` in the checkout."""
    return (given or checkout_folder() / ".styleflow").absolute()


def environment_of(
    place: Place, given: Mapping[str, str], *, embedded: Mapping[str, str], secret: str
) -> dict[str, str]:
    """What the children are told: what was given wins, the rest is filled in for one machine."""
    filled = {
        **embedded,
        "STYLEFLOW_BUCKET_URL": f"file://{place.home / 'bucket'}",
        "STYLEFLOW_PACKS_DIRECTORY": str(place.home / "packs"),
        "STYLEFLOW_SECRET_KEY": secret,
        "STYLEFLOW_PUBLIC_URL": place.url,
        "STYLEFLOW_COMPAT_PREDICT": "true",
    }
    fixed = {"STYLEFLOW_HOST": place.host, "STYLEFLOW_PORT": str(place.port)}
    return {**filled, **{name: value for name, value in given.items() if value}, **fixed, "PYTHONUNBUFFERED": "1"}


def worker_threads(cores: int, workers: int) -> int:
    """Threads of one worker's tensor arithmetic, so that all of them together do not fight over the cores."""
    return max(1, cores // workers)


@contextmanager
def running_stack(place: Place, given: Mapping[str, str], *, tell: Callable[[str], None]) -> Iterator[Supervisor]:
    """The started stack; everything is stopped when the block ends. Raises ConfigurationError, processes.Stopped."""
    with hold(place.home), Supervisor(tell) as supervisor:
        for name in ("bucket", "demo", "logs", "redis", "run"):
            (place.home / name).mkdir(mode=0o700, exist_ok=True)
        reclaim_all(place.home)
        require_free(place.host, place.port)
        environment = environment_of(
            place, given, embedded=_start_servers(supervisor, place, given), secret=kept_secret(place.home)
        )
        write_private(place.environment_file, _as_lines(environment))
        _start_doors(supervisor, place, environment)
        yield supervisor


def reclaim_all(home: Path) -> None:
    """End whatever a killed run of this home left running: the doors first, the servers last."""
    pidfiles = sorted((home / "run").glob("*.json"), key=lambda path: path.stem in ("postgres", "redis"))
    for pidfile in pidfiles:
        reclaim(pidfile)


def require_free(host: str, port: int) -> None:
    """Raises ConfigurationError when somebody listens there already."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise ConfigurationError(
                f"port {port} is taken ({error.strerror}): choose another with STYLEFLOW_PORT"
            ) from None


def free_port(host: str) -> int:
    """A port on which nobody listens just now."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def kept_secret(home: Path) -> str:
    """The secret of this home, made once: stored endpoint secrets and API keys depend on it."""
    path = home / "secret-key"
    if not path.exists():
        write_private(path, secrets.token_urlsafe(48))
    return path.read_text().strip()


def write_private(path: Path, content: str) -> None:
    """Write a file that only its owner can read, whole or not at all."""
    draft = path.with_name(f"{path.name}.new")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(content + "\n")
    draft.replace(path)


# --- the parts, in order --------------------------------------------------------------------------


def _start_servers(supervisor: Supervisor, place: Place, given: Mapping[str, str]) -> dict[str, str]:
    """PostgreSQL and Redis, where no outside one was given; returns their addresses as settings."""
    from styleflow.embedded import postgres_program, redis_program

    addresses = {}
    for name, program_of in (("STYLEFLOW_DATABASE_URL", postgres_program), ("STYLEFLOW_REDIS_URL", redis_program)):
        if not given.get(name):
            program, addresses[name] = program_of(place.home)
            supervisor.start(program)
    return addresses


def _start_doors(supervisor: Supervisor, place: Place, environment: Mapping[str, str]) -> None:
    """Schema, key and weights, then the API and the workers, which load for some seconds after their start."""
    module = (sys.executable, "-m")
    supervisor.run_once(_program(place, environment, "prepare", (*module, "styleflow.cli.prepare", str(place.home))))
    if not any(Path(environment["STYLEFLOW_PACKS_DIRECTORY"]).glob("*/card.json")):
        install = (*module, "styleflow.cli.main", "weights", "install")
        supervisor.run_once(_program(place, environment, "weights", install))
    listen = ("--host", place.host, "--port", str(place.port), "--no-access-log", "--timeout-graceful-shutdown", "5")
    # Whose X-Forwarded-For counts is said by STYLEFLOW_TRUSTED_PROXIES, not by uvicorn, which believes this machine.
    serve = (*module, "uvicorn", "api.main:create_app", "--factory", "--no-proxy-headers", *listen)
    supervisor.start(_program(place, environment, "api", serve, is_ready=lambda: _answers(place.url)))
    supervisor.start(_program(place, environment, "light-worker", (*module, "worker.duties")))
    threads = str(worker_threads(_cores(), len(LANES)))
    for number, lanes in enumerate(LANES, start=1):
        told = {"OMP_NUM_THREADS": threads, **environment}
        supervisor.start(_program(place, told, f"worker-{number}", (*module, "worker", "--lanes", lanes)))


def _program(
    place: Place,
    environment: Mapping[str, str],
    name: str,
    command: tuple[str, ...],
    *,
    is_ready: Callable[[], bool] = lambda: True,
    ready_seconds: float = 120.0,
) -> Program:
    return Program(
        name=name,
        command=command,
        log=place.home / "logs" / f"{name}.log",
        pidfile=place.home / "run" / f"{name}.json",
        environment=environment,
        folder=place.checkout,
        is_ready=is_ready,
        ready_seconds=ready_seconds,
    )


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz", timeout=5, trust_env=False).status_code == httpx.codes.OK
    except httpx.TransportError:
        return False


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def _as_lines(environment: Mapping[str, str]) -> str:
    """The service's settings as `NAME='value'` lines, for other commands of this home and for a shell."""
    known = {f"STYLEFLOW_{field.upper()}" for field in Settings.model_fields}
    return "\n".join(f"{name}='{value}'" for name, value in sorted(environment.items()) if name in known)
