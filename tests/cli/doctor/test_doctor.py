"""The whole command, against real servers and against none."""

from __future__ import annotations

import io
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from redis import Redis
from rich.console import Console
from sqlalchemy import text
from sqlalchemy.orm import Session
from typer.testing import CliRunner

from styleflow import api_keys
from styleflow.broker import redis_py_url
from styleflow.cli.doctor import command, machine, services
from styleflow.cli.doctor import database as looking
from styleflow.cli.doctor.checking import ANSWER_SECONDS, Check
from styleflow.cli.doctor.command import settings_of
from styleflow.cli.doctor.findings import Finding, State
from styleflow.cli.main import app
from styleflow.database import Database
from styleflow.embedded import Server
from styleflow.jobs import workers
from styleflow.pack_copies import install_shipped
from styleflow.settings import Settings
from styleflow.webhooks import endpoints
from tests.stack import CHECKOUT, free_port
from tests.stack import settings_of as stack_settings

NEIGHBOURS = {"database", "schema", "clock", "broker", "bucket"}


@dataclass
class Examined:
    """What one `styleflow doctor --json` said."""

    code: int
    states: dict[str, str] = field(default_factory=dict)
    found: dict[str, str] = field(default_factory=dict)
    advice: dict[str, str] = field(default_factory=dict)


def doctor(environment: dict[str, str], *arguments: str, before: str = "") -> Examined:
    """A process of its own, as its users start it; `before` is run in it first."""
    code = f"import sys\n{before}\nsys.argv = ['styleflow', 'doctor', '--json', *{list(arguments)!r}]\n"
    code += "from styleflow.cli.main import app\napp()"
    clean = {name: value for name, value in os.environ.items() if not name.startswith("STYLEFLOW_")}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=CHECKOUT, env=clean | environment, capture_output=True, text=True, timeout=120
    )
    assert done.stderr == ""
    examined = Examined(done.returncode)
    for line in done.stdout.splitlines():
        told = json.loads(line)
        examined.states[told["check"]] = told["state"]
        examined.found[told["check"]] = told["found"]
        examined.advice[told["check"]] = told["advice"]
    return examined


def seal_a_secret(session: Session, secret_key: str) -> None:
    project, box = api_keys.ensure_project(session, "p").id, api_keys.SecretBox(secret_key)
    endpoints.create_endpoint(session, box, project, endpoints.NewEndpoint(url="https://a.test", events=["*"]))


@pytest.fixture
def environment(database_url: str, redis_url: str, tmp_path: Path) -> dict[str, str]:
    """A whole installation, but for processes."""
    install_shipped(tmp_path / "packs")
    return {"STYLEFLOW_HOME": str(tmp_path)} | stack_settings(
        database_url,
        redis_url,
        tmp_path,
        packs_directory=str(tmp_path / "packs"),
        public_url=f"http://127.0.0.1:{free_port()}",
    )


def test_an_installation_is_examined_with_its_processes_there(environment: dict[str, str], database: Database) -> None:
    with database.transaction() as session:
        workers.seen(session, "here-1", lanes=["realtime", "standard", "bulk"], models=["m@1"], device="cpu")
        seal_a_secret(session, environment["STYLEFLOW_SECRET_KEY"])
    light_worker = Database(database.url, pool_size=1, application="styleflow-duties")
    assert light_worker.is_reachable()  # from now on it holds a connection
    examined = doctor(environment, "--strict")
    light_worker.close()
    assert {check for check, state in examined.states.items() if state != "ok"} == {"api"}  # the one that is not there
    assert examined.found["secret key"] == "The secret key is set and opens what is stored."
    assert "calibrated" in examined.found["pack"]
    assert examined.code == 1


def test_what_is_missing_in_a_young_installation_is_told_with_what_to_do(environment: dict[str, str]) -> None:
    examined = doctor(environment | {"STYLEFLOW_SECRET_KEY": "", "STYLEFLOW_POTR": "1"})
    failing = {check for check, state in examined.states.items() if state == "fail"}
    assert failing == {"secret key", "light worker", "workers"}
    assert all(examined.advice[check] for check in failing)
    assert examined.advice["settings"] == "Did you mean STYLEFLOW_PORT?"
    assert examined.code == 2


def found_by(check: Callable[[Settings], Sequence[Finding]], environment: dict[str, str]) -> dict[str, Finding]:
    """One check alone, here: it needs neither torch nor a process."""
    values = {name.removeprefix("STYLEFLOW_").lower(): value for name, value in environment.items()}
    known = {name: value for name, value in values.items() if name in Settings.model_fields}
    return {finding.check: finding for finding in check(Settings.model_validate(known))}


def test_a_secret_key_that_is_not_the_one_of_the_database_fails(
    environment: dict[str, str], database: Database
) -> None:
    with database.transaction() as session:
        seal_a_secret(session, "quite another key, of 32 bytes or more")
    assert found_by(looking.database, environment)["secret key"].state is State.FAIL


def test_a_database_without_tables_says_what_to_do(environment: dict[str, str], database: Database) -> None:
    with database.transaction() as session:
        session.execute(text("drop schema public cascade; create schema public"))
    found = found_by(looking.database, environment)
    assert (found["database"].state, found["schema"].state) == (State.OK, State.FAIL)
    assert found["schema"].advice == "Run `styleflow migrate`."
    assert {found[name].state for name in ("workers", "queues")} == {State.WARN}
    assert found["light worker"].state is State.FAIL, "one table that is missing keeps nothing else from being told"


def test_a_broker_that_evicts_is_worth_a_word(environment: dict[str, str], redis_server: Server) -> None:
    with Redis.from_url(redis_py_url(redis_server.url)) as redis:
        redis.config_set("maxmemory-policy", "allkeys-lru")
        try:
            found = found_by(services.broker, environment)["broker"]
        finally:
            redis.config_set("maxmemory-policy", "noeviction")
    assert (found.state, "allkeys-lru" in found.found) == (State.WARN, True)


def test_an_altered_pack_fails(environment: dict[str, str], tmp_path: Path) -> None:
    (weights,) = (tmp_path / "packs").glob("*/model.safetensors")
    weights.write_bytes(weights.read_bytes()[:-1] + b"\0")
    found = found_by(machine.packs, environment)["pack"]
    assert (found.state, "altered" in found.found) == (State.FAIL, True)


def test_a_probe_leaves_nothing_in_the_bucket_and_makes_no_bucket(environment: dict[str, str], tmp_path: Path) -> None:
    assert found_by(services.bucket, environment)["bucket"].state is State.OK
    assert [path for path in (tmp_path / "bucket").rglob("*") if path.is_file()] == []
    absent = environment | {"STYLEFLOW_BUCKET_URL": f"file://{tmp_path / 'absent'}"}
    assert found_by(services.bucket, absent)["bucket"].state is State.FAIL
    assert not (tmp_path / "absent").exists()


def test_a_bucket_that_takes_no_pictures_of_faces_is_found_before_a_job_fails_of_it(
    environment: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "bucket").mkdir(exist_ok=True)
    (tmp_path / "bucket" / "crops").touch()  # in the way of what is to be written below it
    found = found_by(services.bucket, environment)["bucket"]
    assert (found.state, "under crops/" in found.found) == (State.FAIL, True)


@pytest.fixture
def silent() -> Iterator[int]:
    """A port at which somebody accepts and never says a word."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
        yield int(server.getsockname()[1])


TIMED = """
import atexit, json, time
from styleflow.cli.doctor import checking, command
for check in command.NEIGHBOURS:
    checking.lacking(check.modules)
command.MACHINE = ()
begun = time.monotonic()
told = {"check": "seconds", "found": "", "advice": ""}
atexit.register(lambda: print(json.dumps(told | {"state": time.monotonic() - begun})))
"""
"""Neighbours alone, with the time that they took once everything was loaded."""


@pytest.mark.parametrize("is_silent", [False, True])
def test_neighbours_that_are_away_or_silent_are_told_within_five_seconds_all_together(
    environment: dict[str, str], silent: int, is_silent: bool
) -> None:
    examined = doctor(environment | away(silent if is_silent else free_port()), before=TIMED)
    assert {examined.states[check] for check in ("database", "broker", "bucket")} == {"fail"}
    assert {examined.states[check] for check in ("schema", "clock", "workers", "queues", "api")} == {"warn"}
    assert examined.states["scratch"] == "ok", "the others are looked at all the same"
    assert float(examined.states["seconds"]) < ANSWER_SECONDS + 1.5


def away(port: int) -> dict[str, str]:
    return {
        "STYLEFLOW_DATABASE_URL": f"postgresql+psycopg://styleflow@127.0.0.1:{port}/styleflow",
        "STYLEFLOW_REDIS_URL": f"redis://127.0.0.1:{port}/0",
        "STYLEFLOW_BUCKET_URL": "s3://videos",
        "STYLEFLOW_S3_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "STYLEFLOW_PUBLIC_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "x",
        "AWS_SECRET_ACCESS_KEY": "y",
    }


def test_without_any_extra_every_check_is_told_and_none_traces_back(environment: dict[str, str]) -> None:
    missing = ["sqlalchemy", "psycopg", "redis", "celery", "boto3", "av", "torch", "alembic"]
    examined = doctor(environment, before=f"sys.modules.update(dict.fromkeys({missing!r}))")
    assert examined.states | dict.fromkeys(NEIGHBOURS, "fail") == examined.states
    assert {examined.states[check] for check in ("codecs", "sandbox", "device")} == {"warn"}
    assert "styleflow[detector]" in examined.advice["codecs"]
    assert "styleflow[service]" in examined.advice["database"]
    assert examined.states["packs"] == "ok"


def test_a_setting_that_cannot_be_used_is_the_only_finding(environment: dict[str, str]) -> None:
    examined = doctor(environment | {"STYLEFLOW_MAX_QUEUED_JOBS": "many"})
    assert examined.states == {"settings": "fail"}
    assert "STYLEFLOW_MAX_QUEUED_JOBS" in examined.found["settings"]
    assert examined.code == 2


def test_what_the_environment_leaves_out_is_taken_from_the_home(tmp_path: Path) -> None:
    (tmp_path / "environment").write_text("STYLEFLOW_BUCKET_URL='file:///there'\nSTYLEFLOW_PORT='81'\n")
    told = settings_of(tmp_path)
    assert (told.bucket_url, told.port) == ("file:///there", 81)
    assert settings_of(tmp_path / "absent").bucket_url == Settings().bucket_url


def test_people_get_a_line_for_each_check_and_a_sum(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(command, "NEIGHBOURS", command.NEIGHBOURS[-1:])
    monkeypatch.setattr(command, "MACHINE", (Check(names=("packs",), run=machine.packs),))
    monkeypatch.setenv("STYLEFLOW_PACKS_DIRECTORY", str(tmp_path))
    shown = CliRunner().invoke(app, ["doctor", "--home", str(tmp_path)])
    assert shown.exit_code == 2
    assert [line.split()[:2] for line in shown.output.splitlines() if line.startswith(("ok", "fail"))] == [
        ["ok", "scratch"],
        ["fail", "packs"],
    ]
    assert "→ Run `styleflow weights install`" in shown.output
    assert "1 well, 0 to know of, 1 to mend." in shown.output


def test_a_pipe_gets_every_sentence_in_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    told = Finding("broker", State.FAIL, "found [as it is] " * 20, "advice " * 40)
    monkeypatch.setattr(command, "NEIGHBOURS", (Check(names=("broker",), run=lambda _: [told]),))
    monkeypatch.setattr(command, "MACHINE", ())
    shown = CliRunner().invoke(app, ["doctor", "--home", str(tmp_path)], env={"COLUMNS": "80"})
    assert shown.output.splitlines()[:2] == [f"fail  broker        {told.found}", f"{'':20}→ {told.advice}"]


def test_a_terminal_shows_brackets_as_they_are() -> None:
    console = Console(width=100, file=io.StringIO(), force_terminal=True)

    console.print(command.row_of(Finding("broker", State.FAIL, "found [dim] this", "do [that]")))

    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert "[dim]" in shown
    assert "[that]" in shown
