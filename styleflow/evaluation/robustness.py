"""The detector on spoiled videos: each is perturbed into a temporary file, judged, and the file deleted."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from styleflow.detection.analyze import AnalysisOptions
from styleflow.detection.engine import Detector
from styleflow.errors import JobError
from styleflow.evaluation.bootstrap import Measured
from styleflow.evaluation.metrics import curve_measures
from styleflow.evaluation.perturbations import (
    PERTURBATIONS,
    REFERENCE,
    SEVERITIES,
    PerturbationName,
    perturb_video,
    perturbation_name,
)
from styleflow.evaluation.predictions import FAILED, Prediction, Subject, predict, video_scores
from styleflow.evaluation.tables import Cell, Sampler, Table, explained


@dataclass(frozen=True, kw_only=True)
class RobustnessWish:
    """Which part of the protocol to run. All of it is 35 times the work of one pass, and a reference."""

    perturbations: tuple[PerturbationName, ...] = PERTURBATIONS
    severities: tuple[int, ...] = (1, 2, 3, 4, 5)
    max_clips: int = 4
    """Clips of 32 frames from the start of each video, for the reference as well."""
    seed: int = 0

    def treatments(self) -> Iterator[tuple[PerturbationName | None, int]]:
        """The reference first."""
        yield None, 1
        for perturbation in self.perturbations:
            for severity in self.severities:
                yield perturbation, severity


def predict_perturbed(
    subject: Subject,
    path: Path,
    detector: Detector,
    wish: RobustnessWish,
    treatment: tuple[PerturbationName | None, int],
    options: AnalysisOptions | None = None,
) -> Prediction:
    """As `predict`, of the perturbed video; one that cannot be perturbed is a failed prediction."""
    perturbation, severity = treatment
    name = perturbation_name(perturbation, severity)
    with tempfile.TemporaryDirectory(prefix="styleflow-perturbed-") as folder:
        target = Path(folder) / "perturbed.mp4"
        try:
            perturb_video(path, target, perturbation, severity, seed=wish.seed, max_clips=wish.max_clips)
        except JobError as error:
            return Prediction(subject=subject, outcome=FAILED, reason=f"{error.code}: {error}", perturbation=name)
        except OSError as error:
            reason = f"unreadable: {error.strerror or type(error).__name__}"
            return Prediction(subject=subject, outcome=FAILED, reason=reason, perturbation=name)
        return predict(subject, target, detector, options, perturbation=name)


def robustness_table(predictions: Sequence[Prediction], sampler: Sampler) -> Table:
    """AUC per perturbation and severity. `predictions` carry the name of what was done to their video."""
    severities = range(1, len(SEVERITIES["blocks"]) + 1)
    rows: list[tuple[Cell, ...]] = [(REFERENCE, _auc(_of(predictions, REFERENCE), sampler), *["-"] * len(severities))]
    done = {line.perturbation for line in predictions}
    run = [name for name in PERTURBATIONS if done & {perturbation_name(name, severity) for severity in severities}]
    for name in run:
        cells = [_auc(_of(predictions, perturbation_name(name, severity)), sampler) for severity in severities]
        rows.append((name, "-", *cells))
    return Table(
        key="robustness",
        title="Robustness",
        note="Video AUC by severity, over the videos still scored. The row none is the same storing"
        " without a perturbation.",
        columns=("perturbation", "reference", *(f"severity {severity}" for severity in severities)),
        rows=tuple(rows),
    )


def _of(predictions: Sequence[Prediction], name: str) -> list[Prediction]:
    return [line for line in predictions if line.perturbation == name]


def _auc(predictions: Sequence[Prediction], sampler: Sampler) -> Measured:
    if not predictions:
        return Measured.missing("not run")
    scores = video_scores(predictions)
    if not len(scores):
        return Measured.missing("no video was scored")
    measured = sampler.measure(scores, lambda rows: curve_measures(scores.labels[rows], scores.values[rows]))
    return explained(measured["auc"], scores)
