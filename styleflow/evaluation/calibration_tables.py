"""Whether probabilities can be believed, before and after calibration, and what a pack's thresholds do."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from styleflow.evaluation.bootstrap import Measured
from styleflow.evaluation.calibration import (
    UNSCALED,
    CalibrationError,
    Scaling,
    ScalingWish,
    Synchronisation,
    cross_fitted,
)
from styleflow.evaluation.metrics import CALIBRATION, accuracy, calibration_quality
from styleflow.evaluation.operating_points import OperatingPoint
from styleflow.evaluation.scores import Indices, Scores
from styleflow.evaluation.tables import Cell, Sampler, Table, explained
from styleflow.packs import Calibration

Floats = NDArray[np.float64]
FOLDS = 5
FITS = tuple(
    ScalingWish(method=method, synchronisation=synchronisation)
    for method in ("temperature", "platt")
    for synchronisation in (None, Synchronisation())
)


def calibrated_probabilities(
    scores: Scores, calibration: Calibration | None, seed: int
) -> dict[str, Floats | CalibrationError]:
    """Before and after, by name; a fit that is impossible stands there as its error."""
    found: dict[str, Floats | CalibrationError] = {"logit as it is": UNSCALED.probabilities(scores.values)}
    if calibration is not None:
        scaling = Scaling(slope=calibration.slope, intercept=calibration.intercept)
        found["the pack's calibration"] = scaling.probabilities(scores.values)
    for wish in FITS:
        try:
            found[f"{wish.name}, cross-fitted"] = cross_fitted(scores, wish, folds=FOLDS, seed=seed)
        except CalibrationError as error:
            found[f"{wish.name}, cross-fitted"] = error
    return found


def calibration_table(
    scores: Scores, probabilities: Mapping[str, Floats | CalibrationError], sampler: Sampler
) -> Table:
    """Brier score and calibration errors of each way to a probability."""
    rows: list[tuple[Cell, ...]] = []
    for name, column in probabilities.items():
        if isinstance(column, CalibrationError):
            rows.append((name, *(Measured.missing(str(column)) for _ in CALIBRATION)))
            continue
        measured = sampler.measure(scores, _quality_of(scores, column))
        rows.append((name, *(measured[measure] for measure in CALIBRATION)))
    return Table(
        key="calibration",
        title="Calibration",
        note="Cross-fitted: each video by a fit on other identities. ECE over ten bins of equal mass; ece_fake over"
        " videos called fake, ece_real over the others. With few videos the ECE is above 0 even for a perfect one.",
        columns=("probability", *CALIBRATION),
        rows=tuple(rows),
    )


def _quality_of(scores: Scores, column: Floats) -> Callable[[Indices], Mapping[str, float]]:
    return lambda rows: calibration_quality(scores.labels[rows], column[rows])


def operating_table(scores: Scores, calibration: Calibration, sampler: Sampler) -> Table:
    """What the pack's own thresholds and its band of abstention do on these videos."""
    scaling = Scaling(slope=calibration.slope, intercept=calibration.intercept)
    probabilities = scaling.probabilities(scores.values)
    rows: list[tuple[Cell, ...]] = []
    if calibration.abstain is not None:
        low, high = calibration.abstain
        within = (probabilities >= low) & (probabilities < high)
        shares = sampler.measure(scores, _shares(scores, within))
        rows.append(("abstains", f"{low:.4g} to {high:.4g}", *_explained(shares, scores), "-"))
    for word in ("weak", "suspicious", "strong"):
        threshold = float(getattr(calibration.thresholds, word))
        measured = sampler.measure(scores, _shares_at(scores, probabilities, threshold))
        rows.append((word, f"{threshold:.4g}", *_explained(measured, scores)))
    return Table(
        key="operating_points",
        title="Operating points of the pack",
        note="Shares of real and of fake videos at or above each of the pack's thresholds, and of all videos on the"
        " right side of it. Where the pack abstains, the shares within its band: those are inconclusive.",
        columns=("word", "probability", "of reals", "of fakes", "accuracy"),
        rows=tuple(rows),
    )


def _explained(measured: Mapping[str, Measured], scores: Scores) -> list[Measured]:
    return [explained(cell, scores) for cell in measured.values()]


def _shares_at(scores: Scores, probabilities: Floats, threshold: float) -> Callable[[Indices], Mapping[str, float]]:
    """With the accuracy beside the shares."""
    shares = _shares(scores, probabilities >= threshold)
    return lambda rows: {
        **shares(rows),
        "accuracy": accuracy(scores.labels[rows], probabilities[rows], threshold),
    }


def _shares(scores: Scores, chosen: NDArray[np.bool_]) -> Callable[[Indices], Mapping[str, float]]:
    """Of the reals and of the fakes; NaN for a class that is missing."""

    def shares(rows: Indices) -> Mapping[str, float]:
        labels, among = scores.labels[rows], chosen[rows]
        real, fake = (float(among[labels == k].mean()) if (labels == k).any() else float("nan") for k in (0, 1))
        return {"real": real, "fake": fake}

    return shares


def points_table(points: Sequence[OperatingPoint]) -> Table:
    """The thresholds that a new calibration would bring, and what they do on the videos that chose them."""
    rows: list[tuple[Cell, ...]] = []
    for point in points:
        low, high = point.wrong_bounds
        share = Measured(value=point.wrong / point.wrong_of, low=low, high=high)
        wrong, right = f"{point.wrong} of {point.wrong_of}", f"{point.right} of {point.right_of}"
        supported = "yes" if point.supported else "no: too few identities"
        rows.append((point.word, supported, point.allowed, round(point.threshold, 4), share, wrong, right))
    return Table(
        key="proposed_points",
        title="Proposed operating points",
        note="Chosen on these same videos, so what they do is told too well. The word no_evidence is given below its"
        " threshold, and wrong where the video is fake; the other words from theirs on, and wrong where it is real."
        " Bounds of the share that is wrong are exact ones for independent videos.",
        columns=("word", "supported", "rate allowed", "threshold", "share wrong", "wrong", "right"),
        rows=tuple(rows),
    )
