"""What a project asks for: read and changed as one row, by its version."""

from __future__ import annotations

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from styleflow.errors import PreconditionFailed
from styleflow.jobs.keeping import NOTHING_ASKED, Asked, Mode
from styleflow.retention_tables import RetentionRow


def of_project(session: Session, project_id: str) -> RetentionRow | None:
    """None when the project never asked for anything."""
    return session.get(RetentionRow, project_id)


def asked(row: RetentionRow | None) -> Asked:
    if row is None:
        return NOTHING_ASKED
    return Asked(
        mode=Mode(row.mode),
        source_hours=row.source_hours,
        crops_days=row.crops_days,
        frames_days=row.frames_days,
        results_days=row.results_days,
    )


def replace(session: Session, project_id: str, wanted: Asked, version: int) -> RetentionRow:
    """Put `wanted` in the place of version `version`; 0 is that of a project that never asked. Raises
    PreconditionFailed when it has another by now.

    Jobs that were accepted before keep what was agreed with them.
    """
    if version == 0:
        session.execute(
            insert(RetentionRow)
            .values(project_id=project_id, mode=str(Mode.STANDARD), version=0)
            .on_conflict_do_nothing()
        )
    row = session.scalars(
        select(RetentionRow)
        .where(RetentionRow.project_id == project_id)
        .with_for_update()
        .execution_options(populate_existing=True)
    ).one_or_none()
    if row is None or row.version != version:
        raise PreconditionFailed
    row.mode = str(wanted.mode or Mode.STANDARD)
    row.source_hours, row.crops_days = wanted.source_hours, wanted.crops_days
    row.frames_days, row.results_days = wanted.frames_days, wanted.results_days
    row.version = version + 1
    row.updated_at = session.execute(select(func.now())).scalar_one()
    session.flush()
    return row
