from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from markupsafe import escape

from styleflow.evaluation.bootstrap import Measured
from styleflow.evaluation.compose import Material, compose
from styleflow.evaluation.discrimination_tables import Contender
from styleflow.evaluation.plots import histogram_plot, reliability_plot, robustness_plot, roc_plot
from styleflow.evaluation.predictions import Prediction, video_scores
from styleflow.evaluation.report import (
    EvaluationReport,
    Provenance,
    footnotes,
    interval,
    number,
    plain_rows,
    report_to_html,
    report_to_json,
    why,
    write_report,
)
from styleflow.evaluation.tables import Sampler, Table
from tests.evaluation.made_predictions import predictions, scored, subject

PROVENANCE = Provenance(
    manifest="faces.csv",
    manifest_sha256="a" * 64,
    split="validation",
    model="styleflow-compact@1",
    weights_sha256="b" * 64,
    scoring_sha256="c" * 64,
    calibration=None,
    code_version="0.1.0",
    seed=3,
    resamples=20,
    command="styleflow evaluate faces.csv --seed 3",
    created="2026-01-01T00:00:00+00:00",
    device="cpu",
    precision="float32",
    pooling="mean_logit_per_track_max_over_tracks",
    sampling="auto, 16 clips",
    trivial_baseline="10 videos of the training split",
    libraries={"torch": "2.13.0"},
)
SAMPLER = Sampler(seed=3, resamples=20)
LOST = Prediction(subject=subject(70, "real"), outcome="failed", reason="corrupt_media: <b>broken</b>")


def made(*more: Prediction, perturbed: bool = False) -> EvaluationReport:
    lines = [*predictions(), *more]
    material = Material(
        model="styleflow-compact@1",
        predictions=lines,
        lines={line.subject.path: row + 2 for row, line in enumerate(lines)},
        trivial=Contender(name="trivial statistics", values={line.subject.path: 0.0 for line in lines}),
        beside={"content alone": predictions(gap=1.0)},
        left_out={"swap": predictions()},
        learnt_generators=frozenset({"swap"}),
        perturbed=[scored(line.subject, line.logit or 0.0, "none") for line in predictions()] if perturbed else (),
    )
    return compose(material, PROVENANCE, SAMPLER)


@pytest.fixture(scope="module")
def report() -> EvaluationReport:
    return made(LOST, perturbed=True)


def test_json_carries_everything_needed_to_repeat_it(report: EvaluationReport) -> None:
    value = json.loads(json.dumps(report_to_json(report), allow_nan=False))

    assert value["provenance"]["manifest_sha256"] == "a" * 64
    assert value["provenance"]["weights_sha256"] == "b" * 64
    assert value["provenance"]["command"].startswith("styleflow evaluate")
    assert value["provenance"]["seed"] == 3
    assert set(value["tables"]) == {
        "coverage",
        "overall",
        "generators",
        "novelty",
        "datasets",
        "left_out",
        "calibration",
        "robustness",
    }


def test_json_gives_numbers_with_bounds_and_null_for_what_is_not_defined(report: EvaluationReport) -> None:
    overall = report_to_json(report)["tables"]["overall"]["rows"]
    model, frames = overall[0], overall[-1]

    assert model["auc"]["low"] <= model["auc"]["value"] <= model["auc"]["high"]
    assert frames["paired"]["value"] is None
    assert frames["paired"]["why"]


def test_a_video_that_was_not_scored_is_named_with_its_line(report: EvaluationReport) -> None:
    [video] = report.unscored

    assert (video.path, video.line, video.outcome) == (LOST.subject.path, 42, "failed")
    assert LOST.subject.path in report_to_html(report)


def test_the_page_needs_nothing_from_elsewhere_and_escapes_what_it_shows(report: EvaluationReport) -> None:
    page = report_to_html(report)

    assert "<b>broken</b>" not in page
    assert "&lt;b&gt;broken&lt;/b&gt;" in page
    assert not re.search(r'(?:src|href)="(?!data:image/svg\+xml;base64,|#)', page)
    assert "<script" not in page
    assert all(f'alt="{escape(plot.alt)}"' in page for plot in report.plots)
    assert {plot.key for plot in report.plots} == {"roc", "reliability", "histograms", "robustness"}


def test_every_table_of_the_report_is_on_the_page(report: EvaluationReport) -> None:
    page = report_to_html(report)

    assert report.tables
    assert all(f'<section id="{table.key}">' in page for table in report.tables)
    assert PROVENANCE.weights_sha256 in page


def test_the_same_numbers_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_report(made(), tmp_path / name)
    for file in ("evaluation.json", "evaluation.html"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_a_set_without_fakes_still_gives_a_report_that_says_so() -> None:
    lines = [line for line in predictions() if line.subject.label == "real"]
    material = Material(model="m@1", predictions=lines, lines={line.subject.path: 2 for line in lines}, trivial=None)
    report = compose(material, PROVENANCE, SAMPLER)
    page = report_to_html(report)

    assert "no fake video" in page
    assert [plot.key for plot in report.plots] == ["histograms"]


def test_a_set_of_which_nothing_was_scored_still_gives_a_report() -> None:
    material = Material(model="m@1", predictions=[LOST], lines={LOST.subject.path: 2}, trivial=None)
    report = compose(material, replace(PROVENANCE, split="test"), SAMPLER)

    assert report.plots == ()
    assert "no video was scored" in report_to_html(report)


def test_a_cell_reads_as_number_and_interval_or_as_a_dash_and_a_reason() -> None:
    good = Measured(value=0.5, low=0.25, high=0.75, dropped=3)
    missing = Measured.missing("no fake video")

    assert (number(good), interval(good), why(good)) == (
        "0.500",
        "0.250 to 0.750",
        "some resamples did not define it and were dropped",
    )
    assert (number(missing), interval(missing), why(missing)) == ("-", "", "no fake video")


def test_each_reason_is_said_once_below_its_table_and_cells_carry_its_letter() -> None:
    cells = [Measured.missing(reason) for reason in ("no fake video", "not run", "no fake video")]
    table = Table(key="k", title="t", note="n", columns=("a", "b", "c"), rows=(tuple(cells),))

    assert footnotes(table) == {"no fake video": "a", "not run": "b"}


def test_a_terminal_gets_the_columns_it_asks_for(report: EvaluationReport) -> None:
    rows = plain_rows(report.table("overall"), ("detector", "auc"))

    assert all(len(row) == 2 for row in rows)
    assert re.fullmatch(r"0\.\d\d \(0\.\d\d-[01]\.\d\d\)", rows[0][1])


def test_plots_are_pictures_of_what_they_are_given(report: EvaluationReport) -> None:
    scores = video_scores(predictions())
    pictures = [
        roc_plot({"model": scores, "one class": scores.take(scores.labels.nonzero()[0])}),
        reliability_plot(scores.labels, {"p": 1 / (1 + abs(scores.values))}),
        histogram_plot({"real": scores.reals, "nothing": scores.reals[:0]}, "raw logit"),
        histogram_plot({}, "raw logit"),
        robustness_plot(report.table("robustness")),
    ]

    assert all(picture.startswith("<?xml") and "<svg" in picture for picture in pictures)
