"""What was looked at and what was not, from a file to the report, with squares for faces."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest

from styleflow.detection.analyze import analyze
from styleflow.detection.engine import Detector
from styleflow.errors import CorruptMedia
from styleflow.report import Outcome, Verdict, VideoReport
from styleflow.video.clips import Sampling
from tests.detection.drawn_faces import BLUE_LOGIT, RED_LOGIT, Square, full_options, square_detector, squares_clip
from tests.media import corrupt_middle, plain_clip, truncated

SHOT_FRAMES = 24
UNIFORM = Sampling(mode="uniform", clips=4)


@pytest.fixture(scope="module")
def judge(calibrated_detector: Detector) -> Detector:
    return square_detector(calibrated_detector)


def codes(report: VideoReport) -> list[str]:
    return [warning.code for warning in report.warnings]


def clip_of(path: Path, frames: int, **how: object) -> Path:
    return squares_clip(path, [[Square()]] * frames, **how)


@pytest.fixture(scope="module")
def twenty_shots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One face in each, at another place; that of the seventh is red, and smaller than all others."""
    shots = [Square(left=(5, 90, 170)[shot % 3]) for shot in range(20)]
    shots[6] = Square(left=shots[6].left, side=54, red=True)
    frames = ([shots[number // SHOT_FRAMES]] for number in range(20 * SHOT_FRAMES))
    return squares_clip(tmp_path_factory.mktemp("shots") / "shots.mp4", frames)


@pytest.mark.parametrize("most", [64, 16, 4, 2])
def test_the_face_that_decides_counts_and_is_reported_however_few_are(
    judge: Detector, twenty_shots: Path, most: int
) -> None:
    report = analyze(twenty_shots, judge, options=full_options(max_tracks=most))

    assert (report.verdict, report.score) == (Verdict.STRONG, RED_LOGIT)
    assert max(track.score for track in report.tracks if track.score is not None) == RED_LOGIT
    assert len(report.tracks) == min(most, 20)
    assert (report.coverage.faces_tracked, report.coverage.clips_analysed) == (20, 20)
    assert codes(report) == (["tracks_left_out"] if most < 20 else [])


def test_the_warning_says_how_many_faces_are_not_listed(judge: Detector, twenty_shots: Path) -> None:
    [warning] = analyze(twenty_shots, judge, options=full_options(max_tracks=16)).warnings

    assert warning.message.startswith("4 of 20 faces")


def test_without_calibration_the_choice_of_faces_does_not_tell_their_scores(
    detector: Detector, twenty_shots: Path
) -> None:
    report = analyze(twenty_shots, square_detector(detector), options=full_options(max_tracks=4))

    assert report.outcome is Outcome.INCONCLUSIVE
    assert all(track.face_size_px > 57 for track in report.tracks)


@pytest.mark.parametrize(("name", "codec"), [("video.mkv", "libx264"), ("video.avi", "mpeg4"), ("video.mp4", "mpeg4")])
@pytest.mark.parametrize("sampling", [Sampling(mode="full"), UNIFORM], ids=["full", "uniform"])
def test_a_file_that_was_cut_off_is_known_by_its_header(
    judge: Detector, tmp_path: Path, name: str, codec: str, sampling: Sampling
) -> None:
    movflags = "faststart" if name.endswith("mp4") else None
    whole = clip_of(tmp_path / name, 300, codec=codec, movflags=movflags)
    report = analyze(truncated(whole, tmp_path / f"cut-{name}", 0.5), judge, options=full_options(sampling=sampling))

    assert codes(report) == ["partial_decode"]
    assert report.coverage.truncated


@pytest.mark.parametrize(("name", "codec"), [("video.mkv", "libx264"), ("video.ts", "mpeg2video")])
def test_a_file_with_a_damaged_middle_shows_a_hole(judge: Detector, tmp_path: Path, name: str, codec: str) -> None:
    whole = clip_of(tmp_path / name, 300, codec=codec)
    report = analyze(corrupt_middle(whole, tmp_path / f"torn-{name}"), judge, options=full_options())

    assert codes(report) == ["partial_decode"]
    assert report.coverage.truncated


@pytest.mark.parametrize(
    ("name", "codec", "how"),
    [
        ("video.mkv", "libx264", {"b_frames": 2}),
        ("video.mp4", "libx264", {"sound": True}),
        ("video.avi", "mpeg4", {}),
        ("video.ts", "mpeg2video", {}),
        ("video.mpg", "mpeg1video", {}),
        ("video.mpg", "mpeg1video", {"sound": False, "b_frames": 2}),
    ],
)
@pytest.mark.parametrize("sampling", [Sampling(mode="full"), UNIFORM], ids=["full", "uniform"])
def test_nothing_is_said_to_be_lost_of_a_sound_file(
    judge: Detector, tmp_path: Path, name: str, codec: str, how: dict[str, object], sampling: Sampling
) -> None:
    report = analyze(clip_of(tmp_path / name, 150, codec=codec, **how), judge, options=full_options(sampling=sampling))

    assert codes(report) == []
    assert report.coverage.truncated is (sampling is UNIFORM)


def held(first: int, hold_seconds: str, rest: int) -> list[Fraction]:
    """Times of 25 frames a second with one picture held in the midst."""
    before = [Fraction(number, 25) for number in range(first)]
    return before + [before[-1] + Fraction(hold_seconds) + Fraction(number, 25) for number in range(rest)]


def test_no_clip_reaches_over_a_picture_that_was_held(judge: Detector, tmp_path: Path) -> None:
    times = held(40, "2.0", 40)
    report = analyze(clip_of(tmp_path / "held.mkv", 80, times=times), judge, options=full_options())
    [track] = report.tracks

    assert [(clip.first_frame, clip.last_frame) for clip in track.clips] == [(0, 31), (8, 39), (40, 71), (48, 79)]
    assert all(clip.end_seconds - clip.start_seconds < 1.3 for clip in track.clips)
    assert codes(report) == ["partial_decode"]
    assert report.coverage.truncated
    assert report.coverage.analysed_seconds == pytest.approx(80 / 25, abs=0.02)


def test_a_short_hold_ends_the_stretch_and_is_no_loss(judge: Detector, tmp_path: Path) -> None:
    report = analyze(clip_of(tmp_path / "held.mkv", 80, times=held(40, "0.4", 40)), judge, options=full_options())

    assert len(report.tracks[0].clips) == 4
    assert (codes(report), report.coverage.truncated) == ([], False)


def test_a_rate_that_varies_a_little_breaks_nothing(judge: Detector, tmp_path: Path) -> None:
    steps = [Fraction(step, 1000) for step in (33, 33, 66, 33, 100, 33)] * 12
    times = [sum(steps[:number], Fraction(0)) for number in range(len(steps))]
    report = analyze(clip_of(tmp_path / "varied.mkv", len(times), times=times), judge, options=full_options())

    assert len(report.tracks[0].clips) == 3
    assert (codes(report), report.coverage.truncated) == ([], False)


@pytest.mark.parametrize(("rate", "expected"), [(5, ["low_frame_rate"]), (10, []), (12, [])])
def test_a_video_of_few_frames_a_second_is_judged_with_a_warning(
    judge: Detector, tmp_path: Path, rate: int, expected: list[str]
) -> None:
    report = analyze(clip_of(tmp_path / "slow.mp4", 80, rate=rate), judge, options=full_options())

    assert report.score == BLUE_LOGIT
    assert codes(report) == expected


def test_one_frame_a_second_is_a_slow_video_and_no_torn_one(judge: Detector, tmp_path: Path) -> None:
    report = analyze(clip_of(tmp_path / "slides.mp4", 40, rate=1), judge, options=full_options())

    assert (codes(report), report.coverage.truncated) == (["low_frame_rate"], False)


def test_a_part_of_a_video_is_a_part_even_where_all_of_it_is_looked_at(judge: Detector, tmp_path: Path) -> None:
    video = clip_of(tmp_path / "video.mp4", 160)
    options = full_options(sampling=Sampling(mode="uniform", clips=2), start_seconds=1.28, end_seconds=3.84)
    report = analyze(video, judge, options=options)

    assert (report.coverage.sampling, report.coverage.frames_decoded) == ("uniform", 64)
    assert report.coverage.truncated


@pytest.mark.parametrize("sampling", [Sampling(mode="full"), UNIFORM], ids=["full", "uniform"])
@pytest.mark.parametrize("name", ["short.mp4", "short.ts"])
def test_a_part_beyond_the_end_is_too_short_and_no_damage(
    judge: Detector, tmp_path: Path, name: str, sampling: Sampling
) -> None:
    options = full_options(start_seconds=60.0, end_seconds=70.0, sampling=sampling)
    report = analyze(plain_clip(tmp_path / name), judge, options=options)

    assert (report.outcome, report.reason) == (Outcome.NOT_APPLICABLE, "too_short")
    assert (report.coverage.frames_decoded, report.coverage.truncated) == (0, True)
    assert codes(report) == ["region_outside_video"]


def test_a_part_between_two_frames_is_too_short(judge: Detector, tmp_path: Path) -> None:
    video = plain_clip(tmp_path / "short.mp4", rate=5)
    report = analyze(video, judge, options=full_options(start_seconds=1.11, end_seconds=1.15))

    assert report.reason == "too_short"


def test_a_part_that_the_header_promises_and_the_file_lost_is_damage(judge: Detector, tmp_path: Path) -> None:
    cut = truncated(clip_of(tmp_path / "whole.mkv", 300), tmp_path / "cut.mkv", 0.4)

    with pytest.raises(CorruptMedia):
        analyze(cut, judge, options=full_options(start_seconds=8.0, end_seconds=10.0))
