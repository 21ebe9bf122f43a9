from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from threading import Barrier, Thread

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.orm import Session

from styleflow import api_keys
from styleflow.api_keys import SecretBox
from styleflow.database import Database
from styleflow.errors import ConfigurationError, ForbiddenScope, InvalidRequest, NotFound, Unauthenticated
from styleflow.tables import ApiKeyRow

PEPPER = "a pepper for tests only"


@pytest.fixture
def session(database: Database) -> Iterator[Session]:
    with database.transaction() as session:
        yield session


@pytest.fixture
def project(session: Session) -> str:
    return api_keys.ensure_project(session, "acme").id


def test_a_key_has_the_form_that_scanners_know(session: Session, project: str) -> None:
    row, key = api_keys.create(session, PEPPER, project, "ci", ["jobs:read"], None)

    prefix, live, key_id, secret = key.split("_")
    assert (prefix, live, key_id) == ("sfk", "live", row.key_id)
    assert (len(key_id), len(secret)) == (12, 43 + 6)


def test_a_key_is_known_by_its_project_and_scopes(session: Session, project: str) -> None:
    row, key = api_keys.create(session, PEPPER, project, "ci", ["jobs:read", "jobs:write"], None)

    principal = api_keys.authenticate(session, PEPPER, key)

    assert (principal.project_id, principal.key_id) == (project, row.key_id)
    assert principal.scopes == {"jobs:read", "jobs:write"}


def test_the_secret_is_not_in_the_database(session: Session, project: str) -> None:
    row, key = api_keys.create(session, PEPPER, project, "ci", ["jobs:read"], None)

    stored = session.execute(text("select to_jsonb(k)::text from api_keys k")).scalar_one()
    assert key.rsplit("_", 1)[1][:43] not in stored
    assert len(row.secret_hash) == 32


@pytest.mark.parametrize("presented", ["", "sfk_live_", "Bearer x", "sfk_live_" + "a" * 12 + "_" + "b" * 49, "é" * 70])
def test_what_is_no_key_is_not_authenticated(session: Session, presented: str) -> None:
    with pytest.raises(Unauthenticated):
        api_keys.authenticate(session, PEPPER, presented)


def test_any_changed_character_is_not_authenticated(session: Session, project: str) -> None:
    _, key = api_keys.create(session, PEPPER, project, "ci", ["jobs:read"], None)

    for position in range(len(key)):
        other = "0" if key[position] != "0" else "1"
        with pytest.raises(Unauthenticated):
            api_keys.authenticate(session, PEPPER, key[:position] + other + key[position + 1 :])


def test_a_well_formed_key_with_another_secret_is_not_authenticated(session: Session, project: str) -> None:
    row, _ = api_keys.create(session, PEPPER, project, "ci", ["jobs:read"], None)
    forged = api_keys._written("live", row.key_id, "A" * 43)

    with pytest.raises(Unauthenticated):
        api_keys.authenticate(session, PEPPER, forged)


def test_a_key_of_another_installation_is_not_authenticated(session: Session, project: str) -> None:
    _, key = api_keys.create(session, PEPPER, project, "ci", ["jobs:read"], None)

    with pytest.raises(Unauthenticated):
        api_keys.authenticate(session, "another pepper for tests", key)


def test_an_expired_key_is_not_authenticated(session: Session, project: str) -> None:
    row, key = api_keys.create(session, PEPPER, project, "ci", ["jobs:read"], 30)
    assert row.expires_at is not None
    assert row.expires_at - row.created_at == timedelta(days=30)

    api_keys.authenticate(session, PEPPER, key)
    session.execute(text("update api_keys set expires_at = now()"))
    with pytest.raises(Unauthenticated):
        api_keys.authenticate(session, PEPPER, key)


def test_a_revoked_key_is_not_authenticated(session: Session, project: str) -> None:
    row, key = api_keys.create(session, PEPPER, project, "ci", ["jobs:read"], None)

    api_keys.revoke(session, project, row.id)

    with pytest.raises(Unauthenticated):
        api_keys.authenticate(session, PEPPER, key)


def test_another_project_cannot_revoke_a_key(session: Session, project: str) -> None:
    row, key = api_keys.create(session, PEPPER, project, "ci", ["jobs:read"], None)

    with pytest.raises(NotFound):
        api_keys.revoke(session, api_keys.ensure_project(session, "other").id, row.id)
    api_keys.authenticate(session, PEPPER, key)


@pytest.mark.parametrize("scopes", [[], ["jobs:read", "jobs:everything"], ["*"]])
def test_a_key_without_known_scopes_is_not_made(session: Session, project: str, scopes: list[str]) -> None:
    with pytest.raises(InvalidRequest):
        api_keys.create(session, PEPPER, project, "ci", scopes, None)


def test_a_principal_may_do_what_its_scopes_say_and_nothing_else(session: Session, project: str) -> None:
    _, key = api_keys.create(session, PEPPER, project, "ci", ["jobs:read"], None)
    principal = api_keys.authenticate(session, PEPPER, key)

    principal.require("jobs:read")
    with pytest.raises(ForbiddenScope, match="jobs:write"):
        principal.require("jobs:write")


def test_last_use_is_kept_to_the_minute(session: Session, project: str) -> None:
    row, key = api_keys.create(session, PEPPER, project, "ci", ["jobs:read"], None)

    def used_after(last_used: str) -> bool:
        session.execute(text(f"update api_keys set last_used_at = {last_used}"))
        session.refresh(row)
        before = row.last_used_at
        api_keys.authenticate(session, PEPPER, key)
        session.refresh(row)
        return row.last_used_at != before

    assert used_after("null")
    assert used_after("now() - interval '61 seconds'")
    assert not used_after("now() - interval '59 seconds'")


def test_a_request_does_not_wait_for_another_one_with_the_same_key(database: Database) -> None:
    with database.transaction() as session:
        project = api_keys.ensure_project(session, "acme").id
        _, key = api_keys.create(session, PEPPER, project, "ci", ["jobs:read"], None)

    with database.transaction() as first, database.transaction() as second:
        api_keys.authenticate(first, PEPPER, key)
        second.execute(text("set local lock_timeout = '500ms'"))
        assert api_keys.authenticate(second, PEPPER, key).project_id == project


def test_the_same_project_made_by_many_at_once_is_one(database: Database) -> None:
    barrier, found = Barrier(6), []

    def ensure() -> None:
        barrier.wait()
        with database.transaction() as session:
            found.append(api_keys.ensure_project(session, "acme").id)

    threads = [Thread(target=ensure) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(found) == 6
    assert len(set(found)) == 1


def test_a_key_needs_a_pepper(session: Session, project: str) -> None:
    with pytest.raises(ConfigurationError):
        api_keys.create(session, "", project, "ci", ["jobs:read"], None)
    assert session.query(ApiKeyRow).count() == 0


@given(st.text())
def test_a_sealed_secret_opens_to_itself_and_is_not_in_its_sealed_form(secret: str) -> None:
    box = SecretBox(PEPPER)
    sealed = box.seal(secret)

    assert box.open(sealed) == secret
    assert len(secret) < 8 or secret.encode() not in sealed


def test_a_sealed_secret_opens_under_no_other_key() -> None:
    sealed = SecretBox(PEPPER).seal("whsec_secret")

    with pytest.raises(ConfigurationError):
        SecretBox("another pepper for tests").open(sealed)


@pytest.mark.parametrize("position", [0, 5, 40, -1])
def test_an_altered_sealed_secret_does_not_open(position: int) -> None:
    sealed = bytearray(SecretBox(PEPPER).seal("whsec_secret"))
    sealed[position] ^= 1

    with pytest.raises(ConfigurationError):
        SecretBox(PEPPER).open(bytes(sealed))


@pytest.mark.parametrize("secret_key", ["", "short"])
def test_a_missing_or_short_secret_key_is_a_mistake_in_the_settings(secret_key: str) -> None:
    with pytest.raises(ConfigurationError, match="STYLEFLOW_SECRET_KEY"):
        SecretBox(secret_key)
