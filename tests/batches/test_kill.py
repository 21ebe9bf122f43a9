"""A process that expands is killed in the middle of its work, for real; another goes on."""

from __future__ import annotations

import signal
import subprocess
import sys

from tests.batches.made_items import jsonl, keyed
from tests.batches.yard import Yard
from tests.stack import eventually

LINES = 4000
# The turn outlasts the test: a child whose turn ended on a busy machine would leave nothing to be killed.
CHILD = """
import sys
from pathlib import Path
from styleflow.batches.expansion import Expander
from styleflow.batches.listing import Shelves
from styleflow.database import Database
from styleflow.storage.local import LocalBucket
from tests.batches.made_items import RULES

bucket = LocalBucket(Path(sys.argv[2]))
shelves = Shelves(bucket_named=lambda name: bucket, rules=RULES)
Expander(database=Database(sys.argv[1]), shelves=shelves, owner="child", chunk=5, turn_seconds=600).expand_once()
"""


def test_an_expansion_whose_process_was_killed_goes_on_where_it_stood(yard: Yard) -> None:
    batch = yard.manifest(jsonl(*keyed(LINES)))
    kills = 0
    for enough in (200, 1200):
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD, yard.desk.database.url, str(yard.bucket._root)]  # type: ignore[attr-defined]
        )
        try:
            eventually(lambda enough=enough: yard.counts(batch).get("listed", 0) >= enough)  # type: ignore[misc]
        finally:
            child.send_signal(signal.SIGKILL)
            child.wait(10)
        kills += yard.batch(batch).expanded_at is None
        yard.desk.sql("update batches set lease_expires_at = now() where id = :id", id=batch)
    assert kills == 2

    yard.expand()

    assert [found.source and found.source["key"] for found in yard.items(batch)] == [
        line["key"] for line in keyed(LINES)
    ]
    assert yard.counts(batch) == {"listed": LINES}
