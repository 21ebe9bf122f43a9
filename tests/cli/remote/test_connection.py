from __future__ import annotations

from pathlib import Path

import pytest

from styleflow.cli.remote.connection import DEFAULT_URL, Address, address_of
from styleflow.cli.remote.exits import Exit
from styleflow.cli.remote.sending import Refused


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """As `styleflow up` leaves it."""
    (tmp_path / "environment").write_text("STYLEFLOW_PORT='8123'\nSTYLEFLOW_PUBLIC_URL='http://127.0.0.1:8123'\n")
    (tmp_path / "api-key").write_text("sfk_live_home\n")
    return tmp_path


def found(url: str | None = None, key_file: Path | None = None, **environment: str) -> Address:
    return address_of(url, key_file, environment)


def test_beside_a_running_stack_nothing_needs_to_be_said(home: Path) -> None:
    assert found(STYLEFLOW_HOME=str(home)) == Address(url="http://127.0.0.1:8123", key="sfk_live_home")


def test_the_key_of_the_home_goes_to_no_other_service(home: Path) -> None:
    with pytest.raises(Refused) as refused:
        found("https://elsewhere.test", STYLEFLOW_HOME=str(home))
    assert refused.value.end is Exit.FORBIDDEN
    assert "STYLEFLOW_API_KEY" in refused.value.sentence


def test_an_option_wins_over_the_environment_and_that_over_the_home(home: Path, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("sfk_live_file")
    told = {"STYLEFLOW_HOME": str(home), "STYLEFLOW_API_KEY": "sfk_live_environment"}
    assert found(**told).key == "sfk_live_environment"
    assert found("https://a.test/", tmp_path / "key", **told) == Address(url="https://a.test", key="sfk_live_file")


def test_without_a_home_the_service_is_on_this_machine(tmp_path: Path) -> None:
    told = {"STYLEFLOW_HOME": str(tmp_path / "absent"), "STYLEFLOW_API_KEY": "sfk_live_x"}
    assert found(**told) == Address(url=DEFAULT_URL, key="sfk_live_x")


@pytest.mark.parametrize("content", ["", "two words", "schlüssel"])
def test_a_file_without_a_key_is_told(tmp_path: Path, content: str) -> None:
    (tmp_path / "key").write_text(content)
    with pytest.raises(Refused) as refused:
        found(key_file=tmp_path / "key", STYLEFLOW_HOME=str(tmp_path))
    assert (refused.value.end, "no API key" in refused.value.sentence) == (Exit.FORBIDDEN, True)


def test_a_key_in_place_of_its_file_is_refused_and_called_lost(tmp_path: Path) -> None:
    with pytest.raises(Refused) as refused:
        found(key_file=Path("sfk_live_abc"), STYLEFLOW_HOME=str(tmp_path))
    assert refused.value.end is Exit.REFUSED
    assert "revoke" in refused.value.sentence
    assert "abc" not in refused.value.sentence
