from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from styleflow.cli.weights import app
from styleflow.packs import Catalog


def invoked(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


def test_init_makes_a_compact_pack_once_and_list_and_show_find_it(tmp_path: Path) -> None:
    first = invoked("init", "--directory", str(tmp_path))
    again = invoked("init", "--directory", str(tmp_path))

    assert first.exit_code == 0
    assert again.output == first.output
    assert Catalog(tmp_path).resolve("styleflow@default").card.size == "compact"
    assert "styleflow-compact@random-0 (default)" in invoked("list", "--directory", str(tmp_path)).output
    shown = json.loads(invoked("show", "--directory", str(tmp_path)).output)
    assert shown["training"]["statement"] == "random weights: not trained"


def test_init_takes_the_folder_from_the_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STYLEFLOW_PACKS_DIRECTORY", str(tmp_path))

    assert invoked("init", "--seed", "5").exit_code == 0
    assert [card.model for card in Catalog(tmp_path).cards] == ["styleflow-compact@random-5"]


def test_show_of_an_altered_or_unknown_pack_exits_with_the_errors_code(tmp_path: Path) -> None:
    invoked("init", "--directory", str(tmp_path))
    weights = next(tmp_path.glob("*/*.safetensors"))
    weights.write_bytes(weights.read_bytes() + b"x")

    altered = invoked("show", "--directory", str(tmp_path))
    unknown = invoked("show", "paper@1", "--directory", str(tmp_path))

    assert (altered.exit_code, unknown.exit_code) == (2, 2)
    assert "model_unavailable: The pack styleflow-compact-random-0 was altered" in altered.output
    assert "unknown_model: There is no model 'paper@1'" in unknown.output


def test_an_unknown_size_is_refused(tmp_path: Path) -> None:
    assert invoked("init", "--directory", str(tmp_path), "--size", "huge").exit_code == 2
    assert not list(tmp_path.iterdir())
