from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from worker.scratch import Scratch

HOLDER = """
import sys
from pathlib import Path
from worker.scratch import Scratch
scratch = Scratch(Path(sys.argv[1]), "held").__enter__()
(scratch.folder / "source").write_text("somebody's video")
print("ready", flush=True)
sys.stdin.read()
"""


def hold(common: Path) -> subprocess.Popen[str]:
    """A process with a video in its folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, common], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


def test_the_video_of_a_killed_worker_is_deleted_by_the_next_that_starts(tmp_path: Path) -> None:
    end(hold(tmp_path))
    assert (tmp_path / "held" / "source").exists()

    with Scratch(tmp_path, "next"):
        assert sorted(path.name for path in tmp_path.iterdir()) == ["next", "next.lock"]


def test_the_video_of_a_living_worker_is_left_alone(tmp_path: Path) -> None:
    holder = hold(tmp_path)

    with Scratch(tmp_path, "next"):
        assert (tmp_path / "held" / "source").exists()

    end(holder)


def test_a_worker_that_ends_leaves_nothing(tmp_path: Path) -> None:
    with Scratch(tmp_path / "common", "one") as scratch:
        (scratch.folder / "source").write_text("a video")

    assert list((tmp_path / "common").iterdir()) == []
