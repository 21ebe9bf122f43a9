"""Which rows an export has, read a chunk at a time: each chunk behind the last row of the one before.

Jobs are walked in order of (created_at, id), which never change, up to the moment at which the export was accepted. So
a row is read once whatever is accepted, settled or taken up again meanwhile; what it says is what it said when read.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from sqlalchemy.orm import Session

from styleflow.exports.columns import COLUMNS, Column
from styleflow.exports.state import Rows
from styleflow.jobs.state import JobState
from styleflow.segments import find_segments, usual_rule

JOBS_AT_ONCE = 2_000
"""With 8 KB of metadata each they are 16 MB."""
TRACKS_AT_ONCE = 1_000
FRAMES_AT_ONCE = 50_000
"""About so many frames, or clips times 32, are held in memory at a time; one track more than that at most."""

Row = Sequence[Any]
Checkpoint = Mapping[str, Any]
_START: Checkpoint = {"created_at": "-infinity", "id": "", "position": -1}

_EXACT = ("outcome", "verdict", "lane", "batch_id", "client_ref")
_FILTERS: Mapping[str, str] = {
    **{name: f"j.{name} = %({name})s" for name in _EXACT},
    # The second half lets the index of tagged jobs serve.
    "tag": "j.tags @> %(tag)s::jsonb and j.tags <> '{}'::jsonb",
    "created_after": "j.created_at > %(created_after)s",
    "created_before": "j.created_at < %(created_before)s",
}


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Rows of one project: of which kind, with which columns, of which jobs."""

    project_id: str
    rows: Rows
    columns: Sequence[Column]
    query: Mapping[str, Any]
    """Filters as JSON values; `tag` is `[name, value]`, moments are RFC 3339."""
    until: datetime
    """Jobs accepted after that are left out."""


@dataclass(frozen=True)
class Chunk:
    """Some rows, cells in the order of the columns, and where to go on behind them."""

    rows: Sequence[Row]
    checkpoint: Checkpoint


def read_chunk(session: Session, selection: Selection, after: Checkpoint) -> Chunk | None:
    """The rows behind the checkpoint (`{}` at the beginning); None when there are no more. A chunk may be empty."""
    start = {**_START, **after}
    match selection.rows:
        case Rows.JOBS:
            return _jobs(session, selection, start)
        case Rows.TRACKS:
            return _tracks(session, selection, start)
        case Rows.CLIPS:
            return _clips(session, selection, start)
        case Rows.FRAMES:
            return _frames(session, selection, start)
        case Rows.SEGMENTS:
            return _segments(session, selection, start)


def _jobs(session: Session, selection: Selection, start: Checkpoint) -> Chunk | None:
    wanted = ", ".join(column.source for column in selection.columns)
    report = any("r." in column.source for column in selection.columns)
    found = _fetched(
        session,
        f"select {wanted}, j.created_at, j.id from jobs j"
        + (" left join results r on r.job_id = j.id" if report else "")
        + f" where {_of_jobs(selection)} and (j.created_at, j.id) > (%(after)s::timestamptz, %(after_id)s)"
        f" order by j.created_at, j.id limit {JOBS_AT_ONCE}",
        _values(selection, start),
    )
    if not found:
        return None
    created, last = found[-1][-2:]
    return Chunk([row[:-2] for row in found], {"created_at": created.isoformat(), "id": last})


def _of_jobs(selection: Selection) -> str:
    given = [_FILTERS[name] for name in _FILTERS if selection.query.get(name) is not None]
    if (state := selection.query.get("state")) is not None:
        # In the statement itself: only so do the indexes of jobs in some states serve, whatever is kept of its plan.
        given.append(f"j.state = '{JobState(state)}'")
    return " and ".join(
        [
            "j.project_id = %(project)s",
            "j.erased_at is null",
            "coalesce(j.retention ->> 'mode', '') <> 'zero'",
            "j.created_at <= %(until)s",
            *given,
        ],
    )


def _of_tracks(selection: Selection) -> str:
    # The first comparison is what an index can serve; the second leaves out the tracks that were read already.
    return (
        f"from jobs j join tracks t on t.job_id = j.id where {_of_jobs(selection)}"
        " and (j.created_at, j.id) >= (%(after)s::timestamptz, %(after_id)s)"
        " and ((j.created_at, j.id) <> (%(after)s::timestamptz, %(after_id)s) or t.position > %(position)s)"
        " order by j.created_at, j.id, t.position"
    )


def _tracks(session: Session, selection: Selection, start: Checkpoint) -> Chunk | None:
    wanted = ", ".join(column.source for column in selection.columns)
    found = _fetched(
        session,
        f"select {wanted}, j.created_at, j.id, t.position {_of_tracks(selection)} limit {TRACKS_AT_ONCE}",
        _values(selection, start),
    )
    if not found:
        return None
    return Chunk([row[:-3] for row in found], _behind(found[-1][-3:]))


def _clips(session: Session, selection: Selection, start: Checkpoint) -> Chunk | None:
    length = "jsonb_array_length(t.summary -> 'clips') * 32"
    columns = "(t.summary -> 'clips')::text"
    return _expanded(session, selection, start, length, columns, _clips_of)


def _frames(session: Session, selection: Selection, start: Checkpoint) -> Chunk | None:
    arrays = "frame_index time_seconds box detection_confidence score flow_coarse flow_middle flow_fine attention"
    columns = ", ".join(f"t.{name}" for name in arrays.split())
    return _expanded(session, selection, start, "cardinality(t.frame_index)", columns, _frames_of)


def _segments(session: Session, selection: Selection, start: Checkpoint) -> Chunk | None:
    # By the thresholds of now, as `/segments` has it: a policy may have been put on the result since.
    thresholds = (
        "(select coalesce(nullif(j.policy_thresholds, 'null'), r.report -> 'thresholds')::text from jobs j"
        " left join results r on r.job_id = j.id where j.id = s.id and j.outcome = 'scored')"
    )
    columns = f"t.time_seconds, t.score, {thresholds}"
    return _expanded(session, selection, start, "cardinality(t.frame_index)", columns, _segments_of)


def _expanded(
    session: Session,
    selection: Selection,
    start: Checkpoint,
    length: str,
    columns: str,
    expand: Callable[[str, str, Row], Iterable[Row]],
) -> Chunk | None:
    """Tracks become rows, as many tracks as make no more than FRAMES_AT_ONCE, and one in any case."""
    found = _fetched(
        session,
        f"with seen as (select j.created_at, j.id, t.position, t.track_id, {length} as frames"
        f" {_of_tracks(selection)} limit {TRACKS_AT_ONCE}),"
        " summed as (select *, sum(frames) over (order by created_at, id, position) - frames as before from seen)"
        f" select s.created_at, s.id, s.position, s.track_id, {columns} from summed s"
        " join tracks t on t.job_id = s.id and t.track_id = s.track_id where s.before < %(frames)s"
        " order by s.created_at, s.id, s.position",
        {**_values(selection, start), "frames": FRAMES_AT_ONCE},
    )
    if not found:
        return None
    names = [column.name for column in COLUMNS[selection.rows]]
    picked = [names.index(column.name) for column in selection.columns]
    rows = [row for _, job, _, track, *data in found for row in expand(job, track, data)]
    if picked != list(range(len(names))):
        rows = [[row[place] for place in picked] for row in rows]
    return Chunk(rows, _behind(found[-1][:3]))


def _clips_of(job_id: str, track_id: str, data: Row) -> Iterable[Row]:
    for clip in json.loads(data[0] or "[]"):
        times = (round(clip["start_seconds"] * 1000), round(clip["end_seconds"] * 1000))
        frames = (clip["first_frame"], clip["last_frame"])
        yield (job_id, track_id, clip["index"], *times, *frames, clip["logit"], clip["probability"])


def _frames_of(job_id: str, track_id: str, data: Row) -> Iterable[Row]:
    index, seconds, box, *judged = data
    edges = [round(edge, 2) for edge in box]
    boxes = zip(edges[0::4], edges[1::4], edges[2::4], edges[3::4], strict=True)
    for frame, time, edges_of_frame, *numbers in zip(index, seconds, boxes, *judged, strict=True):
        yield (job_id, track_id, frame, round(time * 1000), *edges_of_frame, *numbers)


def _segments_of(job_id: str, track_id: str, data: Row) -> Iterable[Row]:
    seconds, scores, stored = data
    thresholds = json.loads(stored or "null")
    if thresholds is None:
        return
    rule = usual_rule(float(thresholds["suspicious"]))
    for segment in find_segments([round(time * 1000) for time in seconds], scores, rule):
        span = (segment.start_ms, segment.end_ms, segment.peak, segment.mean)
        yield (job_id, track_id, *span, rule.enter, rule.leave, thresholds["policy"])


def _behind(place: Row) -> Checkpoint:
    created, job_id, position = place
    return {"created_at": created.isoformat(), "id": job_id, "position": position}


def _values(selection: Selection, start: Checkpoint) -> dict[str, Any]:
    query = {name: value for name, value in selection.query.items() if value is not None}
    if "tag" in query:
        name, value = query["tag"]
        query["tag"] = json.dumps({name: value})
    place = {"after": start["created_at"], "after_id": start["id"], "position": start.get("position", -1)}
    return {**query, **place, "project": selection.project_id, "until": selection.until}


def _fetched(session: Session, statement: str, values: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    """Plain tuples, without a mapping in between: that is half of the time that a million rows take."""
    connection = session.connection().connection.driver_connection
    if not isinstance(connection, psycopg.Connection):
        raise TypeError("exports are read through psycopg")
    with connection.cursor() as cursor:
        return list(cursor.execute(statement.encode(), dict(values)).fetchall())
