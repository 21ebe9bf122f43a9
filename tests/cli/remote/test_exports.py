"""`styleflow exports` against a real service; what it sends and refuses in detail is in test_wire.py."""

from __future__ import annotations

import csv
import json
from pathlib import Path

from tests.cli.remote.conftest import Caller


def test_what_was_found_is_written_into_files_and_fetched(caller: Caller, tmp_path: Path) -> None:
    videos = [str(caller.video(name)) for name in "ab"]
    caller.json("jobs", "submit", *videos, "--wait", "--lane", "realtime")
    asked = ("--state", "succeeded", "--since", "2026-01-01", "--field", "client_ref", "--field", "outcome")
    done = caller.run("exports", "create", "--format", "csv", *asked, "--into", str(tmp_path / "out"))
    assert (done.exit_code, "1 file in" in done.stderr) == (0, True)
    manifest, file = sorted((tmp_path / "out").iterdir())
    assert [named["name"] for named in json.loads(manifest.read_bytes())["files"]] == [file.name]
    with file.open(newline="") as rows:
        assert sorted(csv.reader(rows)) == [["a", "not_applicable"], ["b", "not_applicable"], ["client_ref", "outcome"]]

    (listed,) = caller.json("exports", "list")
    assert (listed["state"], listed["counts"]["rows"]) == ("succeeded", 2)
    assert caller.run("exports", "wait", listed["id"], "--into", str(tmp_path / "again")).exit_code == 0
    assert (tmp_path / "again" / file.name).read_bytes() == file.read_bytes()


def test_a_batch_is_exported_and_an_export_waited_for(caller: Caller, tmp_path: Path) -> None:
    (caller.installation.bucket / "ugc").mkdir(exist_ok=True)
    (caller.installation.bucket / "ugc" / f"{caller.project}.mp4").write_text("0.01")
    submitted = ("batches", "submit", f"s3://bucket/ugc/{caller.project}.mp4", "--lane", "realtime", "--watch")
    batch = caller.json(*submitted)[-1]["id"]
    (ordered,) = caller.json("batches", "export", batch, "--format", "jsonl")
    (export,) = caller.json("exports", "wait", ordered["id"], "--into", str(tmp_path))
    assert export["query"] == {"batch_id": batch}
    (file,) = tmp_path.glob("*.jsonl")
    assert [json.loads(line)["outcome"] for line in file.read_text().splitlines()] == ["not_applicable"]
    assert caller.run("exports", "show", ordered["id"]).exit_code == 0


def test_a_format_that_there_is_not_is_refused(caller: Caller) -> None:
    refused = caller.run("exports", "create", "--format", "xlsx")
    assert (refused.exit_code, "invalid_request" in refused.stderr) == (2, True)
