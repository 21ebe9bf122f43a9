"""What metrics are computed from: columns about videos (or frames), one row each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from styleflow.errors import StyleFlowError

Indices = NDArray[np.intp]


class EvaluationError(StyleFlowError):
    """Something cannot be evaluated as asked."""

    code = "evaluation"


@dataclass(frozen=True, eq=False)
class Scores:
    """Columns of one length. `take` makes a resample or a group of them."""

    labels: NDArray[np.int64]
    """(N,), 1 for a fake, 0 for a real."""
    values: NDArray[np.float64]
    """(N,), finite, higher for fake: raw logits or probabilities."""
    identities: NDArray[np.str_]
    """(N,), the person or source video: what resampling draws."""
    margins: NDArray[np.float64]
    """(N,), a fake's value less that of its own original; NaN for a real, and for a fake without a judged original."""

    def __post_init__(self) -> None:
        lengths = {len(column) for column in vars(self).values()}
        if len(lengths) > 1:
            raise ValueError(f"columns differ in length: {sorted(lengths)}")
        if not np.isfinite(self.values).all():
            raise ValueError("a score must be a finite number")

    def __len__(self) -> int:
        return len(self.labels)

    @classmethod
    def of(
        cls,
        labels: Sequence[int],
        values: Sequence[float],
        identities: Sequence[str],
        *,
        names: Sequence[str] = (),
        originals: Mapping[str, str] | None = None,
    ) -> Self:
        """Columns from sequences. `originals` maps a fake's name to that of the real video that it was made of."""
        by_name = dict(zip(names, values, strict=True)) if names else {}
        partners = [by_name.get((originals or {}).get(name, ""), np.nan) for name in names] or [np.nan] * len(values)
        scores = np.asarray(values, np.float64)
        fake = np.asarray(labels, np.int64)
        margins = np.where(fake == 1, scores - np.asarray(partners, np.float64), np.nan)
        return cls(fake, scores, np.asarray(identities, np.str_), margins)

    def take(self, indices: Indices) -> Self:
        """Those rows, in that order; a row may be named several times."""
        return type(self)(self.labels[indices], self.values[indices], self.identities[indices], self.margins[indices])

    @property
    def reals(self) -> NDArray[np.float64]:
        """Values of the real rows."""
        return np.asarray(self.values[self.labels == 0], np.float64)

    @property
    def fakes(self) -> NDArray[np.float64]:
        """Values of the fake rows."""
        return np.asarray(self.values[self.labels == 1], np.float64)
