"""The same bytes, the same pack, the same options, the same project: an earlier result is the result.

`reuse` settles from an earlier job where there is one, and offers its own result; `force` analyses again and offers;
`off` does neither. The result becomes the job's own, rows and objects, so that erasing either job leaves the other.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, cast, insert, literal, select
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Session

from styleflow.jobs.keeping import KeptClass, has_ended
from styleflow.jobs.state import JobEvent, JobState
from styleflow.jobs.transitions import finish, lock_held
from styleflow.report import Pipeline
from styleflow.tables import JobRow, ResultRow, TrackRow


class Dedupe(StrEnum):
    """What a job does with results that are there already."""

    REUSE = "reuse"
    FORCE = "force"
    OFF = "off"


_ANSWER = ("outcome", "reason", "score", "probability", "pipeline")
_TELLING = ("media", "content_key", "top_segments")
"""What tells the video from others, and evidence; zero retention keeps none of it."""


@dataclass(frozen=True)
class Earlier:
    """A job whose result can be used again, and where its report and its crops lie."""

    job_id: str
    report_key: str
    token: int = 0
    crops: Sequence[Mapping[str, Any]] = ()
    """Those that are still kept, as its report names them."""


def content_key(
    sha256: str, pipeline: Pipeline, options: Mapping[str, Any], thresholds: Mapping[str, Any] | None = None
) -> bytes:
    """Digest of all that decides a result: the bytes, what judges them, what part of them is looked at, and by which
    policy's thresholds, None for the pack's own.

    The device is left out: it moves a score by less than the tolerance that the pack allows for the precision.
    """
    decides = {
        "sha256": sha256,
        "pack": pipeline.pack_sha256,
        "scoring": pipeline.scoring_sha256,
        "code": pipeline.code_version,
        "precision": pipeline.precision,
        "options": options,
        "thresholds": thresholds,
    }
    return hashlib.sha256(json.dumps(decides, sort_keys=True, separators=(",", ":")).encode()).digest()


def find_earlier(session: Session, project_id: str, key: bytes) -> Earlier | None:
    """The newest job of the project with that result, all of its evidence still kept, but for crops, which may have
    had their time: nobody is made to wait for what only illustrates."""
    found = session.execute(
        select(
            JobRow.id,
            JobRow.retention,
            ResultRow.report_key,
            ResultRow.token,
            ResultRow.report["crops"].label("crops"),
        )
        .join(ResultRow, ResultRow.job_id == JobRow.id)
        .where(
            JobRow.project_id == project_id,
            JobRow.content_key == key,
            JobRow.state == JobState.SUCCEEDED,
            JobRow.erased_at.is_(None),
            ResultRow.report_key.is_not(None),
        )
        .order_by(JobRow.finished_at.desc())
        .limit(1)
    ).one_or_none()
    if found is None:
        return None
    ended = has_ended(found.retention, KeptClass.CROPS)
    return Earlier(found.id, str(found.report_key), found.token, () if ended else found.crops or ())


def settle_from(
    session: Session,
    job_id: str,
    token: int,
    earlier: Earlier,
    report_key: str | None,
    crops: Sequence[Mapping[str, Any]] = (),
) -> bool:
    """Settle with a copy of the earlier result, whose objects lie under `report_key` already, and those of its crops
    that were copied, too; None with zero retention: then the answer alone is kept. False, and nothing is written, when
    it was erased or ran out meanwhile. Raises LeaseLost.
    """
    job = lock_held(session, job_id, token)
    # Locked against erasure and retention until the copy is committed: what is copied was there.
    source = session.scalars(
        select(JobRow).where(JobRow.id == earlier.job_id, JobRow.erased_at.is_(None)).with_for_update(read=True)
    ).one_or_none()
    kept = session.execute(
        select(ResultRow.report_key, ResultRow.report["verdict"].astext.label("verdict"))
        .where(ResultRow.job_id == earlier.job_id)
        .with_for_update(read=True)
    ).one_or_none()
    if source is None or kept is None or kept.report_key != earlier.report_key or source.project_id != job.project_id:
        return False
    if report_key is not None:
        mine: dict[str, ColumnElement[Any]] = {"job_id": literal(job_id)}
        report = ResultRow.report.concat(cast({"crops": list(crops)}, JSONB))
        changes = {**mine, "token": literal(token), "report_key": literal(report_key), "report": report}
        _copy(session, ResultRow, earlier.job_id, changes)
        _copy(session, TrackRow, earlier.job_id, mine)
    job.verdict = kept.verdict  # as it was found: the earlier job may have other words by now
    for name in _ANSWER if report_key is None else (*_ANSWER, *_TELLING):
        setattr(job, name, getattr(source, name))
    job.deduplicated_from = None if report_key is None else earlier.job_id
    finish(session, job, JobEvent.SUCCEED)
    return True


def _copy(
    session: Session, table: type[ResultRow | TrackRow], job_id: str, changes: Mapping[str, ColumnElement[Any]]
) -> None:
    """Rows of one job as rows of another, inside the database; `created_at` is made anew."""
    names = [column.name for column in table.__table__.columns if column.name != "created_at"]
    values = [changes.get(name, getattr(table, name)) for name in names]
    session.execute(insert(table).from_select(names, select(*values).where(table.job_id == job_id)))
