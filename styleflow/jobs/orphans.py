"""Objects in our bucket that no row names: what a fenced attempt stored, or what was put after its row was deleted.

The bucket is walked a piece at a time, and the walk is taken up where it stopped; a process that begins anew begins
the walk anew. A day of grace is longer than any attempt may take between storing its report and settling.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import timedelta
from itertools import chain, islice

from sqlalchemy import select
from sqlalchemy.orm import Session

from styleflow.database import Database
from styleflow.jobs.source_copies import ERASED
from styleflow.jobs.transitions import clock
from styleflow.storage.bucket import Bucket, StoredObject
from styleflow.storage.keys import crop_key
from styleflow.tables import ResultRow, UploadRow

GRACE = timedelta(hours=24)
OBJECTS_PER_CALL = 2000
EVIDENCE, UPLOADS, CROPS = "evidence/", "uploads/", "crops/"


class OrphanReaper:
    """Deletes orphans. One thread uses it."""

    def __init__(self, database: Database, bucket: Bucket) -> None:
        self._database = database
        self._bucket = bucket
        self._walk: Iterator[StoredObject] | None = None

    def reap(self, limit: int = OBJECTS_PER_CALL) -> int:
        """Look at the next `limit` objects; returns how many were deleted. Raises what the bucket raises."""
        walk = self._walk or chain.from_iterable(map(self._bucket.list, (EVIDENCE, UPLOADS, CROPS)))
        self._walk = None  # one that breaks off or ends does not go on: the next call begins anew
        seen = list(islice(walk, limit))
        if len(seen) == limit:
            self._walk = walk
        with self._database.transaction() as session:
            orphans = find_orphans(session, seen)
        self._bucket.erase(orphans)
        return len(orphans)


def find_orphans(session: Session, objects: list[StoredObject]) -> list[str]:
    """Keys of those that are older than GRACE and named neither by a result nor by an upload."""
    before = clock(session) - GRACE
    old = [found.key for found in objects if found.modified_at < before]
    jobs = {key.split("/")[1] for key in old if key.startswith(EVIDENCE)}
    uploads = {key.rpartition("/")[2] for key in old if key.startswith(UPLOADS)}
    pictured = {key.split("/")[1] for key in old if key.startswith(CROPS)}
    named = set(session.scalars(select(ResultRow.report_key).where(ResultRow.job_id.in_(jobs))))
    named |= set(session.scalars(select(UploadRow.key).where(UploadRow.id.in_(uploads), UploadRow.state != ERASED)))
    named |= _crops_named(session, pictured)
    return [key for key in old if key not in named]


def _crops_named(session: Session, jobs: Iterable[str]) -> set[str]:
    """By the results of these jobs; their class takes them when its time has come."""
    found = session.execute(
        select(ResultRow.job_id, ResultRow.token, ResultRow.report["crops"]).where(ResultRow.job_id.in_(jobs))
    )
    return {crop_key(job_id, token, crop["crop_id"]) for job_id, token, crops in found for crop in crops or ()}
