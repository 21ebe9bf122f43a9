from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from styleflow.cli.analyze import analyze, sparkline
from styleflow.models.sizes import COMPACT
from styleflow.models.weights import write_random_pack
from styleflow.report import report_from_json
from tests.media import SAMPLES, text_file

app = typer.Typer()
app.command()(analyze)


@pytest.fixture(scope="module")
def packs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("packs")
    write_random_pack(directory, COMPACT, seed=7)
    return directory


def run(*arguments: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    return result.exit_code, result.stdout, result.stderr


def test_a_settled_video_exits_with_0_and_shows_outcome_faces_and_flow(packs: Path) -> None:
    code, shown, _ = run(SAMPLES / "grid-swiz3n.mpg", "--packs", packs, "--device", "cpu")

    assert code == 0
    assert "inconclusive (uncalibrated_weights)" in shown
    assert "face-1" in shown
    assert any(bar in shown for bar in "▂▃▄▅▆▇█")


def test_json_is_the_report_and_nothing_else(packs: Path) -> None:
    code, shown, _ = run(SAMPLES / "grid-swiz3n.mpg", "--json", "--packs", packs, "--device", "cpu")

    report = report_from_json(json.loads(shown))
    assert code == 0
    assert report.media.sha256 is not None
    assert len(report.media.sha256) == 64


def test_what_is_no_video_exits_with_2_and_its_error_code(packs: Path, tmp_path: Path) -> None:
    code, shown, said = run(text_file(tmp_path / "letter.mp4"), "--packs", packs, "--device", "cpu")

    assert (code, shown) == (2, "")
    assert said.startswith("container_unsupported: ")
    assert str(tmp_path) not in said


def test_a_file_that_is_not_there_exits_with_2(packs: Path, tmp_path: Path) -> None:
    code, _, said = run(tmp_path / "nowhere.mp4", "--packs", packs)

    assert code == 2
    assert said.startswith("source_not_found: ")


def test_a_model_that_is_not_served_exits_with_2(packs: Path) -> None:
    code, _, said = run(SAMPLES / "grid-swiz3n.mpg", "--packs", packs, "--model", "other@1")

    assert code == 2
    assert said.startswith("unknown_model: ")


def test_a_folder_without_a_pack_says_how_to_make_one(tmp_path: Path) -> None:
    code, _, said = run(SAMPLES / "grid-swiz3n.mpg", "--packs", tmp_path)

    assert code == 1
    assert "styleflow weights install" in said


def test_a_bare_install_is_told_what_to_install(packs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "styleflow.detection.analyze", None)

    code, _, said = run(SAMPLES / "grid-swiz3n.mpg", "--packs", packs)

    assert code == 1
    assert "styleflow[detector]" in said


@pytest.mark.parametrize(
    ("values", "width", "drawn"),
    [
        ([0.0, 1.0, 2.0, 3.0], 4, "▁▃▅█"),
        ([0.0, 0.0, 7.0, 7.0], 2, "▁█"),
        ([1.0, None, 1.0], 3, "▁ ▁"),
        ([None, None], 2, ""),
        ([], 5, ""),
    ],
)
def test_a_sparkline_draws_means_and_leaves_holes(values: list[float | None], width: int, drawn: str) -> None:
    assert sparkline(values, width) == drawn
