"""How much of a video was looked at, as numbers for the report and for the decision."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from styleflow.detection.evidence import TrackRecord, frames_judged, frames_seen
from styleflow.detection.examination import Examination
from styleflow.detection.losses import Received, losses
from styleflow.detection.score import Findings
from styleflow.report import Coverage, ReportWarning
from styleflow.video.clips import CLIP_FRAMES, SamplingPlan
from styleflow.video.sandbox import VideoReader

LOW_FRAME_RATE = 9.9
"""Frames a second below which clips are warned of; a true 10, in rounded time stamps, is none of them."""


def findings(video: VideoReader, plan: SamplingPlan, examination: Examination, min_face_px: float) -> Findings:
    """What the decision is made from: every face that was followed, however many are reported."""
    records = list(examination.records.values())
    large = [record for record in records if record.face_size >= min_face_px]
    return Findings(
        has_video_stream=video.facts.codec is not None,
        frames_examined=examination.frames,
        frames_planned=plan.clips_planned * CLIP_FRAMES or examination.frames,
        frames_with_face=frames_seen(large),
        frames_judged=frames_judged(records),
        tracks=tuple(record.findings(min_face_px) for record in records),
    )


def coverage(video: VideoReader, plan: SamplingPlan, examination: Examination) -> Coverage:
    """How much of the video was looked at. Clips count per face, so several faces may make more than were planned."""
    records = list(examination.records.values())
    return Coverage(
        media_seconds=video.facts.duration_seconds_from_header,
        analysed_seconds=examination.pace.seconds,
        frames_decoded=examination.frames,
        frames_with_face=frames_seen(records),
        clips_planned=plan.clips_planned,
        clips_analysed=sum(len(record.clips) for record in records),
        faces_tracked=len(records),
        sampling=plan.mode,
        truncated=_truncated(video, plan, examination),
    )


def warnings(
    video: VideoReader, plan: SamplingPlan, examination: Examination, reported: Sequence[TrackRecord]
) -> tuple[ReportWarning, ...]:
    """What limits the report."""
    return tuple(
        ReportWarning(code=code, message=message) for code, message in _warnings(video, plan, examination, reported)
    )


def _truncated(video: VideoReader, plan: SamplingPlan, examination: Examination) -> bool:
    """Whether any part of the video was left out, as far as can be known."""
    duration = video.facts.duration_seconds_from_header
    # a uniform plan that leaves out no frame of its part starts where the part does
    part = plan.starts_seconds[0] > 0 or (
        plan.end_seconds is not None and (duration is None or plan.end_seconds < duration)
    )
    # a header without a duration leaves open whether anything follows the last frame that was allowed
    at_bound = duration is None and plan.max_frames is not None and examination.frames >= plan.max_frames
    return plan.truncated or part or at_bound or bool(_lost(video, plan, examination))


def _lost(video: VideoReader, plan: SamplingPlan, examination: Examination) -> list[str]:
    """What of the plan did not arrive, in sentences."""
    broken = [f"The stream broke after {examination.frames} frames."] if video.decode_error is not None else []
    received = Received(
        frames=examination.frames,
        pace=examination.pace,
        damaged_frames=getattr(video, "damaged_frames", 0),
    )
    return broken or losses(video.facts, plan, received)


def _warnings(
    video: VideoReader, plan: SamplingPlan, examination: Examination, reported: Sequence[TrackRecord]
) -> Iterator[tuple[str, str]]:
    if video.facts.codec is not None and not examination.frames:
        yield "region_outside_video", "The part asked for holds no frame of the video."
    if lost := _lost(video, plan, examination):
        yield "partial_decode", " ".join([*lost, "What could be decoded was analysed."])
    if (rate := _slowest_rate(examination)) is not None and rate < LOW_FRAME_RATE:
        yield (
            "low_frame_rate",
            f"Frames follow each other at {rate:.1f} a second, in the slowest part that was judged: a clip of 32 then"
            " lasts over 3 s, longer than the method was made for.",
        )
    if examination.faces_ignored:
        yield (
            "faces_left_out",
            f"More faces at once than are followed: {examination.faces_ignored} sightings were left out.",
        )
    if examination.gallery is not None and examination.gallery.failures:
        yield (
            "crops_left_out",
            f"{examination.gallery.failures} pictures of faces could not be made. Nothing was judged by them.",
        )
    if left_out := len(examination.records) - len(reported):
        yield (
            "tracks_left_out",
            f"{left_out} of {len(examination.records)} faces are not listed. They were analysed like the others and"
            " count in the outcome.",
        )


def _slowest_rate(examination: Examination) -> float | None:
    """Frames a second of the slowest judged clip; of the whole video where none was judged, None for one frame."""
    rates = [clip.frame_rate for record in examination.records.values() for clip in record.clips]
    step = examination.pace.usual_step
    return min(rates, default=1 / step if step else None)
