from __future__ import annotations

import socket
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from styleflow.cli.stack import (
    Place,
    checkout_folder,
    environment_of,
    free_port,
    home_folder,
    kept_secret,
    require_free,
    worker_threads,
    write_private,
)
from styleflow.errors import ConfigurationError

PLACE = Place(home=Path("/somewhere/home"), checkout=Path("/somewhere"), host="127.0.0.1", port=8123)
EMBEDDED = {"STYLEFLOW_DATABASE_URL": "postgresql+psycopg://own", "STYLEFLOW_REDIS_URL": "redis+socket://own"}


def test_without_settings_everything_lies_in_the_home() -> None:
    told = environment_of(PLACE, {}, embedded=EMBEDDED, secret="s")
    assert told["STYLEFLOW_DATABASE_URL"] == "postgresql+psycopg://own"
    assert told["STYLEFLOW_BUCKET_URL"] == "file:///somewhere/home/bucket"
    assert told["STYLEFLOW_PACKS_DIRECTORY"] == "/somewhere/home/packs"
    assert told["STYLEFLOW_PUBLIC_URL"] == "http://127.0.0.1:8123"
    assert told["STYLEFLOW_COMPAT_PREDICT"] == "true"


def test_egress_stays_strict_unless_development_settings_are_given() -> None:
    told = environment_of(PLACE, {}, embedded=EMBEDDED, secret="s")
    assert not [name for name in told if name.startswith("STYLEFLOW_EGRESS")]


@pytest.mark.parametrize("name", ["STYLEFLOW_BUCKET_URL", "STYLEFLOW_SECRET_KEY", "STYLEFLOW_PUBLIC_URL"])
def test_a_setting_that_is_given_wins(name: str) -> None:
    assert environment_of(PLACE, {name: "given"}, embedded=EMBEDDED, secret="s")[name] == "given"


def test_an_empty_setting_counts_as_not_given() -> None:
    assert (
        environment_of(PLACE, {"STYLEFLOW_SECRET_KEY": ""}, embedded=EMBEDDED, secret="s")["STYLEFLOW_SECRET_KEY"]
        == "s"
    )


@pytest.mark.parametrize(
    ("host", "url"),
    [("127.0.0.1", "http://127.0.0.1:8123"), ("0.0.0.0", "http://127.0.0.1:8123"), ("::1", "http://[::1]:8123")],
)
def test_the_address_can_be_called_from_this_machine(host: str, url: str) -> None:
    assert Place(home=Path("/h"), checkout=Path("/"), host=host, port=8123).url == url


@given(cores=st.integers(1, 256), workers=st.integers(1, 32))
def test_workers_together_take_no_more_threads_than_there_are_cores_but_at_least_one_each(
    cores: int, workers: int
) -> None:
    threads = worker_threads(cores, workers)
    assert threads >= 1
    assert threads == 1 or threads * workers <= cores


def test_a_taken_port_is_told_in_one_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigurationError, match=f"port {port} is taken .*: choose another with STYLEFLOW_PORT"):
            require_free("127.0.0.1", port)
    require_free("127.0.0.1", free_port("127.0.0.1"))


def test_the_secret_is_made_once_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    first = kept_secret(tmp_path)
    assert len(first) >= 48
    assert kept_secret(tmp_path) == first
    assert (tmp_path / "secret-key").stat().st_mode & 0o777 == 0o600


def test_a_private_file_replaces_a_readable_one(tmp_path: Path) -> None:
    path = tmp_path / "api-key"
    path.write_text("old")
    path.chmod(0o644)
    write_private(path, "new")
    assert path.read_text() == "new\n"
    assert path.stat().st_mode & 0o777 == 0o600


def test_the_home_is_in_the_checkout_unless_another_is_given(tmp_path: Path) -> None:
    assert home_folder(None) == checkout_folder() / ".styleflow"
    assert home_folder(tmp_path) == tmp_path


def test_outside_a_checkout_the_commands_that_need_one_say_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("styleflow.__file__", str(tmp_path / "styleflow" / "__init__.py"))
    with pytest.raises(ConfigurationError, match="runs from a checkout"):
        checkout_folder()
