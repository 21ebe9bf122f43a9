"""From held-out probabilities to the thresholds of the words, and to the band where the detector does not know.

A threshold is where at most a stated share of held-out *real* videos lies at or above it. A rate that so few people
cannot support (less than one of them) gives the threshold 1, so that the word is practically never said: data that
is not there must not become an accusation. The band of abstention ends where `weak` begins, and begins where more
than a stated share of held-out *fakes* would be cleared.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta

from styleflow.evaluation.calibration import (
    UNSCALED,
    CalibrationError,
    ScalingWish,
    cross_fitted,
    fit_scaling,
)
from styleflow.evaluation.scores import Scores
from styleflow.packs import Calibration
from styleflow.report import Thresholds

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Rates:
    """What may go wrong on held-out videos, as shares in 0..1."""

    weak: float
    """Of real videos that may be called `weak` or worse."""
    suspicious: float
    strong: float
    cleared_fakes: float
    """Of fakes that may be called `no_evidence`."""

    def __post_init__(self) -> None:
        if not 0 <= self.strong <= self.suspicious <= self.weak <= 1 or not 0 <= self.cleared_fakes <= 1:
            raise ValueError("rates lie within 0..1, and fall from weak over suspicious to strong")


@dataclass(frozen=True, kw_only=True)
class OperatingPoint:
    """What one threshold does on the held-out videos."""

    word: str
    """`weak`, `suspicious`, `strong`, or `no_evidence` (which is given below its threshold)."""
    allowed: float
    """The rate that was asked for."""
    threshold: float
    supported: bool
    """Whether there are enough identities for the rate; if not, the word is practically never given."""
    wrong: int
    """Real videos at or above the threshold; for `no_evidence`, fakes below it."""
    wrong_of: int
    right: int
    """Fakes at or above the threshold; for `no_evidence`, reals below it."""
    right_of: int

    @property
    def wrong_bounds(self) -> tuple[float, float]:
        """Exact 95 % bounds of the share that is wrong, as if videos were independent (Clopper and Pearson, 1934)."""
        return exact_bounds(self.wrong, self.wrong_of)


@dataclass(frozen=True, kw_only=True)
class FittedCalibration:
    """A calibration for a pack's card, and what stands behind it."""

    calibration: Calibration
    abstain: tuple[float, float] | None
    """Probabilities from the first to below the second: the detector does not know. None where no band is needed."""
    points: tuple[OperatingPoint, ...]
    cross_fitted_probabilities: Floats
    """(N,), of the held-out videos, each by a fit on other identities: for honest figures after calibration."""
    probabilities_before: Floats
    """(N,), the logits taken at their word."""


def calibrate(
    held_out: Scores, *, wish: ScalingWish, rates: Rates, measured_on: str, policy: str, folds: int = 5, seed: int = 0
) -> FittedCalibration:
    """Fit on all held-out videos (values are pooled raw logits) and choose thresholds from their probabilities.

    `measured_on` names the set, for the card. Raises CalibrationError where the scores say nothing.
    """
    scaling = fit_scaling(held_out.labels, held_out.values, wish)
    probabilities = scaling.probabilities(held_out.values)
    points = choose_points(held_out, probabilities, rates)
    steps = {point.word: point.threshold for point in points}
    words = {word: steps[word] for word in ("weak", "suspicious", "strong")}
    calibration = Calibration(
        method=wish.method,
        slope=scaling.slope,
        intercept=scaling.intercept,
        thresholds=Thresholds(policy=policy, **words),
        measured_on=measured_on,
    )
    return FittedCalibration(
        calibration=calibration,
        abstain=(steps["no_evidence"], steps["weak"]) if steps["no_evidence"] < steps["weak"] else None,
        points=points,
        cross_fitted_probabilities=cross_fitted(held_out, wish, folds=folds, seed=seed),
        probabilities_before=UNSCALED.probabilities(held_out.values),
    )


def choose_points(held_out: Scores, probabilities: Floats, rates: Rates) -> tuple[OperatingPoint, ...]:
    """`no_evidence`, `weak`, `suspicious`, `strong`: their thresholds rise in the last three."""
    fake = held_out.labels == 1
    real_p, fake_p = probabilities[~fake], probabilities[fake]
    if not real_p.size or not fake_p.size:
        raise CalibrationError("Operating points need held-out videos of both classes.")
    real_people = len(set(held_out.identities[~fake].tolist()))
    fake_people = len(set(held_out.identities[fake].tolist()))
    points = [_clearing(real_p, fake_p, rates.cleared_fakes, fake_people)]
    for word, rate in (("weak", rates.weak), ("suspicious", rates.suspicious), ("strong", rates.strong)):
        supported = rate * real_people >= 1
        threshold = threshold_for(real_p, rate) if supported else 1.0
        points.append(
            OperatingPoint(
                word=word,
                allowed=rate,
                threshold=threshold,
                supported=supported,
                wrong=int((real_p >= threshold).sum()),
                wrong_of=real_p.size,
                right=int((fake_p >= threshold).sum()),
                right_of=fake_p.size,
            )
        )
    return tuple(points)


def threshold_for(reals: Floats, rate: float) -> float:
    """Halfway into the gap above which at most `rate` of these probabilities lie."""
    falling = np.sort(reals)[::-1]
    allowed = math.floor(rate * falling.size + 1e-9)
    if allowed >= falling.size:
        return 0.0
    highest_refused = falling[allowed]
    above = falling[:allowed][falling[:allowed] > highest_refused]
    upper = float(above.min()) if above.size else 1.0
    # between two neighbouring floats there is no halfway: take the upper one
    return max((float(highest_refused) + upper) / 2, float(np.nextafter(highest_refused, 2)))


def exact_bounds(hits: int, of: int, level: float = 0.95) -> tuple[float, float]:
    """Bounds of a share of which `hits` in `of` were seen."""
    tail = (1 - level) / 2
    low = float(beta.ppf(tail, hits, of - hits + 1)) if hits else 0.0
    high = float(beta.ppf(1 - tail, hits + 1, of - hits)) if hits < of else 1.0
    return low, high


def _clearing(reals: Floats, fakes: Floats, rate: float, fake_people: int) -> OperatingPoint:
    """The mirror image: below the threshold lie at most `rate` of the fakes."""
    supported = rate * fake_people >= 1
    threshold = 1 - threshold_for(1 - fakes, rate) if supported else 0.0
    return OperatingPoint(
        word="no_evidence",
        allowed=rate,
        threshold=threshold,
        supported=supported,
        wrong=int((fakes < threshold).sum()),
        wrong_of=fakes.size,
        right=int((reals < threshold).sum()),
        right_of=reals.size,
    )
