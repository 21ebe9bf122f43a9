from __future__ import annotations

from pathlib import Path

from styleflow.detection.engine import Detector
from styleflow.evaluation.bootstrap import Measured
from styleflow.evaluation.predictions import measuring
from styleflow.evaluation.robustness import RobustnessWish, predict_perturbed, robustness_table
from styleflow.evaluation.tables import Sampler
from tests.detection.drawn_faces import RED_LOGIT, full_options
from tests.evaluation.made_predictions import predictions, scored, subject
from tests.media import text_file


def test_the_whole_protocol_is_a_reference_and_seven_times_five() -> None:
    assert len(list(RobustnessWish().treatments())) == 36
    assert next(iter(RobustnessWish().treatments())) == (None, 1)


def test_a_perturbed_video_is_judged_and_its_line_says_what_was_done(squares: Detector, clips: Path) -> None:
    wish = RobustnessWish(max_clips=1)
    found = predict_perturbed(
        subject(0, "fake"), clips / "fake-0.mp4", measuring(squares), wish, ("contrast", 2), full_options()
    )

    assert (found.perturbation, found.logit) == ("contrast:2", RED_LOGIT)
    assert len(found.frame_scores) == 32


def test_without_colour_the_colour_detector_finds_nothing(squares: Detector, clips: Path) -> None:
    found = predict_perturbed(
        subject(0, "fake"),
        clips / "fake-0.mp4",
        measuring(squares),
        RobustnessWish(),
        ("saturation", 5),
        full_options(),
    )

    assert (found.outcome, found.reason) == ("not_applicable", "no_face")


def test_a_video_that_cannot_be_perturbed_is_failed(squares: Detector, tmp_path: Path) -> None:
    letter, gone = text_file(tmp_path / "letter.mp4"), tmp_path / "gone.mp4"
    found = [
        predict_perturbed(subject(0, "fake"), path, squares, RobustnessWish(), ("blocks", 1)) for path in (letter, gone)
    ]

    assert [line.outcome for line in found] == ["failed", "failed"]
    assert (found[0].reason or "").startswith("container_unsupported")
    assert found[1].reason == "unreadable: No such file or directory"


def test_the_table_has_a_cell_for_what_was_run_and_a_reason_for_the_rest() -> None:
    lines = [scored(line.subject, line.logit or 0.0, "blocks:2") for line in predictions()]
    table = robustness_table(lines, Sampler(seed=0, resamples=20))
    rows = {row[0]: row for row in table.rows}
    run, not_run = rows["blocks"][3], rows["blocks"][2]

    assert list(rows) == ["none", "blocks"]
    assert isinstance(run, Measured)
    assert run.value is not None
    assert run.low is not None
    assert isinstance(not_run, Measured)
    assert (not_run.value, not_run.why) == (None, "not run")
