"""What `styleflow evaluate` refuses; tests/cli/test_train_command.py goes all the way."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from styleflow.cli.main import app
from styleflow.models.weights import write_random_pack
from tests.models.small_networks import TINY


def evaluate(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["evaluate", *map(str, arguments)])


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    path = tmp_path / "manifest.csv"
    path.write_text("file,split,label,identity\nnothing.mp4,validation,real,ann\n")
    return path


def test_a_manifest_that_is_not_there_is_named(tmp_path: Path) -> None:
    done = evaluate(tmp_path / "none.csv")

    assert done.exit_code == 2
    assert "there is no file none.csv" in done.output


def test_an_unknown_model_lists_those_that_are_served(tmp_path: Path, manifest: Path) -> None:
    write_random_pack(tmp_path / "packs", TINY, seed=1)

    done = evaluate(manifest, "--packs-directory", tmp_path / "packs", "--model", "other@1", "--out", tmp_path / "out")

    assert done.exit_code == 2
    assert "unknown_model" in done.output
    assert "styleflow-custom@random-1" in done.output


@pytest.mark.parametrize(
    "arguments",
    [
        ("--calibrate", "platt"),
        ("--calibrate", "platt", "--rate", "weak=0.1"),
        ("--calibrate", "platt", "--rate", "weak=much"),
        ("--robustness", "--perturbation", "smoke"),
        ("--beside", "no-equals-sign"),
        ("--left-out", "SadTalker=nothing.jsonl"),
    ],
)
def test_options_that_make_no_sense_are_refused_before_anything_runs(
    manifest: Path, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    done = evaluate(manifest, "--out", tmp_path / "out", *arguments)

    assert done.exit_code == 2
    assert not (tmp_path / "out").exists()
