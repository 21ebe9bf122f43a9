"""Objects that are to be erased: a queue in the database, so that a store that is away delays it and loses nothing.

What it may get wrong: objects are erased outside of any transaction, so a process that dies in between erases them
again. That is harmless.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import structlog
from sqlalchemy import delete, insert, text
from sqlalchemy.orm import Session

from styleflow.database import Database
from styleflow.errors import StyleFlowError
from styleflow.retention_tables import ObjectErasureRow
from styleflow.storage.bucket import Bucket

AT_ONCE = 200
UPLOADS = "uploads/"
_log = structlog.get_logger(__name__)

# The claim counts as a failure until the store has answered: then the row goes. Jitter takes a name that the store
# refuses out of the company of those that it does not.
_CLAIM = text(
    "update object_erasures set attempts = attempts + 1,"
    " due_at = now() + least(900, 10 * power(2, least(attempts, 10))) * (0.5 + random()) * interval '1 second'"
    " where id = any(array(select id from object_erasures where due_at <= now() order by due_at, id"
    "  limit :limit for update skip locked))"
    " returning id, name"
)


def enqueue(session: Session, names: Iterable[str], erasure_id: str | None = None) -> None:
    """To be erased soon after the commit: keys, and prefixes that end in `/`."""
    rows = [{"name": name, "erasure_id": erasure_id} for name in names]
    if rows:
        session.execute(insert(ObjectErasureRow), rows)


@dataclass(frozen=True, kw_only=True)
class ObjectEraser:
    """Erases what is due."""

    database: Database
    bucket: Bucket

    def erase_due(self, limit: int = AT_ONCE) -> int:
        """How many names were dealt with. Raises what the bucket raises; the names are due again after a while."""
        with self.database.transaction() as session:
            claimed = session.execute(_CLAIM, {"limit": limit}).all()
        if not claimed:
            return 0
        names = [row.name for row in claimed]
        try:
            # First what is still in parts: joined in between, it is an object that is then erased.
            self._abort_parts(names)
            self.bucket.erase(names)
        except StyleFlowError as error:
            _log.warning("objects_not_erased", names=len(claimed), code=error.code)
            raise
        with self.database.transaction() as session:
            session.execute(delete(ObjectErasureRow).where(ObjectErasureRow.id.in_([row.id for row in claimed])))
        return len(claimed)

    def _abort_parts(self, names: Iterable[str]) -> None:
        for name in names:
            if name.startswith(UPLOADS):
                for found in list(self.bucket.multiparts.list_open(name)):
                    if found.key == name:
                        self.bucket.multiparts.abort(found.key, found.multipart_id)
