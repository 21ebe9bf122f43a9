"""A complete upload as a job stores it: pinned to these very bytes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from styleflow.tables import UploadRow


def upload_source(row: UploadRow) -> dict[str, Any]:
    return {
        "type": "upload",
        "upload_id": row.id,
        "key": row.key,
        "etag": row.etag,
        "version_id": row.version_id,
        "size_bytes": row.size_bytes,
        "sha256": row.sha256,
    }


def hold_uploads(session: Session, project_id: str, upload_ids: Iterable[str]) -> dict[str, dict[str, Any]]:
    """The sources of those that are complete and the project's, by id; they are kept until this transaction ends, so
    that a job that names one finds it."""
    wanted = select(UploadRow).where(
        UploadRow.id.in_(sorted(set(upload_ids))), UploadRow.project_id == project_id, UploadRow.state == "complete"
    )
    rows = session.scalars(wanted.order_by(UploadRow.id).with_for_update(read=True, key_share=True)).all()
    return {row.id: upload_source(row) for row in rows}


def pinned(source: Mapping[str, Any], held: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The source of a batch's item as its job stores it. An upload that is not there stays a name, of which the job
    then finds nothing."""
    if source["type"] != "upload":
        return dict(source)
    return dict(held.get(source["upload_id"], source))
