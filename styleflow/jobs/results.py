"""The report of a succeeded job as rows: its summary, and one row per face with the frames as columns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy.orm import Session

from styleflow.report import FaceTrack, VideoReport, report_to_json
from styleflow.segments import find_segments, highest, usual_rule
from styleflow.tables import JobRow, ResultRow, TrackRow

TOP_SEGMENTS = 3
"""What an event tells; the rest is asked for."""


def store_report(session: Session, job: JobRow, token: int, report: VideoReport, report_key: str | None) -> None:
    """Write the result, its tracks, and the job's own columns; without a key the latter alone, and none that tells the
    video from others. A second result of a job is an IntegrityError."""
    value = report_to_json(report)
    if report_key is not None:
        _store_evidence(session, job.id, token, report, value, report_key)
    job.outcome = report.outcome
    job.reason = report.reason
    job.verdict = report.verdict
    job.score = report.score
    job.probability = report.probability
    job.media = value["media"] if report_key is not None else None
    job.pipeline = value["pipeline"]
    job.top_segments = top_segments(report) if report_key is not None else None


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


def _store_evidence(
    session: Session, job_id: str, token: int, report: VideoReport, value: Mapping[str, Any], report_key: str
) -> None:
    summaries = [_without_frames(track) for track in value["tracks"]]
    result = {**value, "tracks": summaries}
    session.add(ResultRow(job_id=job_id, token=token, report=result, report_key=report_key))
    session.add_all(
        _track_row(job_id, position, track, summary)
        for position, (track, summary) in enumerate(zip(report.tracks, summaries, strict=True))
    )


def _without_frames(track: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in track.items() if name != "frames"}


def _track_row(job_id: str, position: int, track: FaceTrack, summary: dict[str, Any]) -> TrackRow:
    frames = track.frames
    return TrackRow(
        job_id=job_id,
        track_id=track.track_id,
        position=position,
        summary=summary,
        frame_index=list(frames.frame_index),
        time_seconds=list(frames.time_seconds),
        box=[edge for box in frames.box for edge in box],
        detection_confidence=list(frames.detection_confidence),
        score=list(frames.score),
        flow_coarse=list(frames.flow_coarse),
        flow_middle=list(frames.flow_middle),
        flow_fine=list(frames.flow_fine),
        attention=list(frames.attention),
    )
