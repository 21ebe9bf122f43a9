"""Percentile intervals by resampling identities: videos of one person are not independent of each other."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from styleflow.evaluation.scores import Indices

LEVEL = 0.95
RESAMPLES = 1000
LEAST_SHARE_DEFINED = 0.5
"""Of the resamples. Where a measure is defined on fewer, what remains is no fair picture of its spread."""

Statistic = Callable[[Indices], Mapping[str, float]]
"""Measures of the rows of these indices, by name; NaN where they are not defined."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A number with its interval, or the reason why there is none."""

    value: float | None = None
    """None where the rows do not define the measure."""
    low: float | None = None
    high: float | None = None
    """Bounds of the interval; None where there is no value, and where too few resamples define it."""
    dropped: int = 0
    """Resamples on which the measure was not defined; the interval is over the others."""
    why: str | None = None
    """What is missing, in words."""

    @classmethod
    def missing(cls, why: str) -> Measured:
        """No number, and why."""
        return cls(why=why)


def intervals(
    identities: Sequence[str] | NDArray[np.str_],
    statistic: Statistic,
    *,
    seed: int,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
) -> dict[str, Measured]:
    """Every measure on all rows, with the percentile interval over resamples of whole identities.

    A resample draws as many identities as there are, with replacement. One on which a measure is not defined (a class
    is missing) is dropped for that measure and counted.
    """
    rows = rows_of_identities(identities)
    whole = statistic(np.arange(len(identities)))
    drawn: dict[str, list[float]] = {name: [] for name in whole}
    if len(rows) > 1:
        random = np.random.default_rng(seed)
        for _ in range(resamples):
            chosen = random.integers(0, len(rows), len(rows))
            for name, value in statistic(np.concatenate([rows[number] for number in chosen])).items():
                drawn[name].append(value)
    return {name: _measured(value, np.asarray(drawn[name], np.float64), level) for name, value in whole.items()}


def rows_of_identities(identities: Sequence[str] | NDArray[np.str_]) -> list[Indices]:
    """The rows of each identity, in order of its name."""
    names = np.asarray(identities, np.str_)
    return [np.flatnonzero(names == name) for name in np.unique(names)]


def _measured(value: float, drawn: NDArray[np.float64], level: float) -> Measured:
    if math.isnan(value):
        return Measured.missing("not defined by these videos")
    if not drawn.size:
        return Measured(value=value, why="one identity gives no interval")
    defined = drawn[~np.isnan(drawn)]
    dropped = int(drawn.size - defined.size)
    if defined.size < LEAST_SHARE_DEFINED * drawn.size:
        return Measured(value=value, dropped=dropped, why="too few identities for an interval")
    if defined.min() == defined.max():  # no error among few videos does not mean that there is none among many
        return Measured(value=value, dropped=dropped, why="every resample gives the same, which bounds nothing")
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return Measured(value=value, low=float(low), high=float(high), dropped=dropped)
