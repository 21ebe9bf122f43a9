"""A process that exports is killed in the middle of its work, for real; another goes on."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

from tests.exports.copyroom import Copyroom
from tests.stack import eventually

JOBS = 2_000
# The turn outlasts the test: a child whose turn ended on a busy machine would leave nothing to be killed.
CHILD = """
import sys
from pathlib import Path
from styleflow.database import Database
from styleflow.exports import selection
from styleflow.exports.exporter import Exporter
from styleflow.storage.local import LocalBucket

selection.JOBS_AT_ONCE = 5
bucket = LocalBucket(Path(sys.argv[2]))
Exporter(database=Database(sys.argv[1]), bucket=bucket, bucket_named=lambda project, name: bucket, owner="child",
         scratch=Path(sys.argv[3]), file_rows=5, turn_seconds=600).export_once()
"""


def test_an_export_whose_process_was_killed_goes_on_behind_its_last_file(room: Copyroom, tmp_path: Path) -> None:
    jobs = room.queue(JOBS)
    export = room.create()
    kills = 0
    for enough in (10, 40):
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD, room.desk.database.url, str(room.bucket._root), tmp_path]  # type: ignore[attr-defined]
        )
        try:
            eventually(lambda enough=enough: room.export(export).file_count >= enough)  # type: ignore[misc]
        finally:
            child.send_signal(signal.SIGKILL)
            child.wait(10)
        kills += room.export(export).finished_at is None
        room.expire_lease(export)
    assert kills == 2

    room.write()

    assert [row["job_id"] for row in room.rows(export)] == jobs
    assert sum(file.row_count for file in room.files(export)) == room.export(export).row_count == JOBS
    named = {file.key for file in room.files(export)}
    assert {key for key in room.objects() if "part-" in key} == named, "nothing of the killed ones is left"
