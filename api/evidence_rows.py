"""The rows behind results and evidence. Only the slices that a page shows are read from the arrays."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import func, select, text
from sqlalchemy.orm import Session, defer

from api.frame_slices import Slice, Span
from styleflow.errors import NotFound, ResultNotReady
from styleflow.jobs.keeping import KeptClass
from styleflow.jobs.state import TERMINAL, JobState
from styleflow.jobs.tombstones import class_ended
from styleflow.tables import JobRow, ResultRow, TrackRow

# Times rise along a track, so the rows of an interval are neighbours: count those before it and those up to its end.
_SPANS = text(
    """
    select track_id, position,
           (select count(*) from unnest(time_seconds) as t where t < :from_seconds) as first,
           (select count(*) from unnest(time_seconds) as t where t <= :to_seconds) as "end"
    from tracks
    where job_id = :job_id and (cast(:track_id as text) is null or track_id = :track_id)
    order by position
    """
)

_COLUMNS = (
    "frame_index",
    "time_seconds",
    "detection_confidence",
    "score",
    "flow_coarse",
    "flow_middle",
    "flow_fine",
    "attention",
)


def get_result(session: Session, job: JobRow, *, report: bool = True) -> ResultRow:
    """Without `report` the report, of megabytes where clips are many, is not read with it.

    Raises ResultNotReady for a job that has not succeeded, Erased when retention took the result.
    """
    row = session.get(ResultRow, job.id, options=() if report else (defer(ResultRow.report, raiseload=True),))
    if row is not None:
        return row
    if job.state == "succeeded":
        raise class_ended(job, KeptClass.RESULTS)
    if JobState(job.state) in TERMINAL:
        raise ResultNotReady(_NEVER[JobState(job.state)], final=True)
    raise ResultNotReady(f"The job is {job.state}, so there is no result yet.")


_NEVER = {
    JobState.FAILED: "The job failed, so there is no result and there will be none; its error says why.",
    JobState.CANCELED: "The job was canceled, so there is no result and there will be none.",
    JobState.EXPIRED: "The job's deadline passed before it ran, so there is no result and there will be none.",
}


def require_frames(session: Session, result: ResultRow) -> str:
    """Where the whole report lies. Raises Erased when retention took it."""
    if result.report_key is None:
        raise class_ended(session.get_one(JobRow, result.job_id), KeptClass.FRAMES)
    return result.report_key


def list_tracks(result: ResultRow) -> list[Mapping[str, Any]]:
    """Summaries in order; they are part of the result and outlive the frames."""
    return list(result.report["tracks"])


def get_track(session: Session, job_id: str, track_id: str) -> Mapping[str, Any]:
    """The summary. Raises NotFound."""
    wanted = select(TrackRow.summary).where(TrackRow.job_id == job_id, TrackRow.track_id == track_id)
    found: Mapping[str, Any] | None = session.scalar(wanted)
    if found is None:
        raise NotFound("The video has no face track of that id.")
    return found


def count_tracks(session: Session, job_id: str) -> int:
    return session.scalar(select(func.count()).where(TrackRow.job_id == job_id)) or 0


def read_tracks(
    session: Session, job_id: str, first: int, limit: int, track_id: str | None = None
) -> list[tuple[int, Mapping[str, Any]]]:
    """Position and summary of the tracks from position `first` on, in order; with `track_id`, of that one only."""
    wanted = select(TrackRow.position, TrackRow.summary).where(TrackRow.job_id == job_id, TrackRow.position >= first)
    if track_id is not None:
        wanted = wanted.where(TrackRow.track_id == track_id)
    rows = session.execute(wanted.order_by(TrackRow.position).limit(limit))
    return [(position, summary) for position, summary in rows]


def track_spans(
    session: Session, result: ResultRow, track_id: str | None, from_ms: int | None, to_ms: int | None
) -> list[Span]:
    """Which rows of each track lie in the interval (ends included). Raises NotFound, and Erased after retention."""
    require_frames(session, result)
    if track_id is not None:
        get_track(session, result.job_id, track_id)
    rows = session.execute(
        _SPANS,
        {
            "job_id": result.job_id,
            "track_id": track_id,
            "from_seconds": -1.0 if from_ms is None else (from_ms - 0.5) / 1000,
            "to_seconds": 1e12 if to_ms is None else (to_ms + 0.5) / 1000,
        },
    ).all()
    return [Span(row.track_id, row.position, row.first, row.end) for row in rows]


def track_scores(
    session: Session, result: ResultRow, track_id: str | None
) -> Iterator[tuple[str, list[float], list[float | None]]]:
    """Id, times in seconds and scores of each track, read one track at a time. Raises Erased after retention."""
    require_frames(session, result)
    wanted = [track["track_id"] for track in list_tracks(result) if track_id in (None, track["track_id"])]
    columns = select(TrackRow.time_seconds, TrackRow.score).where(TrackRow.job_id == result.job_id)
    for name in wanted:
        seconds, scores = session.execute(columns.where(TrackRow.track_id == name)).one()
        yield name, seconds, scores


def read_slice(session: Session, job_id: str, part: Slice) -> dict[str, Sequence[Any]]:
    """The columns of those rows; `box` holds four values a row."""
    first, last = part.first + 1, part.end  # PostgreSQL counts from 1 and includes the end
    wanted = [getattr(TrackRow, name)[first:last].label(name) for name in _COLUMNS]
    box = TrackRow.box[4 * part.first + 1 : 4 * part.end].label("box")
    row = session.execute(
        select(*wanted, box).where(TrackRow.job_id == job_id, TrackRow.track_id == part.track_id)
    ).one()
    return dict(row._mapping)
