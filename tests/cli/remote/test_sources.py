from __future__ import annotations

import os
from pathlib import Path

import pytest

from styleflow.cli.remote.sources import identity, lines_of, source_of
from styleflow.errors import InvalidRequest


@pytest.mark.parametrize(
    ("text", "body"),
    [
        ("https://a.test/x.mp4", {"type": "url", "url": "https://a.test/x.mp4"}),
        ("HTTP://a.test/x", {"type": "url", "url": "HTTP://a.test/x"}),
        ("s3://b/2026/a b%20.mp4", {"type": "s3", "bucket": "b", "key": "2026/a b%20.mp4"}),
    ],
)
def test_an_address_is_taken_as_it_stands(text: str, body: dict[str, str]) -> None:
    assert source_of(text).body == body


def test_anything_else_is_a_file(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"123")
    source = source_of(str(path))
    assert (source.path, source.size_bytes, source.body, source.name) == (path, 3, None, "clip.mp4")


@pytest.mark.parametrize("text", ["s3://bucket", "s3:///key", "absent.mp4", "/tmp", "a\0b"])
def test_what_names_no_video_is_refused_in_a_sentence(text: str) -> None:
    with pytest.raises(InvalidRequest, match=r"no object|cannot be read|is no file"):
        source_of(text)


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    with pytest.raises(InvalidRequest, match="is empty"):
        source_of(str(tmp_path / "a"))


def test_a_list_has_a_source_in_a_line() -> None:
    assert list(lines_of(["# ours\n", "a.mp4\r\n", "\n", "  s3://b/k\n", "last"])) == ["a.mp4", "s3://b/k", "last"]


def test_a_changed_file_another_order_and_another_server_are_another_submission(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"123")
    source = source_of(str(path))
    first = identity(source, {"lane": "bulk"}, "http://a")
    assert identity(source_of(str(path)), {"lane": "bulk"}, "http://a") == first
    assert identity(source, {"lane": "standard"}, "http://a") != first
    assert identity(source, {"lane": "bulk"}, "http://b") != first
    os.utime(path, ns=(1, 1))
    assert identity(source_of(str(path)), {"lane": "bulk"}, "http://a") != first


def test_a_file_is_the_same_from_wherever_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "clip.mp4").write_bytes(b"123")
    monkeypatch.chdir(tmp_path)
    assert identity(source_of("clip.mp4"), {}, "s") == identity(source_of(str(tmp_path / "clip.mp4")), {}, "s")
