"""How much of a video was looked at, as numbers for the report and for the decision."""

from __future__ import annotations

from collections.abc import Sequence

from styleflow.detection.evidence import TrackRecord, frames_judged, frames_seen
from styleflow.detection.examination import Examination
from styleflow.detection.score import Findings
from styleflow.report import Coverage, ReportWarning
from styleflow.video.clips import CLIP_FRAMES, SamplingPlan
from styleflow.video.sandbox import VideoReader


def findings(
    video: VideoReader,
    plan: SamplingPlan,
    examination: Examination,
    records: Sequence[TrackRecord],
    min_face_px: float,
) -> Findings:
    """What the decision is made from."""
    large = [record for record in records if record.face_size >= min_face_px]
    return Findings(
        has_video_stream=video.facts.codec is not None,
        frames_planned=plan.clips_planned * CLIP_FRAMES or examination.frames,
        frames_with_face=frames_seen(large),
        frames_judged=frames_judged(records),
        tracks=tuple(record.findings(min_face_px) for record in records),
    )


def coverage(
    video: VideoReader, plan: SamplingPlan, examination: Examination, records: Sequence[TrackRecord]
) -> Coverage:
    """How much of the video was looked at. Clips count per face, so several faces may make more than were planned."""
    return Coverage(
        media_seconds=video.facts.duration_seconds_from_header,
        analysed_seconds=sum(times.seconds for times in examination.segments.values()),
        frames_decoded=examination.frames,
        frames_with_face=frames_seen(list(examination.records.values())),
        clips_planned=plan.clips_planned,
        clips_analysed=sum(len(record.clips) for record in records),
        faces_tracked=len(examination.records),
        sampling=plan.mode,
        truncated=_truncated(video, plan, examination.frames),
    )


def _truncated(video: VideoReader, plan: SamplingPlan, frames: int) -> bool:
    """Whether any part of the video was left out, as far as can be known."""
    duration = video.facts.duration_seconds_from_header
    part = plan.mode == "full" and (
        plan.starts_seconds[0] > 0
        or (plan.end_seconds is not None and (duration is None or plan.end_seconds < duration))
    )
    # a header without a duration leaves open whether anything follows the last frame that was allowed
    at_bound = duration is None and plan.max_frames is not None and frames >= plan.max_frames
    return plan.truncated or part or at_bound or video.decode_error is not None


def warnings(video: VideoReader, examination: Examination, records: Sequence[TrackRecord]) -> tuple[ReportWarning, ...]:
    """What limits the report."""
    found: list[ReportWarning] = []
    if video.decode_error is not None:
        found.append(
            ReportWarning(
                code="partial_decode",
                message=f"The stream broke after {examination.frames} frames; what came before was analysed.",
            )
        )
    left_out = len(examination.records) - len(records)
    if left_out or examination.faces_ignored:
        found.append(
            ReportWarning(
                code="faces_left_out",
                message=f"More faces than are followed or reported: {left_out} tracks and "
                f"{examination.faces_ignored} single sightings were left out.",
            )
        )
    return tuple(found)
