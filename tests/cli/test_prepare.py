from __future__ import annotations

from pathlib import Path

from pydantic import SecretStr

from styleflow import api_keys
from styleflow.cli.prepare import ensure_key, prepare
from styleflow.database import Database
from styleflow.settings import Settings

PEPPER = "a pepper for tests, long enough"


def test_a_start_makes_a_key_with_every_scope_and_the_next_one_keeps_it(database_url: str, tmp_path: Path) -> None:
    settings = Settings(database_url=database_url, secret_key=SecretStr(PEPPER))
    prepare(settings, tmp_path)
    made = (tmp_path / "api-key").read_text()
    prepare(settings, tmp_path)
    assert (tmp_path / "api-key").read_text() == made
    assert (tmp_path / "api-key").stat().st_mode & 0o777 == 0o600


def test_the_key_opens_the_default_project(database: Database, tmp_path: Path) -> None:
    ensure_key(database, PEPPER, tmp_path / "api-key")
    with database.transaction() as session:
        principal = api_keys.authenticate(session, PEPPER, (tmp_path / "api-key").read_text().strip())
        assert principal.project_id == api_keys.ensure_project(session, "default").id
        assert principal.scopes == api_keys.SCOPES


def test_a_key_that_the_database_does_not_know_is_replaced(database: Database, tmp_path: Path) -> None:
    """The database was made anew under a home that stayed."""
    (tmp_path / "api-key").write_text("sfk_live_of_another_database\n")
    ensure_key(database, PEPPER, tmp_path / "api-key")
    with database.transaction() as session:
        api_keys.authenticate(session, PEPPER, (tmp_path / "api-key").read_text().strip())
