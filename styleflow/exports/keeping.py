"""How long exports are kept, and what is deleted of those that came to nothing.

Files in our bucket go with their export; files in a caller's bucket are the caller's. What it may get wrong: objects go
before the transaction that forgets them commits, so a sweep that is cut off leaves rows that name missing objects until
the next one.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from itertools import islice

from sqlalchemy import delete, exists, func, select
from sqlalchemy.orm import Session

from styleflow.database import Database
from styleflow.export_tables import ExportFileRow, ExportRow
from styleflow.exports.places import prefix_of
from styleflow.exports.state import ExportState
from styleflow.jobs.idempotency import forget_answers
from styleflow.jobs.transitions import clock
from styleflow.storage.bucket import Bucket, StoredObject

EXPORTS = "exports/"
GRACE = timedelta(hours=24)
"""Longer than an attempt may take between storing a file and recording it."""
OBJECTS_PER_CALL = 2000
_FRUITLESS = (ExportState.CANCELED, ExportState.FAILED)


def forget_export(session: Session, bucket: Bucket, export: ExportRow) -> None:
    """A locked, finished export with all that it wrote into our bucket. Raises what the bucket raises."""
    _drop_objects(bucket, export)
    forget_answers(session, [export.id])
    session.delete(export)
    session.flush()


def sweep_expired(session: Session, bucket: Bucket) -> int:
    """Forget one export past its `expires_at`; returns how many: 0 or 1."""
    export = session.scalars(
        select(ExportRow)
        .where(ExportRow.finished_at.is_not(None), ExportRow.expires_at < func.now())
        .order_by(ExportRow.expires_at)
        .limit(1)
        .with_for_update(skip_locked=True)
    ).one_or_none()
    if export is None:
        return 0
    forget_export(session, bucket, export)
    return 1


def sweep_fruitless(session: Session, bucket: Bucket) -> int:
    """Delete the files of one export that failed or was canceled: half of a list is none. Returns how many: 0 or 1."""
    written = exists().where(ExportFileRow.export_id == ExportRow.id)
    export = session.scalars(
        select(ExportRow)
        .where(ExportRow.state.in_(_FRUITLESS), written, ExportRow.destination.is_(None))
        .limit(1)
        .with_for_update(skip_locked=True)
    ).one_or_none()
    if export is None:
        return 0
    _drop_objects(bucket, export)
    session.execute(delete(ExportFileRow).where(ExportFileRow.export_id == export.id))
    return 1


def _drop_objects(bucket: Bucket, export: ExportRow) -> None:
    if export.destination is None:
        bucket.delete([found.key for found in bucket.list(prefix_of(export))])


class ExportReaper:
    """Deletes objects under `exports/` that no row names: what a fenced attempt stored late. One thread uses it."""

    def __init__(self, database: Database, bucket: Bucket) -> None:
        self._database = database
        self._bucket = bucket
        self._walk: Iterator[StoredObject] | None = None

    def reap(self, limit: int = OBJECTS_PER_CALL) -> int:
        """Look at the next `limit` objects; returns how many were deleted. Raises what the bucket raises."""
        walk = self._walk or self._bucket.list(EXPORTS)
        self._walk = None  # one that breaks off or ends does not go on: the next call begins anew
        seen = list(islice(walk, limit))
        if len(seen) == limit:
            self._walk = walk
        with self._database.transaction() as session:
            orphans = find_orphans(session, seen)
        self._bucket.delete(orphans)
        return len(orphans)


def find_orphans(session: Session, objects: list[StoredObject]) -> list[str]:
    """Keys of those that are older than GRACE and named neither by a file nor by a manifest."""
    before = clock(session) - GRACE
    old = [found.key for found in objects if found.modified_at < before]
    named = set(session.scalars(select(ExportFileRow.key).where(ExportFileRow.key.in_(old))))
    exports = {key.split("/")[2] for key in old if key.count("/") >= 3}
    manifests = select(ExportRow.manifest["key"].astext).where(
        ExportRow.id.in_(exports), ExportRow.manifest.is_not(None)
    )
    named |= set(session.scalars(manifests))
    return [key for key in old if key not in named]
