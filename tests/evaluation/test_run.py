from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from styleflow.detection.engine import Detector
from styleflow.errors import StyleFlowError
from styleflow.evaluation import run as module
from styleflow.evaluation.bootstrap import Measured
from styleflow.evaluation.calibration import CalibrationError, ScalingWish
from styleflow.evaluation.ledger import LedgerMismatch
from styleflow.evaluation.operating_points import Rates
from styleflow.evaluation.report import EvaluationReport, report_to_json
from styleflow.evaluation.robustness import RobustnessWish
from styleflow.evaluation.roster import BadVideos
from styleflow.evaluation.run import (
    CalibrationWish,
    EvaluationWish,
    evaluate,
    read_calibration,
    read_predictions,
)
from styleflow.evaluation.scores import EvaluationError
from styleflow.packs import sha256_of
from tests.detection.drawn_faces import full_options, squares_clip
from tests.media import text_file

Row = tuple[str, str, str, str, str]
COLUMNS = ("file", "label", "generator", "identity", "pair", "split", "licence", "dataset")
ROWS: list[Row] = [
    row
    for number in range(4)
    for row in (
        (f"real-{number}.mp4", "real", "", f"p{number}", ""),
        (f"fake-{number}.mp4", "fake", "painter", f"p{number}", f"real-{number}.mp4"),
    )
]
RATES = Rates(weak=0.5, suspicious=0.25, strong=0.25, cleared_fakes=0.25)


@dataclass(frozen=True)
class Measurement:
    out: Path
    report: EvaluationReport
    told: list[tuple[str, int, int]]


def manifest(folder: Path, rows: Sequence[Row] = tuple(ROWS), split: str = "validation") -> Path:
    path = folder / "faces.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerows((*row, split, "CC0", "drawn") for row in rows)
    return path


@pytest.fixture
def folder(clips: Path, tmp_path: Path) -> Path:
    """A copy of the drawn clips that a test may spoil."""
    for clip in clips.iterdir():
        (tmp_path / clip.name).hardlink_to(clip)
    return tmp_path


@pytest.fixture(scope="module")
def once(clips: Path, squares: Detector, tmp_path_factory: pytest.TempPathFactory) -> Measurement:
    """One plain run, and what it left. Do not write to it."""
    home, told = tmp_path_factory.mktemp("once"), []
    for clip in clips.iterdir():
        (home / clip.name).hardlink_to(clip)
    report = evaluate(wish(home), squares, lambda *step: told.append(step))
    return Measurement(home / "out", report, told)


@pytest.fixture
def measured(folder: Path, once: Measurement) -> Path:
    """The clips, and in `out` what the plain run left."""
    shutil.copytree(once.out, folder / "out")
    return folder


def wish(folder: Path, **changes: object) -> EvaluationWish:
    plain = EvaluationWish(
        manifest=manifest(folder),
        out=folder / "out",
        command="styleflow evaluate",
        resamples=20,
        options=full_options(),
    )
    return replace(plain, **changes)  # type: ignore[arg-type]


def auc(report: EvaluationReport) -> Measured:
    table = report.table("overall")
    found = table.rows[0][table.columns.index("auc")]
    assert isinstance(found, Measured)
    return found


def test_a_detector_that_sees_the_difference_is_measured_so(once: Measurement, squares: Detector) -> None:
    told = once.report.provenance

    assert auc(once.report).value == 1.0
    assert told.manifest_sha256 == sha256_of(once.out.parent / "faces.csv")
    assert told.weights_sha256 == squares.card.weights.sha256
    assert told.scoring_sha256 == squares.card.scoring_sha256
    assert sorted(path.name for path in once.out.iterdir()) == [
        "evaluation.html",
        "evaluation.json",
        "predictions.jsonl",
        "statistics.jsonl",
    ]
    assert str(once.out.parent) not in (once.out / "predictions.jsonl").read_text()


def test_results_are_not_overwritten_by_a_run_that_does_not_resume(measured: Path, squares: Detector) -> None:
    with pytest.raises(EvaluationError, match="resume"):
        evaluate(wish(measured), squares)


def test_a_resumed_run_judges_nothing_again(
    measured: Path, once: Measurement, squares: Detector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "predict", None)

    assert evaluate(wish(measured, resume=True), squares).tables == once.report.tables


def test_predictions_of_another_pack_are_not_resumed(measured: Path, squares: Detector) -> None:
    weights = squares.card.weights.model_copy(update={"sha256": "0" * 64})
    other = replace(squares, card=squares.card.model_copy(update={"weights": weights}))

    with pytest.raises(LedgerMismatch, match="weights_sha256"):
        evaluate(wish(measured, resume=True), other)


def test_predictions_of_the_same_parameters_prepared_otherwise_are_not_resumed(
    measured: Path, squares: Detector
) -> None:
    framed = squares.card.preprocessing.model_copy(update={"style_framing": "ftcn256"})
    other = replace(squares, card=squares.card.model_copy(update={"preprocessing": framed}))

    with pytest.raises(LedgerMismatch, match="scoring_sha256"):
        evaluate(wish(measured, resume=True), other)


def test_an_empty_split_is_an_error_before_anything_is_judged(folder: Path, squares: Detector) -> None:
    with pytest.raises(EvaluationError, match=r"'test'.*validation"):
        evaluate(wish(folder, split="test"), squares)
    assert not (folder / "out").exists()


def spoiled(folder: Path) -> None:
    """One file is gone, one is no video, one has no face."""
    for name in ("real-1.mp4", "real-2.mp4", "real-3.mp4"):
        (folder / name).unlink()
    text_file(folder / "real-2.mp4")
    squares_clip(folder / "real-3.mp4", [[]] * 40)


def test_a_missing_file_is_named_with_its_line_before_anything_is_judged(folder: Path, squares: Detector) -> None:
    spoiled(folder)
    with pytest.raises(BadVideos, match=r"line 4: real-1\.mp4: missing"):
        evaluate(wish(folder), squares)
    assert not (folder / "out").exists()


def test_unreadable_and_faceless_videos_are_named_with_their_lines(folder: Path, squares: Detector) -> None:
    spoiled(folder)
    rows = [row for row in ROWS if row[0] != "real-1.mp4"]
    plan = wish(folder)
    manifest(folder, rows)
    with pytest.raises(BadVideos) as told:
        evaluate(plan, squares)

    assert "line 5: real-2.mp4: container_unsupported" in str(told.value)
    assert "line 7: real-3.mp4: no_face" in str(told.value)


def test_bad_videos_are_skipped_when_asked_to_and_counted(folder: Path, squares: Detector) -> None:
    spoiled(folder)
    report = evaluate(wish(folder, skip_bad=True), squares)

    assert [(video.line, video.outcome) for video in report.unscored] == [
        (4, "failed"),
        (6, "failed"),
        (8, "not_applicable"),
    ]
    assert auc(report).value == 1.0
    assert report.table("overall").rows[0][1] == 1


def test_robustness_is_run_and_resumed(folder: Path, squares: Detector, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = RobustnessWish(perturbations=("contrast",), severities=(1,), max_clips=1)
    report = evaluate(wish(folder, robustness=plan), squares)
    rows = {row[0]: row for row in report.table("robustness").rows}
    reference, changed = rows["none"][1], rows["contrast"][2]

    assert isinstance(reference, Measured)
    assert isinstance(changed, Measured)
    assert (reference.value, changed.value) == (1.0, 1.0)
    monkeypatch.setattr(module, "predict_perturbed", None)
    assert evaluate(wish(folder, robustness=plan, resume=True), squares).tables == report.tables


def test_a_calibration_is_proposed_and_can_be_read_back(measured: Path, squares: Detector) -> None:
    plan = CalibrationWish(scaling=ScalingWish(), rates=RATES)
    report = evaluate(wish(measured, calibration=plan, resume=True), squares)
    found = read_calibration(measured / "out" / "calibration.json")

    assert found.slope > 0
    assert "8 videos of 4 identities" in found.measured_on
    assert report.table("proposed_points").rows


def test_a_calibration_that_cannot_be_had_is_an_error_after_the_report(folder: Path, squares: Detector) -> None:
    turned = [(file, "fake" if label == "real" else "real", "", who, "") for file, label, _, who, _ in ROWS]
    plan = wish(folder, calibration=CalibrationWish(scaling=ScalingWish(), rates=RATES))
    manifest(folder, turned)
    with pytest.raises(CalibrationError, match="says nothing"):
        evaluate(plan, squares)

    assert (folder / "out" / "evaluation.html").exists()
    assert not (folder / "out" / "calibration.json").exists()


def test_other_networks_predictions_stand_beside(measured: Path, squares: Detector) -> None:
    kept = measured / "out" / "predictions.jsonl"
    assert len(read_predictions(kept)) == 8
    report = evaluate(wish(measured, resume=True, beside={"the same": kept}, left_out={"painter": kept}), squares)

    assert report.table("overall").rows[1][0] == "the same"
    assert report.table("left_out").rows[0][0] == "painter"


@pytest.mark.parametrize("content", [None, "letter\n", '{"kind": "x"}\n{"path": 1}\n'])
def test_what_is_no_file_of_predictions_is_refused(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "other.jsonl"
    if content is not None:
        path.write_text(content)
    with pytest.raises(EvaluationError, match=r"other\.jsonl"):
        read_predictions(path)


def test_the_trivial_baseline_learns_on_the_training_split_of_another_manifest(
    measured: Path, squares: Detector
) -> None:
    (measured / "other").mkdir()
    for clip in measured.glob("*.mp4"):
        (measured / "other" / clip.name).hardlink_to(clip)
    teacher = manifest(measured / "other", split="train")
    report = evaluate(wish(measured, baseline_manifest=teacher, resume=True), squares)

    assert report.provenance.trivial_baseline == "8 videos of the training split"
    assert report.table("overall").rows[1][0] == "trivial statistics"


def test_every_step_is_told(once: Measurement) -> None:
    assert once.told[0] == ("judging", 1, 8)
    assert ("judging", 8, 8) in once.told
    assert once.told[-1] == ("measuring trivial statistics", 8, 8)


def test_what_a_run_raises_is_of_the_projects_tree() -> None:
    assert issubclass(BadVideos, EvaluationError)
    assert issubclass(CalibrationError, EvaluationError)
    assert issubclass(EvaluationError, StyleFlowError)


def test_the_written_report_is_the_one_returned(once: Measurement) -> None:
    value = json.loads((once.out / "evaluation.json").read_text())

    assert value == json.loads(json.dumps(report_to_json(once.report)))
    assert value["provenance"]["manifest"] == "faces.csv"
