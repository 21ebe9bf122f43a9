"""What tables of an evaluation are made of: every number with its interval, and a reason where there is none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from styleflow.evaluation.bootstrap import RESAMPLES, Measured, intervals
from styleflow.evaluation.metrics import both_classes
from styleflow.evaluation.predictions import Prediction
from styleflow.evaluation.scores import Indices, Scores

Cell = Measured | str | int | float


@dataclass(frozen=True, kw_only=True)
class Sampler:
    """How intervals are drawn."""

    seed: int
    resamples: int = RESAMPLES

    def measure(self, scores: Scores, statistic: Callable[[Indices], Mapping[str, float]]) -> dict[str, Measured]:
        """Intervals over the rows' identities."""
        return intervals(scores.identities, statistic, seed=self.seed, resamples=self.resamples)


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows of cells under columns."""

    key: str
    title: str
    note: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]


def counts(scores: Scores) -> tuple[int, int, int]:
    """Reals, fakes, identities."""
    return int((scores.labels == 0).sum()), int((scores.labels == 1).sum()), len(set(scores.identities.tolist()))


def explained(cell: Measured, scores: Scores, name: str = "") -> Measured:
    """The same; one without a number says what is missing, and one that rests on a single person has no interval:
    resampling others around that person would make it look certain."""
    if cell.value is None:
        return _why_undefined(cell, scores, name)
    if name == "paired":
        people = [_people(scores, ~np.isnan(scores.margins))]
    else:
        people = [_people(scores, scores.labels == label) for label in (0, 1) if (scores.labels == label).any()]
    if min(people, default=0) > 1:
        return cell
    return Measured(value=cell.value, dropped=cell.dropped, why="one identity gives no interval")


def _why_undefined(cell: Measured, scores: Scores, name: str) -> Measured:
    if name == "paired":
        return Measured.missing("no fake with its judged original")
    if not both_classes(scores.labels):
        return Measured.missing("no real video" if (scores.labels == 1).any() else "no fake video")
    return cell


def _people(scores: Scores, rows: NDArray[np.bool_]) -> int:
    return len(set(scores.identities[rows].tolist()))


def coverage_table(predictions: Sequence[Prediction]) -> Table:
    """How many videos ended how: what was not scored is in none of the other tables."""
    ends = Counter(
        (line.outcome, "" if line.scored else _short(line.reason), line.subject.label) for line in predictions
    )
    kinds = sorted({(outcome, reason) for outcome, reason, _ in ends})
    rows = tuple((o, r or "-", ends[o, r, "real"], ends[o, r, "fake"]) for o, r in kinds)
    return Table(
        key="coverage",
        title="What could be judged",
        note="Only scored videos count in the other tables.",
        columns=("outcome", "reason", "real", "fake"),
        rows=rows,
    )


def _short(reason: str | None) -> str:
    """An error's code without its message."""
    return (reason or "").partition(":")[0]
