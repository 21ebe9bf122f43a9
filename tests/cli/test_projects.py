from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import text
from typer.testing import CliRunner, Result

from styleflow.cli.main import app
from styleflow.database import Database

SECRET = "a secret for tests, long enough to be one"


@pytest.fixture(autouse=True)
def installation(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STYLEFLOW_DATABASE_URL", database_url)
    monkeypatch.setenv("STYLEFLOW_SECRET_KEY", SECRET)
    monkeypatch.setenv("STYLEFLOW_HOME", str(tmp_path))


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def test_a_project_is_made_once_and_listed() -> None:
    made = [run("projects", "create", "acme").output.strip() for _ in range(2)]

    assert made[0] == made[1]
    assert made[0].startswith("prj_")
    (listed,) = run("projects", "list").output.splitlines()
    assert listed.split("\t")[:2] == [made[0], "acme"]


def test_a_quota_is_set_shown_and_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STYLEFLOW_QUOTA_OPEN_BATCHES", "3")
    run("projects", "create", "acme")

    shown = run("projects", "quota", "acme", "jobs_per_day=500", "active_jobs=unlimited").output.splitlines()
    assert shown[:2] == ["active_jobs\t0\tunlimited", "jobs_per_day\t0\t500"]
    assert "open_batches\t0\t3" in shown
    assert run("projects", "list").output.split("\t")[3].strip() == "active_jobs=unlimited jobs_per_day=500"

    run("projects", "quota", "acme", "jobs_per_day=default")
    assert "jobs_per_day\t0\tunlimited" in run("projects", "quota", "acme").output


@pytest.mark.parametrize("change", ["jobs=5", "jobs_per_day", "jobs_per_day=-1", "jobs_per_day=0", "jobs_per_day=x"])
def test_what_is_no_quota_is_refused(change: str) -> None:
    run("projects", "create", "acme")

    assert run("projects", "quota", "acme", change).exit_code == 2


def test_a_project_that_is_not_there_is_not_made_by_a_quota() -> None:
    assert run("projects", "quota", "typo", "jobs_per_day=1").exit_code == 1
    assert run("projects", "list").output == ""


def test_what_the_operator_did_is_recorded_and_verified(database: Database) -> None:
    run("projects", "create", "acme")
    run("projects", "create", "quiet")
    run("projects", "quota", "acme", "jobs_per_day=5")
    run("keys", "create", "--project", "acme", "--cidr", "10.0.0.0/8", "--mode", "test")
    key = run("keys", "list", "--project", "acme").output.split("\t")[0]
    for _ in range(2):
        run("keys", "revoke", key, "--project", "acme")

    verified = run("audit", "verify")
    assert verified.exit_code == 0
    acme, quiet = (line.split("\t") for line in verified.output.splitlines())
    assert (acme[:3], acme[4]) == (["acme", "4", "4"], "whole")
    assert (quiet[:3], quiet[4]) == (["quiet", "1", "1"], "whole")

    with database.transaction() as session:
        actions = session.scalars(text("select action from audit_events where sequence > 1 order by sequence")).all()
        session.execute(text("update audit_events set actor = 'nobody' where action = 'key.created'"))
    assert actions == ["quota.changed", "key.created", "key.revoked"]
    broken = run("audit", "verify", "--project", "acme")
    assert (broken.exit_code, "event 3 (aud_" in broken.output) == (1, True)
    assert run("audit", "verify", "--project", "quiet").exit_code == 0


def test_a_network_that_is_none_is_refused() -> None:
    assert run("keys", "create", "--cidr", "10.0.0.1/8").exit_code == 2
    assert run("keys", "create", "--mode", "prod").exit_code == 2
