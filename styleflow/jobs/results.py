"""The report of a succeeded job as rows: its summary, and one row per face with the frames as columns."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from styleflow.report import VideoReport, report_to_json
from styleflow.segments import find_segments, highest, usual_rule
from styleflow.tables import JobRow
from styleflow.writes import Write

TOP_SEGMENTS = 3
"""What an event tells; the rest is asked for."""


def store_report(job: JobRow, token: int, report: VideoReport, report_key: str | None) -> list[Write]:
    """Set the job's own columns; the writes that make the result and its tracks are returned. None are without a key:
    then nothing is kept that tells the video from others. A second result of a job is an IntegrityError."""
    value = report_to_json(report)
    job.outcome = report.outcome
    job.reason = report.reason
    job.verdict = report.verdict
    job.score = report.score
    job.probability = report.probability
    job.media = value["media"] if report_key is not None else None
    job.pipeline = value["pipeline"]
    judged = report.coverage.clips_analysed
    done = {"phase": "done", "fraction": 1.0, "clips_done": judged, "clips_total": judged}
    job.progress = done if report_key is not None else {}
    job.top_segments = top_segments(report) if report_key is not None else None
    return [] if report_key is None else _evidence(job.id, token, value, report_key)


def top_segments(report: VideoReport) -> list[dict[str, Any]] | None:
    """The few stretches that look most manipulated, over all faces; None without scores."""
    if report.thresholds is None:
        return None
    rule = usual_rule(report.thresholds.suspicious)
    found = (
        (track.track_id, segment)
        for track in report.tracks
        for segment in find_segments(
            [round(seconds * 1000) for seconds in track.frames.time_seconds], track.frames.score, rule
        )
    )
    return [{"track_id": track_id, **vars(segment)} for track_id, segment in highest(found, TOP_SEGMENTS)]


def _evidence(job_id: str, token: int, value: Mapping[str, Any], report_key: str) -> list[Write]:
    summaries = [{name: item for name, item in track.items() if name != "frames"} for track in value["tracks"]]
    result = _json({**value, "tracks": summaries})
    values = {"result_job": job_id, "result_token": token, "result_report": result, "result_key": report_key}
    writes = [Write(_WRITE_RESULT, values)]
    if summaries:
        rows = [_track(track["frames"], summary) for track, summary in zip(value["tracks"], summaries, strict=True)]
        writes.append(Write(_WRITE_TRACKS, {"track_job": job_id, "track_rows": _json(rows)}))
    return writes


def _track(frames: Mapping[str, Any], summary: Mapping[str, Any]) -> dict[str, Any]:
    """As the columns of TrackRow are, for json_to_recordset: arrays of psycopg's would be written value by value."""
    return {
        "track_id": summary["track_id"],
        "summary": summary,
        **frames,
        "box": [edge for box in frames["box"] for edge in box],
    }


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), allow_nan=False)


_WRITE_RESULT = (
    "insert into results (job_id, token, report, report_key)"
    " values (:result_job, :result_token, cast(:result_report as jsonb), :result_key)"
)
_COLUMNS = {
    "track_id": "text",
    "summary": "jsonb",
    "frame_index": "integer[]",
    "time_seconds": "double precision[]",
    **dict.fromkeys(("box", "detection_confidence", "score"), "real[]"),
    **dict.fromkeys(("flow_coarse", "flow_middle", "flow_fine", "attention"), "real[]"),
}
_WRITE_TRACKS = (
    f"insert into tracks (job_id, position, {', '.join(_COLUMNS)})"  # noqa: S608 (names of our own)
    f" select :track_job, number - 1, {', '.join(_COLUMNS)} from rows from"
    f" (json_to_recordset(cast(:track_rows as json)) as ({', '.join(map(' '.join, _COLUMNS.items()))}))"
    f" with ordinality as track ({', '.join(_COLUMNS)}, number)"
)
