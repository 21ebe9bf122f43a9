"""Recording exports, reading them, canceling and deleting them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, func, select, tuple_
from sqlalchemy.orm import Session

from styleflow.batch_tables import BatchRow
from styleflow.errors import NotFound, NotRetryable, QuotaExceeded
from styleflow.export_tables import ExportFileRow, ExportRow
from styleflow.exports.state import TERMINAL, ExportState, Format, Rows
from styleflow.ids import new_id
from styleflow.jobs.transitions import clock
from styleflow.tables import JobRow

MAX_OPEN = 20
"""Exports of one project that wait or run at a time."""
COME_AGAIN_SECONDS = 30


@dataclass(frozen=True, kw_only=True)
class NewExport:
    """What a caller asks for, already checked by the door."""

    project_id: str
    rows: Rows
    format: Format
    fields: Sequence[str]
    csv_safe: bool
    query: dict[str, Any]
    destination: dict[str, Any] | None
    request_id: str | None
    keep_days: float


def create(session: Session, new: NewExport) -> ExportRow:
    """Record an export in `queued`; what is accepted after this is not in it.

    Raises QuotaExceeded when the project has many open ones already, NotFound for a batch that is not the project's.
    """
    _admit(session, new.project_id)
    if (batch_id := new.query.get("batch_id")) is not None:
        _check_batch(session, new.project_id, batch_id)
    moment = clock(session)
    export = ExportRow(
        id=new_id("exp"),
        project_id=new.project_id,
        state=ExportState.QUEUED,
        rows=new.rows,
        format=new.format,
        fields=list(new.fields),
        csv_safe=new.csv_safe,
        query=new.query,
        destination=new.destination,
        request_id=new.request_id,
        checkpoint={},
        lease_token=0,
        tries=0,
        row_count=0,
        file_count=0,
        byte_count=0,
        keep_days=new.keep_days,
        created_at=moment,
        expires_at=moment + timedelta(days=new.keep_days),
    )
    session.add(export)
    session.flush()
    return export


def _admit(session: Session, project_id: str) -> None:
    """Two requests at once may both be the last: the number is there to keep a loop from filling the bucket."""
    open_ones = session.scalar(
        select(func.count()).where(ExportRow.project_id == project_id, ExportRow.finished_at.is_(None))
    )
    if (open_ones or 0) >= MAX_OPEN:
        raise QuotaExceeded(
            f"This project has {MAX_OPEN} exports under way; come again when one is done.",
            retry_after=COME_AGAIN_SECONDS,
            members={"violated-policies": ["exports"]},
        )


def _check_batch(session: Session, project_id: str, batch_id: str) -> None:
    """A batch is kept for less long than its jobs may be, so either will do."""
    batch = select(BatchRow.id).where(BatchRow.id == batch_id, BatchRow.project_id == project_id)
    job = select(JobRow.id).where(JobRow.batch_id == batch_id, JobRow.project_id == project_id).limit(1)
    if session.scalar(batch) is None and session.scalar(job) is None:
        raise NotFound("There is no batch of that id.")


def get_export(session: Session, project_id: str, export_id: str, *, lock: bool = False) -> ExportRow:
    """Raises NotFound, also for another project's export."""
    wanted = select(ExportRow).where(ExportRow.id == export_id, ExportRow.project_id == project_id)
    if lock:
        wanted = wanted.with_for_update().execution_options(populate_existing=True)
    export = session.scalars(wanted).one_or_none()
    if export is None:
        raise NotFound
    return export


def list_exports(
    session: Session, project_id: str, state: str | None, limit: int, after: tuple[datetime, str] | None = None
) -> list[ExportRow]:
    """Newest first. `after` is (created_at, id) of the last export of the previous page."""
    conditions: list[ColumnElement[bool]] = [ExportRow.project_id == project_id]
    if state is not None:
        conditions.append(ExportRow.state == state)
    if after is not None:
        conditions.append(tuple_(ExportRow.created_at, ExportRow.id) < tuple_(*after))
    wanted = select(ExportRow).where(*conditions).order_by(ExportRow.created_at.desc(), ExportRow.id.desc())
    return list(session.scalars(wanted.limit(limit)))


def list_files(session: Session, export_id: str, limit: int, after: int = 0) -> list[ExportFileRow]:
    """In order of the rows, behind number `after`."""
    wanted = select(ExportFileRow).where(ExportFileRow.export_id == export_id, ExportFileRow.number > after)
    return list(session.scalars(wanted.order_by(ExportFileRow.number).limit(limit)))


def get_file(session: Session, export_id: str, number: int) -> ExportFileRow:
    """Raises NotFound."""
    row = session.get(ExportFileRow, (export_id, number))
    if row is None:
        raise NotFound("The export has no such file.")
    return row


def cancel(session: Session, project_id: str, export_id: str) -> ExportRow:
    """At once; whoever writes it finds out at its next file. A finished export is left as it is. Raises NotFound."""
    export = get_export(session, project_id, export_id, lock=True)
    if ExportState(export.state) not in TERMINAL:
        export.state = ExportState.CANCELED
        export.finished_at = clock(session)
        export.lease_owner = export.lease_expires_at = None
        session.flush()
    return export


def finished(session: Session, project_id: str, export_id: str) -> ExportRow:
    """The locked export, when it may be deleted. Raises NotFound, NotRetryable."""
    export = get_export(session, project_id, export_id, lock=True)
    if ExportState(export.state) not in TERMINAL:
        raise NotRetryable("An export that is under way is canceled before it is deleted.")
    return export
