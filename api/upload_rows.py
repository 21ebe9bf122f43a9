"""The rows of announced uploads."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from api.schemas.uploads import CreateUpload
from styleflow.errors import NotFound, UploadMismatch
from styleflow.ids import new_id
from styleflow.jobs.source_copies import ERASED
from styleflow.jobs.tombstones import upload_erased
from styleflow.storage.keys import upload_key
from styleflow.storage.multiparts import SINGLE_PUT_BYTES, PartPlan, plan_parts
from styleflow.tables import UploadRow

SHORTEST_WAIT_HOURS = 1.0


def waiting_hours(source_hours: float) -> float:
    """After that an upload that no job names is erased. There is time to send it, however short sources are kept."""
    return max(SHORTEST_WAIT_HOURS, source_hours)


def announce_upload(session: Session, project_id: str, body: CreateUpload, hours: float) -> UploadRow:
    """`hours` is how long it waits for a job."""
    upload_id = new_id("upl")
    moment = session.execute(select(func.now())).scalar_one()
    in_parts = body.multipart or body.size_bytes > SINGLE_PUT_BYTES
    row = UploadRow(
        id=upload_id,
        project_id=project_id,
        state="pending",
        filename=body.filename,
        content_type=body.content_type,
        size_bytes=body.size_bytes,
        sha256=body.sha256,
        key=upload_key(project_id, upload_id),
        part_bytes=plan_parts(body.size_bytes).part_bytes if in_parts else None,
        created_at=moment,
        expires_at=moment + timedelta(hours=hours),
    )
    session.add(row)
    session.flush()
    return row


def part_plan(row: UploadRow) -> PartPlan | None:
    """As it was announced; None for an upload in one piece."""
    return None if row.part_bytes is None else PartPlan(row.size_bytes, row.part_bytes)


def get_upload(session: Session, project_id: str, upload_id: str, *, lock: bool = False) -> UploadRow:
    """Raises NotFound, also for another project's upload, and Erased."""
    wanted = select(UploadRow).where(UploadRow.id == upload_id, UploadRow.project_id == project_id)
    row = session.scalars(wanted.with_for_update() if lock else wanted).one_or_none()
    if row is None:
        raise NotFound
    if row.state == ERASED:
        raise upload_erased(row.expires_at)
    return row


def get_pending(session: Session, upload_id: str, *, lock: bool = False) -> UploadRow:
    """For whoever holds the upload's signed address. Raises NotFound, and UploadMismatch when it is complete."""
    row = session.get(UploadRow, upload_id, with_for_update=lock or None)
    if row is None or row.state == ERASED:
        raise NotFound
    check_pending(row)
    return row


def check_pending(row: UploadRow) -> None:
    """Raises UploadMismatch."""
    if row.state != "pending":
        raise UploadMismatch("The upload is complete; its bytes do not change any more.")
