"""Reports drawn in code: one scored track of a few frames."""

from __future__ import annotations

from styleflow.report import (
    ClipScore,
    Coverage,
    FaceCrop,
    FaceTrack,
    FrameEvidence,
    MediaFacts,
    Outcome,
    Pipeline,
    Thresholds,
    Verdict,
    VideoReport,
)


def scored_report(frames: int = 3) -> VideoReport:
    return VideoReport(
        outcome=Outcome.SCORED,
        reason=None,
        score=1.25,
        probability=0.75,
        verdict=Verdict.SUSPICIOUS,
        pooling="max_track_mean",
        thresholds=Thresholds(policy="default", weak=0.3, suspicious=0.6, strong=0.9),
        media=MediaFacts(container="mp4", codec="h264", width=640, height=480, sha256="ab" * 32),
        coverage=Coverage(
            media_seconds=4.0,
            analysed_seconds=4.0,
            frames_decoded=100,
            frames_with_face=frames,
            clips_planned=1,
            clips_analysed=1,
            faces_tracked=1,
            sampling="full",
            truncated=False,
        ),
        tracks=(track(frames),),
        pipeline=Pipeline(
            model="styleflow@1",
            pack="styleflow",
            pack_version="1",
            pack_sha256="cd" * 32,
            size="compact",
            components=("style_encoder",),
            calibration="platt",
            code_version="0.1.0",
            device="cpu",
            precision="float32",
            libraries={"torch": "2.13.0"},
        ),
    )


def crop(number: int = 1) -> FaceCrop:
    """A picture of the track on the frame of that number."""
    return FaceCrop(
        crop_id=f"crop-{number}",
        track_id="trk_0",
        clip_index=0,
        frame_index=number,
        time_seconds=number / 25,
        score=0.5,
        attention=None,
    )


def track(frames: int) -> FaceTrack:
    numbers = tuple(range(frames))
    none = tuple(None for _ in numbers)
    return FaceTrack(
        track_id="trk_0",
        start_seconds=0.0,
        end_seconds=frames / 25,
        frame_count=frames,
        detection_confidence=0.99,
        face_size_px=120.0,
        score=1.25,
        probability=0.75,
        clips=(
            ClipScore(
                index=0, start_seconds=0.0, end_seconds=1.28, first_frame=0, last_frame=31, logit=1.25, probability=0.75
            ),
        ),
        frames=FrameEvidence(
            frame_index=numbers,
            time_seconds=tuple(number / 25 for number in numbers),
            box=tuple((float(number), 1.0, 2.0, 3.0) for number in numbers),
            detection_confidence=none,
            score=tuple(0.5 for _ in numbers),
            flow_coarse=none,
            flow_middle=none,
            flow_fine=none,
            attention=none,
        ),
    )
