"""Predictions become the report: which tables and plots are made, and in what order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from styleflow.evaluation.calibration import CalibrationError
from styleflow.evaluation.calibration_tables import (
    calibrated_probabilities,
    calibration_table,
    operating_table,
    points_table,
)
from styleflow.evaluation.discrimination_tables import (
    Contender,
    dataset_table,
    generator_table,
    generators,
    left_out_table,
    novelty_table,
    overall_table,
)
from styleflow.evaluation.metrics import both_classes
from styleflow.evaluation.operating_points import FittedCalibration
from styleflow.evaluation.plots import histogram_plot, reliability_plot, robustness_plot, roc_plot
from styleflow.evaluation.predictions import Prediction, video_scores
from styleflow.evaluation.report import EvaluationReport, Plot, Provenance, Unscored
from styleflow.evaluation.robustness import robustness_table
from styleflow.evaluation.scores import Scores
from styleflow.evaluation.tables import Sampler, Table, coverage_table
from styleflow.packs import Calibration


@dataclass(frozen=True, kw_only=True)
class Material:
    """All that a report is made from."""

    model: str
    predictions: Sequence[Prediction]
    lines: Mapping[str, int]
    """Line of the manifest, by the video's path."""
    trivial: Contender | None
    calibration: Calibration | None = None
    """The pack's."""
    proposed: FittedCalibration | None = None
    beside: Mapping[str, Sequence[Prediction]] = field(default_factory=dict)
    """Predictions of other networks over the same videos: ablations, baselines."""
    left_out: Mapping[str, Sequence[Prediction]] = field(default_factory=dict)
    """By the generator that the network did not see."""
    perturbed: Sequence[Prediction] = ()
    learnt_generators: frozenset[str] | None = None
    """Those of the training split; None where there is none."""


def compose(material: Material, provenance: Provenance, sampler: Sampler) -> EvaluationReport:
    """The whole report; parts that were not run are not in it."""
    scores = video_scores(material.predictions)
    probabilities = calibrated_probabilities(scores, material.calibration, sampler.seed) if len(scores) else {}
    tables = tuple(_tables(material, scores, probabilities, sampler))
    return EvaluationReport(
        provenance=provenance,
        tables=tables,
        unscored=tuple(
            Unscored(
                path=line.subject.path,
                line=material.lines[line.subject.path],
                outcome=line.outcome,
                reason=line.reason or "",
            )
            for line in material.predictions
            if not line.scored
        ),
        plots=tuple(_plots(material, scores, probabilities, tables)),
    )


Probabilities = Mapping[str, NDArray[np.float64] | CalibrationError]


def _tables(material: Material, scores: Scores, probabilities: Probabilities, sampler: Sampler) -> Iterator[Table]:
    subjects = [line.subject for line in material.predictions]
    model = Contender.of(material.model, material.predictions)
    others = [Contender.of(name, predictions) for name, predictions in material.beside.items()]
    yield coverage_table(material.predictions)
    yield overall_table(subjects, [model, *others], material.trivial, material.predictions, sampler)
    yield generator_table(subjects, model, material.trivial, sampler)
    if material.learnt_generators is not None:
        contenders = [model, *others, *([material.trivial] if material.trivial else [])]
        yield novelty_table(subjects, contenders, material.learnt_generators, sampler)
    yield dataset_table(subjects, model, material.trivial, sampler)
    if material.left_out:
        yield left_out_table(material.left_out, sampler)
    if len(scores):
        yield calibration_table(scores, probabilities, sampler)
        if material.calibration is not None:
            yield operating_table(scores, material.calibration, sampler)
    if material.proposed is not None:
        yield points_table(material.proposed.points)
    if material.perturbed:
        yield robustness_table(material.perturbed, sampler)


def _plots(material: Material, scores: Scores, probabilities: Probabilities, tables: Sequence[Table]) -> Iterator[Plot]:
    if both_classes(scores.labels):
        yield _roc(material)
        yield _reliability(scores, probabilities)
    if len(scores):
        yield Plot(
            key="histograms",
            title="Scores by generator",
            alt="Histograms of the videos' raw logits, real ones and those of each generator.",
            svg=histogram_plot(_by_generator(material.predictions), "raw logit"),
        )
    for table in tables:
        if table.key == "robustness":
            yield Plot(
                key="robustness",
                title="Robustness",
                alt="Video AUC against severity, a line for each perturbation.",
                svg=robustness_plot(table),
            )


def _roc(material: Material) -> Plot:
    subjects = [line.subject for line in material.predictions]
    contenders = [
        Contender.of(material.model, material.predictions),
        *(Contender.of(name, predictions) for name, predictions in material.beside.items()),
        *([material.trivial] if material.trivial else []),
    ]
    curves = {contender.name: contender.scores(subjects) for contender in contenders}
    alt = "ROC curves of " + ", ".join(curves) + "."
    return Plot(key="roc", title="ROC, videos", alt=alt, svg=roc_plot(curves))


def _reliability(scores: Scores, probabilities: Probabilities) -> Plot:
    shown = {
        name: column
        for name, column in probabilities.items()
        if not isinstance(column, CalibrationError) and "SCTL" not in name
    }
    alt = "Share of fakes against mean probability per bin, for " + ", ".join(shown) + "."
    return Plot(key="reliability", title="Reliability", alt=alt, svg=reliability_plot(scores.labels, shown))


def _by_generator(predictions: Sequence[Prediction]) -> dict[str, NDArray[np.float64]]:
    def logits(generator: str | None, label: str) -> NDArray[np.float64]:
        found = [
            line.logit
            for line in predictions
            if line.logit is not None and line.subject.label == label and line.subject.generator == generator
        ]
        return np.asarray(found, np.float64)

    names = generators(line.subject for line in predictions)
    real = [line.logit for line in predictions if line.logit is not None and line.subject.label == "real"]
    unnamed = {"fake, unnamed": logits(None, "fake")}
    return {"real": np.asarray(real, np.float64), **{name: logits(name, "fake") for name in names}, **unnamed}
