"""Objects in parts that nobody will complete: of uploads that expired or were deleted, and those begun and not noted
down.

What it may get wrong: nothing that is still wanted is aborted. A store that lists them late has them a round longer;
a lifecycle rule of the bucket is the second net (docs/operations.md).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from styleflow.database import Database
from styleflow.jobs.transitions import clock
from styleflow.storage.bucket import Bucket
from styleflow.storage.multiparts import OpenMultipart
from styleflow.tables import UploadRow

GRACE = timedelta(hours=1)
"""Between the beginning in the bucket and the row that names it lies a moment; this is much longer."""
UPLOADS = "uploads/"
_AT_ONCE = 500


@dataclass(frozen=True)
class MultipartReaper:
    """Aborts them in one bucket."""

    database: Database
    bucket: Bucket

    def reap(self) -> int:
        """One look at everything that is open; returns how many were aborted. Raises what the bucket raises."""
        return sum(self._abort(some) for some in _chunked(self.bucket.multiparts.list_open(UPLOADS)))

    def _abort(self, opened: list[OpenMultipart]) -> int:
        with self.database.transaction() as session:
            unwanted = find_unwanted(session, opened)
        for found in unwanted:
            self.bucket.multiparts.abort(found.key, found.multipart_id)
        return len(unwanted)


def find_unwanted(session: Session, opened: list[OpenMultipart]) -> list[OpenMultipart]:
    """Those older than GRACE that no pending upload names, or only one that has expired."""
    wanted = session.scalars(
        select(UploadRow.multipart_id).where(
            UploadRow.id.in_([found.key.rpartition("/")[2] for found in opened]),
            UploadRow.state == "pending",
            UploadRow.expires_at > func.now(),
        )
    ).all()
    before = clock(session) - GRACE
    return [found for found in opened if found.begun_at < before and found.multipart_id not in wanted]


def _chunked(opened: Iterable[OpenMultipart]) -> Iterable[list[OpenMultipart]]:
    some: list[OpenMultipart] = []
    for found in opened:
        some.append(found)
        if len(some) == _AT_ONCE:
            yield some
            some = []
    yield some
