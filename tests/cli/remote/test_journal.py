from __future__ import annotations

import errno
import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from styleflow.cli.remote.journal import REMEMBERED, Journal
from styleflow.cli.remote.sources import VideoSource, source_of
from styleflow.errors import ConfigurationError

SOURCE = source_of("https://media.test/a.mp4")


def write_three(path: Path) -> list[str]:
    """Submissions that got as far as: their beginning, their upload, their job. Returns their keys."""
    with Journal(path) as journal:
        begun, uploaded, done = (journal.begin(name, SOURCE) for name in ("begun", "uploaded", "done"))
        journal.uploaded(uploaded, "upl_1")
        journal.submitted(journal.uploaded(done, "upl_2"), "job_2")
    return [begun.key, uploaded.key, done.key]


def test_a_rerun_finds_every_submission_as_far_as_it_got_and_under_its_key(tmp_path: Path) -> None:
    keys = write_three(tmp_path / "journal")
    with Journal(tmp_path / "journal") as journal:
        found = [journal.begin(name, SOURCE) for name in ("begun", "uploaded", "done")]
    assert [entry.key for entry in found] == keys
    assert [(entry.upload_id, entry.job_id) for entry in found] == [(None, None), ("upl_1", None), ("upl_2", "job_2")]
    assert not any(entry.is_new for entry in found)


def test_the_key_is_in_the_file_before_anything_can_be_sent(tmp_path: Path) -> None:
    with Journal(tmp_path / "journal") as journal:
        entry = journal.begin("a", SOURCE)
        (line,) = (tmp_path / "journal").read_text().splitlines()
    assert json.loads(line)["key"] == entry.key
    assert json.loads(line)["source"] == SOURCE.text


@given(cut=st.integers(0, 10_000))
def test_a_journal_that_was_cut_off_anywhere_loses_no_key_of_a_whole_line_and_can_be_written_on(
    cut: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("cut") / "journal"
    keys = write_three(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: min(cut, len(whole))])
    complete = path.read_bytes().rpartition(b"\n")[0].decode().splitlines()
    kept = {json.loads(line)["key"] for line in complete}
    with Journal(path) as journal:
        again = {name: journal.begin(name, SOURCE) for name in ("begun", "uploaded", "done")}
        journal.submitted(again["begun"], "job_0")
    for key, entry in zip(keys, again.values(), strict=True):
        assert entry.key == key or key not in kept
    with Journal(path) as journal:
        assert {name: journal.begin(name, SOURCE).key for name in again} == {
            name: entry.key for name, entry in again.items()
        }
        assert journal.begin("begun", SOURCE).job_id == "job_0"


def test_two_processes_cannot_use_one_journal(tmp_path: Path) -> None:
    with (
        Journal(tmp_path / "journal"),
        pytest.raises(ConfigurationError, match="another process"),
        Journal(tmp_path / "journal"),
    ):
        pass
    with Journal(tmp_path / "journal"):
        pass


def test_a_journal_that_cannot_be_written_is_told_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be used: Is a directory"), Journal(tmp_path):
        pass
    (tmp_path / "video.mp4").write_bytes(b"\xff\xfe\x00\xff")
    with pytest.raises(ConfigurationError, match="no text"), Journal(tmp_path / "video.mp4"):
        pass


def test_a_file_that_is_something_else_is_not_written_to(tmp_path: Path) -> None:
    (tmp_path / "list").write_text("a.mp4\nb.mp4\n")
    with pytest.raises(ConfigurationError, match="is no journal"), Journal(tmp_path / "list"):
        pass
    assert (tmp_path / "list").read_text() == "a.mp4\nb.mp4\n"


def test_nothing_is_begun_that_cannot_be_noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with Journal(tmp_path / "journal") as journal:
        monkeypatch.setattr("styleflow.cli.remote.journal.os.fsync", full)
        with pytest.raises(ConfigurationError, match="cannot be written: No space left on device"):
            journal.begin("a", SOURCE)
        monkeypatch.undo()


def test_without_a_file_keys_are_new_in_every_run() -> None:
    keys = set()
    for _ in range(2):
        with Journal(None) as journal:
            keys.add(journal.begin("a", SOURCE).key)
            assert journal.begin("a", SOURCE).key in keys, "within a run they are kept"
    assert len(keys) == 2


def test_an_old_key_is_not_relied_on(tmp_path: Path) -> None:
    write_three(tmp_path / "journal")
    with Journal(tmp_path / "journal") as journal:
        entry = journal.begin("begun", SOURCE)
        assert entry.is_remembered(datetime.now(UTC))
        assert not entry.is_remembered(datetime.now(UTC) + REMEMBERED + timedelta(minutes=1))


def test_a_source_with_letters_of_any_kind_is_kept(tmp_path: Path) -> None:
    odd = VideoSource(text="vidéo \udcff\n.mp4", body=None)
    with Journal(tmp_path / "journal") as journal:
        key = journal.begin("odd", odd).key
    with Journal(tmp_path / "journal") as journal:
        assert journal.begin("odd", odd).key == key
