"""The whole way from a file to a report, on real and drawn videos with random weights."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from styleflow.detection.analyze import AnalysisOptions, Progress, analyze
from styleflow.detection.engine import Detector
from styleflow.detection.score import calibrated, verdict
from styleflow.errors import Cancelled, ContainerUnsupported
from styleflow.report import Outcome, VideoReport, report_from_json, report_to_json
from styleflow.video.clips import Sampling
from tests.detection.conftest import CALIBRATION, THRESHOLDS
from tests.media import (
    SAMPLES,
    audio_only,
    canvas,
    face_clip,
    face_picture,
    moving_face,
    paste,
    plain_clip,
    text_file,
    truncated,
    two_face_clip,
    write_video,
)

SAMPLE = SAMPLES / "grid-swiz3n.mpg"


@pytest.fixture(scope="module")
def of_sample(detector: Detector) -> VideoReport:
    return analyze(SAMPLE, detector)


def drawn(path: Path, picture: Callable[[int], NDArray[np.uint8]], frames: int) -> Path:
    return write_video(path, (picture(number) for number in range(frames)))


def outcome(report: VideoReport) -> tuple[str, str | None]:
    return report.outcome.value, report.reason


def children() -> str:
    return "".join((task / "children").read_text() for task in Path(f"/proc/{os.getpid()}/task").iterdir())


def test_a_sample_with_random_weights_is_inconclusive_with_real_evidence(of_sample: VideoReport) -> None:
    [track] = of_sample.tracks

    assert outcome(of_sample) == ("inconclusive", "uncalibrated_weights")
    assert (track.frame_count, len(track.clips)) == (75, 3)
    assert track.detection_confidence > 0.99
    assert track.face_size_px == pytest.approx(115, abs=15)
    assert all(0 <= weight <= 1 for weight in track.frames.attention if weight is not None)
    for level in (track.frames.flow_coarse, track.frames.flow_middle, track.frames.flow_fine):
        assert sum(norm is not None and norm > 0 for norm in level) >= 72


def test_without_calibration_no_number_is_anywhere_in_the_report(of_sample: VideoReport) -> None:
    [track] = of_sample.tracks

    assert {of_sample.score, of_sample.probability, of_sample.verdict, of_sample.thresholds} == {None}
    assert {track.score, track.probability} == {None}
    assert {number for clip in track.clips for number in (clip.logit, clip.probability)} == {None}
    assert set(track.frames.score) == {None}


def test_a_report_says_what_was_looked_at_and_with_what(of_sample: VideoReport, detector: Detector) -> None:
    seen = of_sample.coverage

    assert (seen.sampling, seen.truncated, seen.frames_decoded, seen.frames_with_face) == ("full", False, 75, 75)
    assert (seen.clips_planned, seen.clips_analysed, seen.faces_tracked) == (3, 3, 1)
    assert seen.analysed_seconds == pytest.approx(3.0)
    assert of_sample.warnings == ()
    assert of_sample.pipeline.model == detector.card.model
    assert of_sample.pipeline.pack_sha256 == detector.card.weights.sha256
    assert of_sample.pipeline.calibration is None
    assert {"torch", "av", "facenet-pytorch"} <= set(of_sample.pipeline.libraries)
    assert {"probe", "decode", "detect", "align", "network", "total"} <= set(of_sample.timing_ms)


def test_a_report_survives_json(of_sample: VideoReport) -> None:
    assert report_from_json(report_to_json(of_sample)) == of_sample


def test_the_same_file_and_pack_give_the_same_report(of_sample: VideoReport, detector: Detector) -> None:
    again = analyze(SAMPLE, detector)

    assert replace(again, timing_ms={}) == replace(of_sample, timing_ms={})


def test_a_calibrated_pack_scores_and_the_verdict_is_that_of_its_thresholds(
    of_sample: VideoReport, calibrated_detector: Detector
) -> None:
    report = analyze(SAMPLE, calibrated_detector, options=AnalysisOptions(sha256="0" * 64))
    [track] = report.tracks
    logits = [clip.logit for clip in track.clips if clip.logit is not None]

    assert report.outcome is Outcome.SCORED
    assert report.reason is None
    assert len(logits) == 3
    assert report.score == track.score == pytest.approx(np.mean(logits))
    assert report.probability == track.probability == calibrated(report.score or 0.0, CALIBRATION)
    assert report.verdict is verdict(report.probability or 0.0, THRESHOLDS)
    assert report.thresholds == THRESHOLDS
    assert None not in track.frames.score
    assert report.media.sha256 == "0" * 64
    assert track.frames.flow_fine == of_sample.tracks[0].frames.flow_fine


def test_two_faces_become_two_tracks(detector: Detector, tmp_path: Path) -> None:
    report = analyze(two_face_clip(tmp_path / "two.mp4", seconds=1.4), detector)

    assert [(track.frame_count, len(track.clips)) for track in report.tracks] == [(35, 2), (35, 2)]
    left, right = report.tracks if report.tracks[0].frames.box[0][0] < 240 else reversed(report.tracks)
    assert max(box[2] for box in left.frames.box) < min(box[0] for box in right.frames.box)


def test_a_cut_from_one_person_to_another_at_the_same_place_ends_the_clip(detector: Detector, tmp_path: Path) -> None:
    def cut(number: int) -> NDArray[np.uint8]:
        return moving_face(10, 200, 200, 200, f"anitalker-aiface{3 if number < 20 else 4}.mp4")

    report = analyze(drawn(tmp_path / "cut.mp4", cut, 40), detector)
    first, second = report.tracks

    assert max(first.frames.frame_index) < 20 <= min(second.frames.frame_index)
    assert [(len(track.clips), track.frame_count >= 16) for track in report.tracks] == [(1, True)] * 2


def test_a_face_in_a_rotated_video_is_found_upright(detector: Detector, tmp_path: Path) -> None:
    upright = [moving_face(number, 320, 240, 200) for number in range(20)]
    stored = [np.ascontiguousarray(np.rot90(picture)) for picture in upright]
    report = analyze(write_video(tmp_path / "turned.mp4", stored, rotation=90), detector)

    [track] = report.tracks
    assert (report.media.width, report.media.height, report.media.rotation_degrees) == (320, 240, 90)
    assert track.frame_count == 20
    left, top, right, bottom = track.frames.box[0]
    assert right - left < bottom - top
    assert 0 <= left < 200
    assert 20 < top < 120


def test_a_uniform_plan_links_the_face_over_its_windows(detector: Detector, tmp_path: Path) -> None:
    video = face_clip(tmp_path / "long.mp4", width=240, seconds=12)
    report = analyze(video, detector, options=AnalysisOptions(sampling=Sampling(mode="uniform", clips=3)))

    [track] = report.tracks
    assert (report.coverage.sampling, report.coverage.truncated) == ("uniform", True)
    assert (report.coverage.clips_planned, report.coverage.clips_analysed) == (3, 3)
    assert report.coverage.analysed_seconds == pytest.approx(3 * 32 / 25, abs=0.01)
    assert [round(clip.start_seconds) for clip in track.clips] == [1, 5, 9]
    assert list(track.frames.time_seconds) == sorted(track.frames.time_seconds)


def test_only_the_part_asked_for_is_looked_at(detector: Detector, tmp_path: Path) -> None:
    video = face_clip(tmp_path / "part.mp4", seconds=4)
    report = analyze(video, detector, options=AnalysisOptions(start_seconds=1.0, end_seconds=2.0))

    assert report.coverage.frames_decoded == 25
    assert report.coverage.truncated
    assert report.tracks[0].start_seconds == pytest.approx(1.0, abs=0.05)
    assert report.tracks[0].end_seconds < 2.0


def test_sound_alone_has_no_video_stream(calibrated_detector: Detector, tmp_path: Path) -> None:
    report = analyze(audio_only(tmp_path / "song.mp4"), calibrated_detector)

    assert outcome(report) == ("not_applicable", "no_video_stream")
    assert report.tracks == ()


def test_a_video_of_things_has_no_face(calibrated_detector: Detector, tmp_path: Path) -> None:
    report = analyze(plain_clip(tmp_path / "things.mp4"), calibrated_detector)

    assert outcome(report) == ("not_applicable", "no_face")
    assert report.coverage.frames_decoded == 50


def test_a_far_face_is_too_small(calibrated_detector: Detector, tmp_path: Path) -> None:
    report = analyze(face_clip(tmp_path / "far.mp4", side=70, seconds=1), calibrated_detector)

    assert outcome(report) == ("not_applicable", "face_too_small")
    assert report.tracks[0].face_size_px < 48


def test_a_glimpse_of_a_face_is_too_short(calibrated_detector: Detector, tmp_path: Path) -> None:
    report = analyze(face_clip(tmp_path / "glimpse.mp4", seconds=0.48), calibrated_detector)

    assert outcome(report) == ("not_applicable", "too_short")
    assert report.tracks[0].frame_count == 12


def test_a_blurred_face_is_below_the_quality_floor(calibrated_detector: Detector, tmp_path: Path) -> None:
    def blurred(number: int) -> NDArray[np.uint8]:
        return cv2.GaussianBlur(moving_face(number, 320, 240, 200, "anitalker-aiface4.mp4"), (0, 0), 7).astype(np.uint8)

    report = analyze(drawn(tmp_path / "fog.mp4", blurred, 20), calibrated_detector)

    assert outcome(report) == ("not_applicable", "below_quality_floor")
    assert report.tracks[0].clips == ()


def test_a_face_in_a_sliver_of_the_video_is_covered_too_thinly(calibrated_detector: Detector, tmp_path: Path) -> None:
    def rare(number: int) -> NDArray[np.uint8]:
        return moving_face(number, 240, 160, 140) if number < 20 else canvas(240, 160)

    video = drawn(tmp_path / "rare.mp4", rare, 300)
    report = analyze(video, calibrated_detector, options=AnalysisOptions(sampling=Sampling(mode="full")))

    assert outcome(report) == ("inconclusive", "coverage_too_thin")
    assert [clip.probability for track in report.tracks for clip in track.clips] == [None]


def test_a_face_that_jumps_about_gives_tracks_too_unstable(calibrated_detector: Detector, tmp_path: Path) -> None:
    def jumping(number: int) -> NDArray[np.uint8]:
        return paste(canvas(480, 160), face_picture(), 0 if number // 8 % 2 else 320, 0, 160)

    report = analyze(drawn(tmp_path / "jump.mp4", jumping, 48), calibrated_detector)

    assert outcome(report) == ("inconclusive", "tracks_too_unstable")
    assert report.coverage.frames_with_face >= 16


def test_a_stream_that_breaks_off_is_judged_as_far_as_it_went_with_a_warning(
    detector: Detector, tmp_path: Path
) -> None:
    pictures = (moving_face(number, 320, 240, 200) for number in range(50))
    whole = write_video(tmp_path / "whole.mp4", pictures, movflags="faststart")
    report = analyze(truncated(whole, tmp_path / "cut.mp4", 0.6), detector)

    assert [warning.code for warning in report.warnings] == ["partial_decode"]
    assert 16 <= report.coverage.frames_decoded < 50
    assert report.coverage.truncated
    assert report.coverage.clips_analysed >= 1


def test_a_letter_raises_and_never_becomes_an_outcome(detector: Detector, tmp_path: Path) -> None:
    with pytest.raises(ContainerUnsupported):
        analyze(text_file(tmp_path / "letter.mp4"), detector)


def test_cancelling_at_a_checkpoint_passes_through_and_ends_the_decoder(detector: Detector) -> None:
    calls = 0

    def checkpoint() -> None:
        nonlocal calls
        calls += 1
        if calls == 5:
            raise Cancelled

    before = children()
    with pytest.raises(Cancelled):
        analyze(SAMPLE, detector, checkpoint=checkpoint)
    assert children() == before


def test_progress_never_falls_and_ends_with_scoring(detector: Detector, tmp_path: Path) -> None:
    told: list[Progress] = []

    analyze(face_clip(tmp_path / "face.mp4", seconds=1.4), detector, progress=told.append)

    fractions = [progress.fraction for progress in told]
    assert fractions == sorted(fractions)
    assert (told[0].phase, told[-1].phase) == ("probing", "scoring")
    assert (told[0].fraction, told[-1].fraction) == (0.0, 1.0)
    assert (told[-1].clips_done, told[-1].clips_total) == (1, 2)


@pytest.mark.parametrize("options", [{"start_seconds": -1}, {"start_seconds": 2, "end_seconds": 2}, {"max_tracks": 0}])
def test_options_that_make_no_sense_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must"):
        AnalysisOptions(**options)  # type: ignore[arg-type]
