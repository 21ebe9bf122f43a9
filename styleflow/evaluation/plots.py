"""Plots as SVG text: Matplotlib's Figure objects, without its global state."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from numpy.typing import NDArray
from sklearn.metrics import roc_curve

from styleflow.evaluation.metrics import both_classes, equal_mass_bins
from styleflow.evaluation.scores import Scores
from styleflow.evaluation.tables import Table

Floats = NDArray[np.float64]

COLOURS = ("#0b6e99", "#d1495b", "#edae49", "#5f7367", "#7d5ba6", "#8d5524", "#2f2f2f")
"""Told apart in grey and by most colour-blind readers."""
_STYLE: Any = {"font.size": 10, "axes.spines.top": False, "axes.spines.right": False, "svg.hashsalt": "styleflow"}


def roc_plot(contenders: Mapping[str, Scores]) -> str:
    """One ROC curve each; those with one class only are left out."""
    figure, axes = _square("share of reals called fake", "share of fakes called fake")
    for colour, (name, scores) in zip(_colours(len(contenders)), contenders.items(), strict=True):
        if both_classes(scores.labels):
            false, true, _ = roc_curve(scores.labels, scores.values, drop_intermediate=False)
            axes.plot(false, true, color=colour, label=name, linewidth=2)
    _diagonal(axes)
    return _svg(figure, axes)


def reliability_plot(labels: NDArray[np.int64], probabilities: Mapping[str, Floats]) -> str:
    """Share of fakes against mean probability, per bin of equal mass."""
    figure, axes = _square("mean probability of a bin", "share of fakes in it")
    for colour, (name, column) in zip(_colours(len(probabilities)), probabilities.items(), strict=True):
        bins = equal_mass_bins(column)
        points = [(column[part].mean(), labels[part].mean()) for part in bins]
        axes.plot(*zip(*points, strict=True), color=colour, label=name, marker="o", linewidth=1.5, markersize=4)
    _diagonal(axes)
    return _svg(figure, axes)


def histogram_plot(groups: Mapping[str, Floats], label: str) -> str:
    """One row of bars per group on a common scale, so that small groups stay visible."""
    named = {name: values for name, values in groups.items() if values.size}
    figure = Figure(figsize=(6.4, 0.6 + 0.9 * max(1, len(named))), layout="constrained")
    if not named:
        return _svg(figure, None)
    everything = np.concatenate(list(named.values()))
    edges = np.linspace(everything.min() - 1e-6, everything.max() + 1e-6, 31)
    with mpl.rc_context(_STYLE):
        rows = figure.subplots(len(named), 1, sharex=True, squeeze=False)[:, 0]
        for number, (axes, (name, values)) in enumerate(zip(rows, named.items(), strict=True)):
            axes.hist(values, edges, color=COLOURS[0 if number == 0 else 1], alpha=0.85)
            axes.set_ylabel(f"{name}\n({values.size})", rotation=0, ha="right", va="center")
            axes.set_yticks([])
        rows[-1].set_xlabel(label)
    return _svg(figure, None)


def robustness_plot(table: Table) -> str:
    """AUC against severity, one line a perturbation; severity 0 is the reference."""
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(6.4, 4.2), layout="constrained")
        axes = figure.subplots()
    reference = getattr(table.rows[0][1], "value", None)
    for colour, (name, _, *cells) in zip(_colours(len(table.rows) - 1), table.rows[1:], strict=True):
        values = [reference, *(getattr(cell, "value", None) for cell in cells)]
        known = [(severity, value) for severity, value in enumerate(values) if value is not None]
        if len(known) > 1:
            axes.plot(*zip(*known, strict=True), color=colour, label=str(name), marker="o", markersize=4)
    axes.axhline(0.5, color="#999999", linestyle="--", linewidth=1)
    axes.set_xlabel("severity")
    axes.set_xticks(range(6))
    axes.set_ylabel("video AUC")
    return _svg(figure, axes)


def _square(across: str, up: str) -> tuple[Figure, Axes]:
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(4.8, 4.8), layout="constrained")
        axes = figure.subplots()
        axes.set_xlabel(across)
        axes.set_ylabel(up)
        axes.set_xlim(-0.01, 1.01)
        axes.set_ylim(-0.01, 1.01)
        axes.set_aspect("equal")
    return figure, axes


def _diagonal(axes: Axes) -> None:
    axes.plot([0, 1], [0, 1], color="#999999", linestyle="--", linewidth=1)


def _colours(count: int) -> Sequence[str]:
    return [COLOURS[number % len(COLOURS)] for number in range(count)]


def _svg(figure: Figure, axes: Axes | None) -> str:
    if axes is not None and axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, fontsize=8.5, loc="best")
    with mpl.rc_context(_STYLE):
        text = io.StringIO()
        canvas: Any = FigureCanvasSVG(figure)
        canvas.print_svg(text, metadata={"Date": None})  # the same numbers, the same bytes
    return text.getvalue()
