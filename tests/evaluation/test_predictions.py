from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from styleflow.detection.analyze import analyze
from styleflow.detection.engine import Detector
from styleflow.errors import GpuOutOfMemory
from styleflow.evaluation import predictions as module
from styleflow.evaluation.ledger import Ledger
from styleflow.evaluation.predictions import (
    Prediction,
    Subject,
    frame_scores,
    latest,
    measuring,
    predict,
    predict_all,
    prediction_from_json,
    prediction_to_json,
    video_scores,
)
from tests.detection.drawn_faces import BLUE_LOGIT, RED_LOGIT, Square, full_options, squares_clip
from tests.evaluation.made_predictions import predictions, scored, subject
from tests.media import plain_clip, text_file

REAL = subject(0, "real")


def test_a_pack_without_calibration_gives_raw_logits_here_and_none_in_its_reports(
    squares: Detector, clips: Path
) -> None:
    found = predict(REAL, clips / "fake-0.mp4", measuring(squares), full_options())
    served = analyze(clips / "fake-0.mp4", squares, options=full_options())

    assert (found.outcome, found.logit) == ("scored", RED_LOGIT)
    assert served.score is None
    assert squares.card.calibration is None


def test_a_video_is_pooled_as_it_is_served(squares: Detector, tmp_path: Path) -> None:
    two = [[Square(), Square(left=150, red=True)]] * 40
    found = predict(REAL, squares_clip(tmp_path / "two.mp4", two), measuring(squares), full_options())

    assert found.logit == RED_LOGIT
    assert sorted(track.logits for track in found.tracks) == [(BLUE_LOGIT,) * 2, (RED_LOGIT,) * 2]
    assert found.tracks[0].spans == ((0, 31), (8, 39))
    assert len(found.frame_scores) == 40
    assert min(found.frame_scores) > 0.99


def test_a_video_without_a_face_has_no_number(squares: Detector, tmp_path: Path) -> None:
    grey = squares_clip(tmp_path / "grey.mp4", [[]] * 40)
    found = predict(REAL, grey, measuring(squares), full_options())

    assert (found.outcome, found.reason, found.logit) == ("not_applicable", "no_face", None)
    assert found.frame_scores == ()


def test_a_file_that_is_no_video_is_failed_with_its_error(squares: Detector, tmp_path: Path) -> None:
    found = predict(REAL, text_file(tmp_path / "letter.mp4"), measuring(squares), full_options())

    assert (found.outcome, found.logit) == ("failed", None)
    assert (found.reason or "").startswith("container_unsupported: ")


def test_a_file_that_is_not_there_is_failed_and_names_no_path(squares: Detector, tmp_path: Path) -> None:
    found = predict(REAL, tmp_path / "gone.mp4", measuring(squares), full_options())

    assert found.reason == "unreadable: No such file or directory"


def test_a_failure_of_the_machine_is_no_score(
    squares: Detector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def out_of_memory(*_: object, **__: object) -> None:
        raise GpuOutOfMemory

    monkeypatch.setattr(module, "analyze", out_of_memory)
    found = predict(REAL, plain_clip(tmp_path / "plain.mp4"), squares)

    assert (found.outcome, found.logit) == ("failed", None)
    assert (found.reason or "").startswith("gpu_oom")


def test_a_prediction_survives_json() -> None:
    for line in (*predictions(people=2), Prediction(subject=REAL, outcome="failed", reason="corrupt_media: broken")):
        assert prediction_from_json(prediction_to_json(line)) == line


def test_resumed_work_judges_only_what_is_missing_and_what_failed(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "predictions.jsonl", {})
    subjects = [subject(number, "real") for number in range(4)]
    asked: list[str] = []
    broken = {subjects[1].path}

    def judge(of: Subject, _: str | None) -> Prediction:
        asked.append(of.path)
        failed = Prediction(subject=of, outcome="failed", reason="corrupt_media: broken")
        return failed if of.path in broken else scored(of, 1.0)

    predict_all(subjects[:3], ledger, judge)
    broken.clear()
    asked.clear()
    found = predict_all(subjects, ledger, judge)

    assert asked == [subjects[1].path, subjects[3].path]
    assert [line.outcome for line in found] == ["scored"] * 4
    assert [line.subject for line in found] == subjects
    assert len(ledger.resume()) == 5
    assert len(latest(ledger.resume())) == 4


def test_resumed_predictions_carry_what_the_manifest_says_now(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "predictions.jsonl", {})
    predict_all([REAL], ledger, lambda of, _: scored(of, 1.0))
    renamed = replace(REAL, identity="somebody else")

    [found] = predict_all([renamed], ledger, lambda of, _: scored(of, 2.0))

    assert (found.subject.identity, found.logit) == ("somebody else", 1.0)


def test_columns_hold_scored_videos_only_and_pair_a_fake_with_its_own_original() -> None:
    real, fake = predictions(people=1)
    lost = Prediction(subject=subject(9, "real"), outcome="inconclusive", reason="tracks_too_unstable")
    scores = video_scores([real, fake, lost])

    assert scores.labels.tolist() == [0, 1]
    assert scores.margins[1] == (fake.logit or 0) - (real.logit or 0)
    assert len(frame_scores([real, fake, lost])) == 6
