from __future__ import annotations

import numpy as np
import pytest

from styleflow.detection.engine import ClipJudgement
from styleflow.detection.evidence import (
    TrackRecord,
    face_track,
    frame_evidence,
    frames_judged,
    frames_seen,
    most_telling,
)
from styleflow.detection.score import Policy, calibrated
from styleflow.detection.stream import FaceClip
from styleflow.faces.track import FrameMark, Sighting
from tests.detection.conftest import CALIBRATION
from tests.faces.made_faces import face


def sighting(index: int, number: int = 0, side: float = 100.0) -> Sighting:
    seen = face(10 + index, 10, side, 0.98)
    mark = FrameMark(0, index, index / 25)
    return Sighting(number, 0, mark, seen.box, seen.points, seen.confidence if index % 4 == 0 else None)


def record(frames: int, number: int = 0, side: float = 100.0) -> TrackRecord:
    made = TrackRecord(number)
    for index in range(frames):
        made.see(sighting(index, number, side))
    return made


def clip(indices: list[int], natural: slice = slice(0, 32)) -> FaceClip:
    return FaceClip(0, tuple(sighting(index) for index in indices), (), natural)


def judgement(logit: float, level: float = 1.0) -> ClipJudgement:
    steps = np.arange(1, 32, dtype=np.float64)[:, None] * (level, 2 * level, np.nan)
    return ClipJudgement(logit, steps, np.linspace(0, 1, 32))


def test_the_flow_of_a_step_stands_at_the_frame_that_it_arrives_at() -> None:
    made = record(40)
    made.judged(clip(list(range(4, 36))), judgement(0.0))

    columns = frame_evidence(made, None)

    assert columns.flow_coarse[:6] == (None, None, None, None, None, 1.0)
    assert columns.flow_coarse[35] == 31.0
    assert columns.flow_coarse[36:] == (None,) * 4
    assert columns.flow_middle[5] == 2.0
    assert columns.attention[4] == 0.0
    assert columns.attention[35] == 1.0


def test_a_level_that_the_network_does_not_compute_is_none() -> None:
    made = record(32)
    made.judged(clip(list(range(32))), judgement(0.0))

    assert set(frame_evidence(made, None).flow_fine) == {None}


def test_a_frame_in_two_clips_scores_their_mean_and_keeps_the_flow_of_the_first() -> None:
    made = record(40)
    made.judged(clip(list(range(32))), judgement(1.0, level=1.0))
    made.judged(clip(list(range(8, 40))), judgement(-1.0, level=100.0))

    columns = frame_evidence(made, CALIBRATION)

    high, low = calibrated(1.0, CALIBRATION), calibrated(-1.0, CALIBRATION)
    assert columns.score[0] == pytest.approx(high)
    assert columns.score[8] == pytest.approx((high + low) / 2)
    assert columns.score[39] == pytest.approx(low)
    assert columns.flow_coarse[31] == 31.0
    assert columns.flow_coarse[32] == 2400.0


def test_mirrored_repetitions_of_a_short_clip_leave_no_evidence() -> None:
    mirrored = [*range(6, 0, -1), *range(20), *range(18, 12, -1)]
    made = record(20)
    made.judged(clip(mirrored, slice(6, 26)), judgement(0.0))

    columns = frame_evidence(made, None)

    assert columns.flow_coarse == (None, *map(float, range(7, 26)))
    assert made.clips[0].places == tuple((0, index) for index in range(20))


def test_without_calibration_there_is_no_number_on_any_level() -> None:
    made = record(32)
    made.judged(clip(list(range(32))), judgement(3.0))

    track = face_track(made, None, Policy())

    assert (track.score, track.probability) == (None, None)
    assert [(c.logit, c.probability) for c in track.clips] == [(None, None)]
    assert set(track.frames.score) == {None}


def test_with_calibration_track_clip_and_frame_have_theirs() -> None:
    made = record(32)
    made.judged(clip(list(range(32))), judgement(3.0))

    track = face_track(made, CALIBRATION, Policy())

    assert track.score == 3.0
    assert track.probability == calibrated(3.0, CALIBRATION)
    assert track.clips[0].logit == 3.0
    assert (track.clips[0].first_frame, track.clips[0].last_frame) == (0, 31)
    assert set(track.frames.score) == {track.clips[0].probability}


def test_a_face_without_a_clip_has_no_number_even_with_calibration() -> None:
    track = face_track(record(5), CALIBRATION, Policy())

    assert (track.score, track.probability, track.clips) == (None, None, ())


def test_a_track_is_described_by_its_frames() -> None:
    track = face_track(record(9, number=2), None, Policy())

    assert (track.track_id, track.frame_count) == ("face-3", 9)
    assert (track.start_seconds, track.end_seconds) == (0.0, 8 / 25)
    assert track.detection_confidence == pytest.approx(0.98)
    assert track.face_size_px == pytest.approx(100.0)
    assert track.frames.detection_confidence[:5] == (0.98, None, None, None, 0.98)


def test_the_faces_kept_are_those_with_most_clips_then_the_largest_in_order_of_appearance() -> None:
    tiny, large, judged_one = record(50, 0, 20.0), record(50, 1, 200.0), record(32, 2, 30.0)
    judged_one.judged(clip(list(range(32))), judgement(0.0))

    assert most_telling([tiny, large, judged_one], 2, None) == [large, judged_one]
    assert most_telling([tiny, large, judged_one], 5, None) == [tiny, large, judged_one]


def test_where_there_are_scores_the_highest_is_kept_before_all_others() -> None:
    often, high, unjudged = record(64, 0, 200.0), record(32, 1, 60.0), record(90, 2, 300.0)
    for logit in (1.0, 2.0):
        often.judged(clip(list(range(32))), judgement(logit))
    high.judged(clip(list(range(32))), judgement(1.6))

    assert most_telling([often, high, unjudged], 1, Policy()) == [high]
    assert most_telling([often, high, unjudged], 1, Policy(pooling="top_k", top_k=1)) == [often]
    assert most_telling([often, high, unjudged], 2, Policy()) == [often, high]


def test_frames_are_counted_once_however_many_faces_they_show() -> None:
    one, two = record(40, 0), record(20, 1)
    for made in (one, two):
        made.judged(clip([*range(6, 0, -1), *range(20), *range(18, 12, -1)], slice(6, 26)), judgement(0.0))

    assert frames_seen([one, two]) == 40
    assert frames_judged([one, two]) == 20
