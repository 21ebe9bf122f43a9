from __future__ import annotations

import os
from pathlib import Path

from tests.media import RED, canvas, write_video


def test_writing_a_video_leaves_the_thread_scheduled_as_it_was(tmp_path: Path) -> None:
    before = os.sched_getscheduler(0)

    write_video(tmp_path / "av1.mp4", [canvas(64, 64, RED)] * 3, codec="libsvtav1")

    assert os.sched_getscheduler(0) == before
