"""What is left of what was erased, and what a caller is told who asks for it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from styleflow.errors import Erased, NotFound, RequestError
from styleflow.jobs.keeping import KeptClass
from styleflow.retention_tables import TombstoneRow
from styleflow.tables import JobRow, ResultRow

Reason = Literal["request", "retention", "zero_retention"]


@dataclass(frozen=True, kw_only=True)
class Why:
    """On whose account something is erased."""

    reason: Reason
    requested_by: str | None = None
    """Id of the API key."""
    erasure_id: str | None = None


def bury(session: Session, jobs: Sequence[JobRow], why: Why) -> None:
    """Write the tombstones of jobs, while their summaries are still there. One that has one keeps it."""
    if not jobs:
        return
    zero = why.reason == "zero_retention"
    results = session.execute(
        select(ResultRow.job_id, ResultRow.report).where(ResultRow.job_id.in_([job.id for job in jobs]))
    )
    reports = {row.job_id: row.report for row in results}
    rows = [
        {
            "job_id": job.id,
            "project_id": job.project_id,
            "reason": why.reason,
            "requested_by": why.requested_by,
            "erasure_id": why.erasure_id,
            "summary_sha256": digest(reports[job.id]) if job.id in reports else None,
            # A digest of a known video would tell that it was looked at: zero retention leaves none.
            "media_sha256": None if zero else (job.media or {}).get("sha256") or job.source.get("sha256"),
        }
        for job in jobs
    ]
    session.execute(insert(TombstoneRow).on_conflict_do_nothing(), rows)


def digest(value: Mapping[str, Any]) -> str:
    """SHA-256 of canonical JSON: sorted names, no spaces, ASCII."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def gone(session: Session, project_id: str, job_id: str, job: JobRow | None = None) -> RequestError:
    """To be raised about a job that is not there (any more): Erased with its tombstone, or NotFound. `job` is its blank
    row, if there is one: an earlier version left that alone."""
    row = session.get(TombstoneRow, job_id)
    if row is None and job is not None and job.erased_at is not None:
        return _erased("job", job.erased_at, f"The job was erased, at {_moment(job.erased_at)}.", reason="request")
    if row is None or row.project_id != project_id:
        return NotFound()
    return _erased(
        "job",
        row.erased_at,
        f"The job was erased{_WHY[row.reason]}, at {_moment(row.erased_at)}.",
        reason=row.reason,
        requested_by=row.requested_by,
        erasure_id=row.erasure_id,
        summary_sha256=row.summary_sha256,
        media_sha256=row.media_sha256,
    )


_WHY = {
    "request": " on request",
    "retention": ": its results were kept for their time",
    "zero_retention": ": it was to leave nothing behind",
}
_NAMES = {
    KeptClass.SOURCE: "The source was",
    KeptClass.CROPS: "Crops and heat maps were",
    KeptClass.FRAMES: "Scores of frames, and the whole report, which has them, were",
    KeptClass.RESULTS: "Results were",
}


def class_ended(job: JobRow, ended: KeptClass) -> Erased:
    """To be raised about a class of a job that is still there: names the class, and when it ended."""
    stored = job.retention or {}
    name = _NAMES[ended]
    if stored.get("mode") == "zero" and ended is not KeptClass.SOURCE:
        return _erased(
            ended, job.finished_at, f"{name} never kept: the job is of zero retention.", reason="zero_retention"
        )
    when = stored.get("ended", {}).get(ended)
    moment = datetime.fromisoformat(when) if when else None
    told = f", at {_moment(moment)}" if moment else ""
    return _erased(ended, moment, f"{name} kept for the agreed time and then erased{told}.", reason="retention")


def upload_erased(moment: datetime) -> Erased:
    """To be raised about an upload whose bytes are gone."""
    return _erased(KeptClass.SOURCE, moment, f"{_NAMES[KeptClass.SOURCE]} erased at {_moment(moment)}.")


def _erased(ended: str, moment: datetime | None, message: str, **members: str | None) -> Erased:
    told = {"erased_class": str(ended), "erased_at": _moment(moment) if moment else None, **members}
    return Erased(message, members=told)


def _moment(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
