"""Measures of detection and of calibration. Pure; NaN stands for a measure that the rows do not define.

Labels are 1 for a fake; scores are higher for fakes. Scores may be any finite numbers for the measures of
discrimination, and are probabilities in 0..1 for those of calibration.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from sklearn import config_context
from sklearn.metrics import auc, average_precision_score, roc_curve

from styleflow.evaluation.scores import Scores

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]

FALSE_POSITIVE_RATES = (0.001, 0.01, 0.05)
"""At which the true positive rate is told."""
ECE_BINS = 10
"""Bins of equal mass; fewer where there are fewer rows."""
NAN = float("nan")


def tpr_name(rate: float) -> str:
    """How the measure is called: `tpr@1%`."""
    return f"tpr@{100 * rate:g}%"


DISCRIMINATION = ("auc", "ap", "eer", *map(tpr_name, FALSE_POSITIVE_RATES), "paired")
CALIBRATION = ("brier", "ece", "ece_real", "ece_fake")


def discrimination(scores: Scores) -> dict[str, float]:
    """All measures of DISCRIMINATION; all but `paired` are NaN where a class is missing."""
    return {**curve_measures(scores.labels, scores.values), "paired": paired_accuracy(scores.margins)}


def curve_measures(labels: Labels, scores: Floats) -> dict[str, float]:
    """ROC AUC, average precision, equal error rate, and the true positive rate at each of FALSE_POSITIVE_RATES."""
    if not both_classes(labels):
        return {name: NAN for name in DISCRIMINATION if name != "paired"}
    # rows are checked where Scores is made; checking again at every resample costs more than the measures
    with config_context(assume_finite=True, skip_parameter_validation=True):
        false, true, _ = roc_curve(labels, scores, drop_intermediate=False)
        area, precision = float(auc(false, true)), float(average_precision_score(labels, scores))
    rates = {tpr_name(rate): true_positive_rate(false, true, rate) for rate in FALSE_POSITIVE_RATES}
    return {"auc": area, "ap": precision, "eer": equal_error_rate(false, true), **rates}


def both_classes(labels: Labels) -> bool:
    """Whether there is a real and a fake."""
    return bool(labels.size) and bool(labels.min() == 0) and bool(labels.max() == 1)


def equal_error_rate(false: Floats, true: Floats) -> float:
    """Where the curve, drawn with straight lines, has as many false alarms as misses. Inputs as `roc_curve` gives."""
    surplus = false - (1 - true)
    after = int(np.argmax(surplus >= 0))
    if after == 0:
        return float(false[0])
    before = after - 1
    share = -surplus[before] / (surplus[after] - surplus[before])
    return float(false[before] + share * (false[after] - false[before]))


def true_positive_rate(false: Floats, true: Floats, rate: float) -> float:
    """The most fakes that a threshold finds with at most so many false alarms; nothing is interpolated."""
    return float(true[false <= rate].max())


def paired_accuracy(margins: Floats) -> float:
    """Share of fakes that score above their own original; a tie counts half. NaN rows have no original."""
    known = margins[~np.isnan(margins)]
    return float(np.mean((known > 0) + 0.5 * (known == 0))) if known.size else NAN


def accuracy(labels: Labels, scores: Floats, threshold: float) -> float:
    """Share of rows on the right side; a score at the threshold counts as fake."""
    return float(np.mean((scores >= threshold) == (labels == 1))) if labels.size else NAN


# --- calibration ----------------------------------------------------------------------------------


def calibration_quality(labels: Labels, probabilities: Floats) -> Mapping[str, float]:
    """All measures of CALIBRATION. `ece_fake` is over the rows called fake (probability at least a half), `ece_real`
    over the others: how far the confidence in each answer is from how often it is right."""
    called = probabilities >= 0.5
    return {
        "brier": brier(labels, probabilities),
        "ece": expected_calibration_error(labels, probabilities),
        "ece_real": expected_calibration_error(labels[~called], probabilities[~called]),
        "ece_fake": expected_calibration_error(labels[called], probabilities[called]),
    }


def brier(labels: Labels, probabilities: Floats) -> float:
    """Mean squared distance of the probability from 0 or 1: 0 is perfect, always saying a half gives 0.25."""
    return float(np.mean((probabilities - labels) ** 2)) if labels.size else NAN


def expected_calibration_error(labels: Labels, probabilities: Floats, bins: int = ECE_BINS) -> float:
    """Mean over rows of |mean probability - share of fakes| of the row's bin; bins hold equally many rows."""
    parts = equal_mass_bins(probabilities, bins)
    gaps = [len(part) * abs(float(probabilities[part].mean() - labels[part].mean())) for part in parts]
    return sum(gaps) / len(labels) if parts else NAN


def equal_mass_bins(probabilities: Floats, bins: int = ECE_BINS) -> list[NDArray[np.intp]]:
    """Rows in order of probability, cut into at most so many parts of nearly equal size; none is empty."""
    order = np.argsort(probabilities, kind="stable")
    return [part for part in np.array_split(order, bins) if part.size]
