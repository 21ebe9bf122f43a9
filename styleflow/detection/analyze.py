"""A video file in, a report out: `analyze` is the one call behind the worker, the command line and the
benchmark.

Frames stream through: what is held at any time is a few frames, the crops of open clips and one batch of
clips, whatever the video's length. A video that cannot be decoded raises; it never becomes an outcome.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from styleflow.detection.coverage import coverage, findings, warnings
from styleflow.detection.engine import Detector
from styleflow.detection.evidence import face_track, most_telling
from styleflow.detection.examination import Examination, Stopwatch
from styleflow.detection.gallery import Gallery, shown
from styleflow.detection.inputs import QualityFloor
from styleflow.detection.losses import holds_frames
from styleflow.detection.pipeline import describe, pack_warnings
from styleflow.detection.score import Policy, decide
from styleflow.errors import CorruptMedia
from styleflow.faces.track import TrackRules
from styleflow.report import FaceCrop, FaceTrack, Outcome, VideoReport
from styleflow.video.clips import CLIP_FRAMES, Sampling, SamplingPlan, plan_sampling
from styleflow.video.probe import MediaLimits
from styleflow.video.sandbox import SandboxLimits, VideoReader, open_video

KeepCrop = Callable[[FaceCrop, bytes], None]
"""Takes a JPEG of an aligned face, and what it shows."""
PROGRESS_EVERY = 8
"""Frames from one word of progress to the next."""


@dataclass(frozen=True, kw_only=True)
class AnalysisOptions:
    """What a caller may choose about one analysis."""

    sampling: Sampling = field(default_factory=Sampling)
    start_seconds: float = 0.0
    end_seconds: float | None = None
    """With `start_seconds`, the part of the video to look at."""
    max_tracks: int = 16
    """Faces followed at once, and faces reported. All that were followed count in the outcome."""
    min_face_px: float = 48.0
    """Least shorter side of a face's box; smaller faces are reported and not judged."""
    policy: Policy = field(default_factory=Policy)
    quality_floor: QualityFloor = field(default_factory=QualityFloor)
    media_limits: MediaLimits = field(default_factory=MediaLimits)
    sandbox_limits: SandboxLimits = field(default_factory=SandboxLimits)
    sha256: str | None = None
    """Of the file, if the caller knows it; copied into the report."""

    def __post_init__(self) -> None:
        if self.start_seconds < 0 or (self.end_seconds is not None and self.end_seconds <= self.start_seconds):
            raise ValueError("the part to look at must begin at or after 0 and end after it begins")
        if self.max_tracks < 1:
            raise ValueError("at least one face must be followed")


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far an analysis is."""

    phase: Literal["probing", "analysing", "scoring"]
    clips_done: int
    """Windows of the video that were passed."""
    clips_total: int | None
    """None where the container does not say how long the video is."""
    fraction: float
    """0..1, never falling."""


def analyze(
    path: Path,
    detector: Detector,
    *,
    options: AnalysisOptions | None = None,
    progress: Callable[[Progress], None] = lambda _: None,
    checkpoint: Callable[[], None] = lambda: None,
    keep_crop: KeepCrop | None = None,
) -> VideoReport:
    """Judge one video.

    `keep_crop` is given, at the end, each of the few pictures of faces that the report then names; without it none are
    made. There are none where the outcome is not `scored`.

    `checkpoint` is called before every fourth frame and every call of the network, and about twice a second while
    the decoder is waited for; what it raises passes through, after the decoder was ended. Raises the leaves of
    MediaError for a video that cannot be analysed, GpuOutOfMemory, InternalFailure, and OSError for a path that cannot
    be opened.
    """
    options = options or AnalysisOptions()
    clock = Stopwatch()
    examination = Examination(
        detector,
        rules=TrackRules(max_open=options.max_tracks),
        min_face_px=options.min_face_px,
        floor=options.quality_floor,
        checkpoint=checkpoint,
        clock=clock,
        gallery=None if keep_crop is None else Gallery(),
    )
    checkpoint()
    progress(Progress(phase="probing", clips_done=0, clips_total=None, fraction=0.0))
    with clock.measuring("total"), ExitStack() as opened:
        with clock.measuring("probe"):
            video = opened.enter_context(
                open_video(path, options.media_limits, options.sandbox_limits, tick=checkpoint)
            )
        plan = plan_sampling(
            video.facts, options.sampling, start_seconds=options.start_seconds, end_seconds=options.end_seconds
        )
        _look(video, plan, examination, progress, checkpoint)
    progress(_progress("scoring", examination.frames, plan))
    return _report(video, plan, examination, detector, options, keep_crop)


def _report(
    video: VideoReader,
    plan: SamplingPlan,
    examination: Examination,
    detector: Detector,
    options: AnalysisOptions,
    keep_crop: KeepCrop | None,
) -> VideoReport:
    """Decide, and put numbers on faces, clips and frames only where the outcome is `scored`."""
    found = findings(video, plan, examination, options.min_face_px)
    decision = decide(found, detector.card.calibration, options.policy)
    scored = decision.outcome is Outcome.SCORED
    scale = detector.card.calibration if scored else None
    reported = most_telling(examination.records.values(), options.max_tracks, options.policy if scored else None)
    tracks = [(record.number, face_track(record, scale, options.policy)) for record in reported]
    pictures = _pictures(examination.gallery, tracks) if scored else []
    if keep_crop is not None:
        for crop, jpeg in pictures:
            keep_crop(crop, jpeg)
    return VideoReport(
        outcome=decision.outcome,
        reason=decision.reason,
        score=decision.score,
        probability=decision.probability,
        verdict=decision.verdict,
        thresholds=decision.thresholds,
        pooling=options.policy.pooling_name,
        media=replace(video.facts, sha256=options.sha256),
        coverage=coverage(video, plan, examination),
        tracks=tuple(track for _, track in tracks),
        pipeline=describe(detector),
        warnings=(*pack_warnings(detector.card), *warnings(video, plan, examination, reported)),
        crops=tuple(crop for crop, _ in pictures),
        timing_ms=examination.clock.milliseconds(),
    )


def _pictures(gallery: Gallery | None, tracks: Sequence[tuple[int, FaceTrack]]) -> list[tuple[FaceCrop, bytes]]:
    """Those of the faces that score highest come first."""
    if gallery is None:
        return []
    ranked = sorted(tracks, key=lambda numbered: math.inf if numbered[1].score is None else -numbered[1].score)
    return shown(gallery.best([number for number, _ in ranked]), tracks)


def _look(
    video: VideoReader,
    plan: SamplingPlan,
    examination: Examination,
    progress: Callable[[Progress], None],
    checkpoint: Callable[[], None],
) -> None:
    """Pull all frames of the plan through the examination. Raises CorruptMedia where there is none, unless the plan
    begins beyond the end of the video or spans less than the time between two frames."""
    if video.facts.codec is None:
        return
    for frame in examination.clock.waiting_for("decode", video.frames(plan, tick=checkpoint)):
        if examination.frames % PROGRESS_EVERY == 0:
            progress(_progress("analysing", examination.frames, plan))
        examination.push(frame)
    if not examination.frames and holds_frames(video.facts, plan):
        raise video.decode_error or CorruptMedia("The part of the video to look at has no frame.")
    examination.finish()


def _progress(phase: Literal["analysing", "scoring"], frames: int, plan: SamplingPlan) -> Progress:
    planned = plan.clips_planned * CLIP_FRAMES
    share = min(1.0, frames / planned) if planned else 0.5
    return Progress(
        phase=phase,
        clips_done=min(frames // CLIP_FRAMES, plan.clips_planned) if planned else frames // CLIP_FRAMES,
        clips_total=plan.clips_planned or None,
        fraction=1.0 if phase == "scoring" else 0.99 * share,
    )
