"""The rows of announced uploads, and the proof that the bytes are there."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from api.schemas.uploads import CreateUpload
from styleflow.database import Database
from styleflow.errors import NotFound, UploadMismatch
from styleflow.ids import new_id
from styleflow.jobs.source_copies import ERASED
from styleflow.jobs.tombstones import upload_erased
from styleflow.storage.bucket import Bucket
from styleflow.storage.keys import upload_key
from styleflow.tables import UploadRow

SHORTEST_WAIT_HOURS = 1.0


def waiting_hours(source_hours: float) -> float:
    """After that an upload that no job names is erased. There is time to send it, however short sources are kept."""
    return max(SHORTEST_WAIT_HOURS, source_hours)


def announce_upload(session: Session, project_id: str, body: CreateUpload, hours: float) -> UploadRow:
    """`hours` is how long it waits for a job."""
    upload_id = new_id("upl")
    moment = session.execute(select(func.now())).scalar_one()
    row = UploadRow(
        id=upload_id,
        project_id=project_id,
        state="pending",
        filename=body.filename,
        content_type=body.content_type,
        size_bytes=body.size_bytes,
        sha256=body.sha256,
        key=upload_key(project_id, upload_id),
        created_at=moment,
        expires_at=moment + timedelta(hours=hours),
    )
    session.add(row)
    session.flush()
    return row


def get_upload(session: Session, project_id: str, upload_id: str, *, lock: bool = False) -> UploadRow:
    """Raises NotFound, also for another project's upload, and Erased."""
    wanted = select(UploadRow).where(UploadRow.id == upload_id, UploadRow.project_id == project_id)
    row = session.scalars(wanted.with_for_update() if lock else wanted).one_or_none()
    if row is None:
        raise NotFound
    if row.state == ERASED:
        raise upload_erased(row.expires_at)
    return row


def completed_upload(database: Database, bucket: Bucket, project_id: str, upload_id: str) -> UploadRow:
    """Look into the bucket, with no transaction open, where that was not done yet. Raises NotFound, Erased,
    UploadMismatch."""
    with database.transaction() as session:
        row = get_upload(session, project_id, upload_id)
    if row.state == "complete":
        return row
    facts = bucket.head(row.key)
    if facts is None:
        raise UploadMismatch("No bytes have arrived for this upload; PUT them to its address first.")
    if facts.size_bytes != row.size_bytes:
        raise UploadMismatch(f"{facts.size_bytes} bytes arrived, {row.size_bytes} were announced.")
    with database.transaction() as session:
        row = get_upload(session, project_id, upload_id, lock=True)
        if row.state != "complete":
            row.state = "complete"
            row.etag = facts.etag
        return row


def upload_source(row: UploadRow) -> dict[str, Any]:
    """A complete upload as a job stores it: pinned to these very bytes."""
    return {
        "type": "upload",
        "upload_id": row.id,
        "key": row.key,
        "etag": row.etag,
        "size_bytes": row.size_bytes,
        "sha256": row.sha256,
    }


def pending_upload(session: Session, upload_id: str, *, lock: bool = False) -> UploadRow:
    """For whoever holds the upload's signed address. Raises NotFound, and UploadMismatch when it is complete."""
    row = session.get(UploadRow, upload_id, with_for_update=lock or None)
    if row is None or row.state == ERASED:
        raise NotFound
    if row.state != "pending":
        raise UploadMismatch("The upload is complete; its bytes do not change any more.")
    return row
