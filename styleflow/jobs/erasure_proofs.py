"""What a completed order to erase leaves: a proof that says no more than was done, and by what the jobs were chosen no
longer in clear."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Sequence
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from styleflow.jobs.source_copies import ERASED, needs
from styleflow.jobs.tombstones import digest
from styleflow.jobs.transitions import clock
from styleflow.retention_tables import ErasureRow, KeptUploadRow, TombstoneRow
from styleflow.tables import UploadRow
from styleflow.webhooks.announce import announce_erasure

MAX_TOLD_IDS = 100


def selector_digest(key: bytes, project_id: str, value: Any) -> str:
    """HMAC-SHA256 by which whoever has the service's key can tell that an order was about `value`. Nobody else can
    guess it from the digest, nor see that two projects erased the same."""
    named = json.dumps({"project_id": project_id, "value": value}, sort_keys=True, separators=(",", ":"))
    return hmac.digest(key, named.encode(), "sha256").hex()


def note_kept(session: Session, row: ErasureRow, upload_ids: Sequence[str]) -> None:
    """Those of these uploads that are still there, though they would have gone with the order: needed elsewhere."""
    if not upload_ids:
        return
    still = session.scalars(
        select(UploadRow.id).where(
            UploadRow.id.in_(upload_ids), UploadRow.project_id == row.project_id, UploadRow.state != ERASED
        )
    ).all()
    if still:
        rows = [{"erasure_id": row.id, "upload_id": one} for one in still]
        session.execute(insert(KeptUploadRow).on_conflict_do_nothing(), rows)


def complete(session: Session, row: ErasureRow, selector_key: bytes) -> None:
    """Write the proof of a locked order, tell who wants to know, and forget by what the jobs were chosen."""
    moment = clock(session)
    items, ids = _erased(session, row.id)
    kept = _kept(session, row)
    row.state, row.finished_at, row.lease_expires_at = "completed", moment, None
    value = selector_digest(selector_key, row.project_id, row.selector["value"])
    row.selector = {"type": row.selector["type"], "hmac_sha256": value}
    row.proof = {
        "erasure_id": row.id,
        "project_id": row.project_id,
        "requested_by": row.requested_by,
        "requested_at": row.created_at.isoformat(),
        "completed_at": moment.isoformat(),
        "selector": row.selector,
        "counts": {
            "erased": row.erased,
            "held": row.held,
            "unknown": row.unknown,
            "uploads": row.uploads,
            "uploads_kept": len(kept),
            "items": row.items,
        },
        "items_sha256": items,
        "kept_uploads": kept[:MAX_TOLD_IDS],
    }
    session.flush()
    if row.erased or row.uploads:
        told = {"erasure_id": row.id, "counts": row.proof["counts"], "proof_sha256": digest(row.proof)}
        named = ids if len(ids) <= MAX_TOLD_IDS else None
        announce_erasure(session, row.project_id, {**told, "job_ids": named})


def _erased(session: Session, erasure_id: str) -> tuple[str, list[str]]:
    """The digest over all tombstones of the order, and the first ids: one more than are told."""
    items = hashlib.sha256()
    ids: list[str] = []
    stones = select(TombstoneRow).where(TombstoneRow.erasure_id == erasure_id).order_by(TombstoneRow.job_id)
    for stone in session.scalars(stones.execution_options(yield_per=1000)):
        items.update(f"{stone.job_id} {stone.summary_sha256 or '-'} {stone.media_sha256 or '-'}\n".encode())
        if len(ids) <= MAX_TOLD_IDS:
            ids.append(stone.job_id)
    return items.hexdigest(), ids


def _kept(session: Session, row: ErasureRow) -> list[dict[str, Any]]:
    """Uploads that would have gone and are still there, with who needs them: nobody any more, where the list is empty;
    such a one goes when its own time is over."""
    still = (
        select(KeptUploadRow.upload_id)
        .join(UploadRow, UploadRow.id == KeptUploadRow.upload_id)
        .where(KeptUploadRow.erasure_id == row.id, UploadRow.state != ERASED)
        .order_by(KeptUploadRow.upload_id)
    )
    ids = list(session.scalars(still))
    found = needs(session, ids)
    session.execute(delete(KeptUploadRow).where(KeptUploadRow.erasure_id == row.id))
    return [{"upload_id": one, "needed_by": sorted(found.get(one, ()))} for one in ids]
