"""From bytes that were sent to an upload that jobs can name. Whatever asks the bucket holds no transaction open."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from api.upload_rows import get_upload, part_plan
from styleflow.database import Database
from styleflow.errors import Erased, NotFound, SourceNotFound, UploadMismatch
from styleflow.storage.bucket import Bucket, ObjectFacts
from styleflow.storage.multiparts import Part, PartPlan, StoredPart
from styleflow.tables import UploadRow

_LOOKS = 3
"""At a local bucket into which somebody keeps putting."""


def completed_upload(
    database: Database, bucket: Bucket, project_id: str, upload_id: str, parts: Sequence[Part] | None = None
) -> UploadRow:
    """The upload, its bytes looked at where that was not done yet; made of its `parts` where it comes in some.

    Raises NotFound, Erased, and UploadMismatch when the bytes are missing or not those announced.
    """
    with database.transaction() as session:
        row = get_upload(session, project_id, upload_id)
    if row.state == "complete":
        return row
    if row.multipart_id is not None and parts is not None:
        _join(bucket, row, row.multipart_id, parts)
    try:
        for _ in range(_LOOKS):
            facts = _checked(row, bucket.head(row.key, with_sha256=row.sha256 is not None))
            settled = _settled(database, project_id, upload_id, facts)
            if settled is not None:
                return settled
    except (NotFound, Erased):  # deleted meanwhile, maybe before the parts became an object
        bucket.erase([row.key])
        raise
    raise UploadMismatch("Bytes are still arriving for this upload; complete it when they are there.")


def check_parts(plan: PartPlan, named: Sequence[Part], stored: Sequence[StoredPart]) -> None:
    """Whether the parts are all that were announced, and lie there as they were sent. Raises UploadMismatch."""
    if [part.number for part in named] != list(range(1, plan.count + 1)):
        raise UploadMismatch(f"Name each of the parts 1 to {plan.count} once, in this order.")
    there = {part.number: part for part in stored}
    for part in named:
        found = there.get(part.number)
        if found is None or found.etag != part.etag:
            raise UploadMismatch(f"Part {part.number} has not arrived, or not with that ETag.")
        if found.size_bytes != plan.size_of(part.number):
            raise UploadMismatch(
                f"Part {part.number} has {found.size_bytes} bytes, {plan.size_of(part.number)} were announced."
            )


def _join(bucket: Bucket, row: UploadRow, multipart_id: str, parts: Sequence[Part]) -> None:
    plan = part_plan(row)
    # Of one that is not open any more, an earlier call may have made the object: that is looked at next.
    with suppress(SourceNotFound):
        stored = bucket.multiparts.list(row.key, multipart_id)
        if plan is not None:
            check_parts(plan, parts, stored)
        bucket.multiparts.complete(row.key, multipart_id, parts)


def _checked(row: UploadRow, facts: ObjectFacts | None) -> ObjectFacts:
    if facts is None and row.part_bytes is not None:
        raise UploadMismatch("The parts are not an object yet: send all of them and name them in `:complete`.")
    if facts is None:
        raise UploadMismatch("No bytes have arrived for this upload; PUT them to its address first.")
    if facts.size_bytes != row.size_bytes:
        raise UploadMismatch(f"{facts.size_bytes} bytes arrived, {row.size_bytes} were announced.")
    if facts.sha256 not in (None, row.sha256):
        raise UploadMismatch("The SHA-256 of the bytes is not the one that was announced.")
    return facts


def _settled(database: Database, project_id: str, upload_id: str, facts: ObjectFacts) -> UploadRow | None:
    """The upload, pinned to these facts; None when other bytes were put since they were looked at."""
    with database.transaction() as session:
        row = get_upload(session, project_id, upload_id, lock=True)
        if row.state != "complete" and row.etag not in (None, facts.etag):
            return None
        if row.state != "complete":
            row.state = "complete"
            row.etag, row.version_id = facts.etag, facts.version_id
        return row
