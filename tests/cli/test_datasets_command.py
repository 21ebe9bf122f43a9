from __future__ import annotations

import json
from pathlib import Path

from typer.testing import CliRunner

from styleflow.cli.datasets import app
from styleflow.datasets.manifest import Manifest
from tests.datasets.test_layouts import celeb_df, folder

RUN = CliRunner()


def test_a_complete_set_exits_with_0_and_its_manifest_can_be_read(tmp_path: Path) -> None:
    folder(tmp_path / "set")

    done = RUN.invoke(app, ["scan", "folder", str(tmp_path / "set"), "--out", str(tmp_path / "manifest.csv")])

    assert done.exit_code == 0, done.output
    manifest = Manifest.from_csv(tmp_path / "manifest.csv")
    assert len(manifest.entries) == 4
    assert all((tmp_path / entry.path).is_file() for entry in manifest.entries)


def test_a_missing_video_is_named_and_exits_with_1(tmp_path: Path) -> None:
    celeb_df(tmp_path)
    (tmp_path / "YouTube-real" / "00170.mp4").unlink()

    plain = RUN.invoke(app, ["scan", "celeb-df-v2", str(tmp_path)])
    as_json = RUN.invoke(app, ["scan", "celeb-df-v2", str(tmp_path), "--json"])

    assert (plain.exit_code, as_json.exit_code) == (1, 1)
    assert "missing: YouTube-real/00170.mp4" in plain.output
    assert json.loads(as_json.output)["missing"] == ["YouTube-real/00170.mp4"]


def test_what_cannot_be_used_exits_with_2(tmp_path: Path) -> None:
    assert RUN.invoke(app, ["scan", "folder", str(tmp_path / "nothing")]).exit_code == 2
    assert RUN.invoke(app, ["scan", "imagenet", str(tmp_path)]).exit_code == 2
