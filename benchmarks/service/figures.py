"""Latencies and rates as figures beside their aims."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from rich.table import Table


def quantile(values: Sequence[float], share: float) -> float:
    """The value that `share` (0..1) of the sorted values do not exceed: the nearest rank, never interpolated."""
    ordered = sorted(values)
    rank = max(1, -(-len(ordered) * share // 1))
    return ordered[min(len(ordered), int(rank)) - 1]


@dataclass(frozen=True)
class Figure:
    """One measured number. `aim` is what it is held against; None where there is no aim."""

    name: str
    value: float
    unit: str
    aim: float | None = None
    at_least: bool = False
    """Whether the aim is a floor; else it is a ceiling."""

    @property
    def met(self) -> bool | None:
        if self.aim is None:
            return None
        return self.value >= self.aim if self.at_least else self.value <= self.aim


@dataclass
class Findings:
    """All figures of one run, in the order in which they were measured."""

    figures: list[Figure] = field(default_factory=list)

    def add(
        self, name: str, value: float, unit: str, *, ceiling: float | None = None, floor: float | None = None
    ) -> None:
        aim = floor if floor is not None else ceiling
        self.figures.append(Figure(name, value, unit, aim, at_least=floor is not None))

    def latencies(self, name: str, milliseconds: Sequence[float], *, p99: float | None = None) -> None:
        """Median and 99th percentile; `p99` is the ceiling of the latter."""
        self.add(f"{name}, p50", statistics.median(milliseconds), "ms")
        self.add(f"{name}, p99 of {len(milliseconds):,}", quantile(milliseconds, 0.99), "ms", ceiling=p99)

    def as_json(self) -> list[dict[str, Any]]:
        return [{**asdict(figure), "met": figure.met} for figure in self.figures]

    def as_table(self, title: str) -> Table:
        table = Table("what", "figure", "aim", "met", title=title)
        for figure in self.figures:
            sign = "≥" if figure.at_least else "≤"
            aim = "" if figure.aim is None else f"{sign} {figure.aim:,.0f} {figure.unit}"
            met = {None: "", True: "yes", False: "no"}[figure.met]
            table.add_row(figure.name, f"{figure.value:,.1f} {figure.unit}", aim, met)
        return table
