"""From raw logits to probabilities: temperature or Platt scaling, fitted on videos that were not trained on.

Both minimise the cross-entropy of sigmoid(slope * logit + intercept); temperature scaling has no intercept. Targets
are Platt's, (n + 1) / (n + 2) instead of 1 and 1 / (n + 2) instead of 0, so that classes that are apart do not drive
the slope to infinity (Platt, Probabilistic outputs for support vector machines, 1999).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq, minimize
from scipy.special import expit, log_expit

from styleflow.evaluation.bootstrap import rows_of_identities
from styleflow.evaluation.metrics import both_classes
from styleflow.evaluation.scores import EvaluationError, Scores

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]

LEAST_SLOPE_PER_SPREAD = 1e-6
"""Slope times the logits' standard deviation; what is below is zero up to rounding."""


class CalibrationError(EvaluationError):
    """The held-out scores cannot be turned into probabilities."""

    code = "calibration"


@dataclass(frozen=True, kw_only=True)
class Synchronisation:
    """Class-wise loss synchronisation: the class whose mean loss is higher weighs more, the other less.

    Scaling of class-wise training losses for post-hoc calibration (Jung et al., ICML 2023), with its first values of
    alpha and beta and its normalisation by mean and deviation. For two classes the normalised losses are always plus
    and minus 1/sqrt(2), so the weights are 1 + pull and 1 - pull. Where neither order of the losses is stable under
    these weights, the fixed point lies where both losses are equal, and is solved for.
    """

    alpha: float = 1.0
    beta: float = 1.5

    @property
    def pull(self) -> float:
        """How far the weights may go from 1."""
        return self.beta / (1 + math.exp(-math.sqrt(0.5) / self.alpha)) - self.beta / 2


@dataclass(frozen=True, kw_only=True)
class ScalingWish:
    """How to fit."""

    method: Literal["temperature", "platt"] = "platt"
    synchronisation: Synchronisation | None = None
    fake_share: float | None = None
    """The share of fakes, 0..1, that probabilities shall assume; None takes that of the held-out videos."""

    def __post_init__(self) -> None:
        if self.fake_share is not None and not 0 < self.fake_share < 1:
            raise ValueError("the share of fakes lies between 0 and 1")

    @property
    def name(self) -> str:
        """As tables call it."""
        return self.method + (" + SCTL" if self.synchronisation else "")


@dataclass(frozen=True, kw_only=True)
class Scaling:
    """sigmoid(slope * logit + intercept)."""

    slope: float
    intercept: float = 0.0

    def probabilities(self, logits: Floats) -> Floats:
        """0..1, of the same shape."""
        return np.asarray(expit(self.slope * logits + self.intercept), np.float64)


UNSCALED = Scaling(slope=1.0)
"""The logit taken at its word."""


def fit_scaling(labels: Labels, logits: Floats, wish: ScalingWish) -> Scaling:
    """Raises CalibrationError where a class is missing, or where higher logits do not mean more fakes."""
    if not both_classes(labels):
        raise CalibrationError("Calibration needs held-out videos of both classes.")
    spread = float(np.std(logits))
    if spread == 0:
        raise CalibrationError("All held-out videos have the same score: it says nothing.")
    problem = _Problem(labels, logits / spread, wish)
    slope, intercept = problem.solved()
    if not slope > LEAST_SLOPE_PER_SPREAD:
        raise CalibrationError(
            "On the held-out videos a higher score does not mean more fakes: the score says nothing, and no slope"
            " above 0 describes it."
        )
    return Scaling(slope=slope / spread, intercept=intercept)


def cross_fitted(scores: Scores, wish: ScalingWish, *, folds: int, seed: int) -> Floats:
    """Probabilities, (N,), each by a fit on the videos of other identities. Raises CalibrationError as `fit_scaling`
    does, for any of the folds."""
    probabilities = np.empty(len(scores))
    for held in identity_folds(scores.identities, folds, seed):
        rest = np.setdiff1d(np.arange(len(scores)), held)
        fitted = fit_scaling(scores.labels[rest], scores.values[rest], wish)
        probabilities[held] = fitted.probabilities(scores.values[held])
    return probabilities


def identity_folds(identities: Sequence[str] | NDArray[np.str_], folds: int, seed: int) -> list[NDArray[np.intp]]:
    """Rows in at most so many parts, each identity whole in one of them, dealt out in a drawn order."""
    rows = rows_of_identities(identities)
    order = np.random.default_rng(seed).permutation(len(rows))
    hands = [order[first::folds] for first in range(min(folds, len(rows)))]
    return [np.sort(np.concatenate([rows[number] for number in hand])) for hand in hands]


class _Problem:
    """Slope and intercept of least loss. The losses are convex, so what the solver finds is the minimum."""

    def __init__(self, labels: Labels, logits: Floats, wish: ScalingWish) -> None:
        self._logits, self._wish = logits, wish
        self._classes = [labels == 0, labels == 1]
        real, fake = (int(members.sum()) for members in self._classes)
        self._targets = np.where(labels == 1, (fake + 1) / (fake + 2), 1 / (real + 2))
        share = wish.fake_share if wish.fake_share is not None else fake / (real + fake)
        self._shares = (1 - share, share)

    def solved(self) -> tuple[float, float]:
        synchronisation = self._wish.synchronisation
        if synchronisation is None:
            return self._fit(0.0)
        low, high = -synchronisation.pull, synchronisation.pull
        if self._excess_of_real(high) >= 0:
            return self._fit(high)
        if self._excess_of_real(low) <= 0:
            return self._fit(low)
        return self._fit(float(cast("Any", brentq)(self._excess_of_real, low, high, xtol=1e-6)))

    def _excess_of_real(self, pull: float) -> float:
        """Mean loss of the reals less that of the fakes, once fitted under this pull; falls as it grows."""
        real, fake = self._class_losses(self._fit(pull))
        return real - fake

    def _fit(self, pull: float) -> tuple[float, float]:
        """`pull` is what the reals' weight gains and the fakes' loses."""
        weights = (self._shares[0] * (1 + pull), self._shares[1] * (1 - pull))
        members = np.select(self._classes, [weights[k] / self._classes[k].sum() for k in (0, 1)])
        scaled = self._wish.method == "platt"

        def loss(point: Floats) -> tuple[float, Floats]:
            value = self._values(point)
            residual = members * (expit(value) - self._targets)
            gradient = [float(residual @ self._logits), float(residual.sum()) if scaled else 0.0]
            return float(members @ self._losses(value)), np.asarray(gradient)

        found = minimize(loss, np.zeros(2), jac=True, method="BFGS", options={"gtol": 1e-9})
        return float(found.x[0]), float(found.x[1])

    def _values(self, point: Sequence[float] | Floats) -> Floats:
        return np.asarray(point[0] * self._logits + point[1], np.float64)

    def _losses(self, values: Floats) -> Floats:
        cross_entropy = -self._targets * log_expit(values) - (1 - self._targets) * log_expit(-values)
        return np.asarray(cross_entropy, np.float64)

    def _class_losses(self, point: tuple[float, float]) -> tuple[float, float]:
        losses = self._losses(self._values(point))
        return float(losses[self._classes[0]].mean()), float(losses[self._classes[1]].mean())
