from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from styleflow import api_keys
from styleflow.cli.main import app
from styleflow.database import Database
from styleflow.errors import Unauthenticated

SECRET = "a secret for tests, long enough to be one"


@pytest.fixture(autouse=True)
def installation(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STYLEFLOW_DATABASE_URL", database_url)
    monkeypatch.setenv("STYLEFLOW_SECRET_KEY", SECRET)
    monkeypatch.setenv("STYLEFLOW_HOME", str(tmp_path))


def keys(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["keys", *arguments])


def test_a_key_is_made_listed_without_its_secret_and_revoked(database: Database) -> None:
    plaintext = keys("create", "--project", "acme", "--name", "moderation", "--scopes", "jobs:read").output.strip()
    with database.transaction() as session:
        api_keys.authenticate(session, SECRET, plaintext)

    (listed,) = keys("list", "--project", "acme").output.splitlines()
    identity, begin, name, scopes, state, used = listed.split("\t")
    assert plaintext.startswith(begin.removesuffix("…"))
    assert plaintext not in listed
    assert (name, scopes, state) == ("moderation", "jobs:read", "valid")
    assert used.startswith("used ")

    for _ in range(2):
        shown = keys("revoke", identity, "--project", "acme")
        assert (shown.exit_code, "revoked" in shown.output) == (0, True)
    with database.transaction() as session, pytest.raises(Unauthenticated):
        api_keys.authenticate(session, SECRET, plaintext)
    assert "revoked" in keys("list", "--project", "acme").output


def test_a_key_is_revoked_only_through_its_own_project(database: Database) -> None:
    keys("create", "--project", "acme")
    keys("create", "--project", "other")
    identity = keys("list", "--project", "acme").output.split("\t")[0]
    assert keys("revoke", identity, "--project", "other").exit_code == 1
    assert "revoked" not in keys("list", "--project", "acme").output


def test_looking_at_a_project_that_is_not_there_does_not_make_it(database: Database) -> None:
    for _ in range(2):
        shown = keys("list", "--project", "typo")
        assert (shown.exit_code, "There is no project of that name." in shown.output) == (1, True)
