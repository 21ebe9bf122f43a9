"""One evaluation as JSON and as one self-contained HTML page, with everything needed to repeat it."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from styleflow.evaluation.bootstrap import Measured
from styleflow.evaluation.tables import Cell, Table

REPORT_VERSION = "1"
TEMPLATE = "report.html.j2"


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """What was measured, on what, by what."""

    manifest: str
    """Its file name."""
    manifest_sha256: str
    split: str
    model: str
    weights_sha256: str
    scoring_sha256: str | None
    """Of what else in the pack's card decides a score, its calibration included."""
    calibration: str | None
    code_version: str
    seed: int
    resamples: int
    command: str
    created: str
    """ISO 8601, UTC."""
    device: str
    precision: str
    pooling: str
    sampling: str
    trivial_baseline: str
    """What it was trained on, in words."""
    libraries: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Unscored:
    """A video that is in no table of measures."""

    path: str
    line: int
    """Of the manifest, its head being line 1."""
    outcome: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Plot:
    """A picture and what it shows."""

    key: str
    title: str
    alt: str
    svg: str


@dataclass(frozen=True, kw_only=True)
class EvaluationReport:
    """The whole evaluation."""

    provenance: Provenance
    tables: tuple[Table, ...]
    unscored: tuple[Unscored, ...]
    plots: tuple[Plot, ...] = ()

    def table(self, key: str) -> Table:
        """Raises KeyError for a table that was not made."""
        found = {table.key: table for table in self.tables}
        return found[key]


def report_to_json(report: EvaluationReport) -> dict[str, Any]:
    """JSON values without the plots; a cell with an interval is an object, with None for what is not defined."""
    return {
        "report_version": REPORT_VERSION,
        "provenance": asdict(report.provenance),
        "tables": {table.key: _table_to_json(table) for table in report.tables},
        "unscored": [asdict(video) for video in report.unscored],
    }


def write_report(report: EvaluationReport, folder: Path) -> tuple[Path, Path]:
    """Writes `evaluation.json` and `evaluation.html`; the same report gives the same bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    plain, page = folder / "evaluation.json", folder / "evaluation.html"
    plain.write_text(json.dumps(report_to_json(report), indent=2, allow_nan=False) + "\n", encoding="utf-8")
    page.write_text(report_to_html(report), encoding="utf-8")
    return plain, page


def report_to_html(report: EvaluationReport) -> str:
    """One page without anything from elsewhere; all text is escaped."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        number=number, interval=interval, why=why, footnotes=footnotes, numeric_column=numeric_column, data_uri=data_uri
    )
    return environment.get_template(TEMPLATE).render(report=report, provenance=asdict(report.provenance))


def number(cell: Cell) -> str:
    """As a reader wants it; `-` where there is none."""
    if isinstance(cell, Measured):
        return "-" if cell.value is None else f"{cell.value:.3f}"
    return f"{cell:.4g}" if isinstance(cell, float) else str(cell)


def interval(cell: Cell) -> str:
    """The bounds, or nothing."""
    if not isinstance(cell, Measured) or cell.low is None or cell.high is None:
        return ""
    return f"{cell.low:.3f} to {cell.high:.3f}"


def footnotes(table: Table) -> dict[str, str]:
    """Everything that is missing about the table's cells, each said once, with a letter for the cells."""
    said = dict.fromkeys(reason for row in table.rows for cell in row if (reason := why(cell)))
    return {reason: _letter(place) for place, reason in enumerate(said)}


def why(cell: Cell) -> str:
    """What is missing about a cell."""
    if not isinstance(cell, Measured):
        return ""
    dropped = "some resamples did not define it and were dropped" if cell.dropped and cell.low is not None else ""
    return "; ".join(part for part in (cell.why or "", dropped) if part)


def _letter(place: int) -> str:
    """a to z, then aa, ab and so on."""
    first, last = divmod(place, 26)
    return (_letter(first - 1) if first else "") + chr(ord("a") + last)


def numeric_column(table: Table, place: int) -> bool:
    """Whether a column stands right-aligned: it holds no words."""
    return bool(table.rows) and all(not isinstance(row[place], str) or row[place] == "-" for row in table.rows)


def data_uri(svg: str) -> str:
    """As the source of an `img`: pictures cannot mix up their ids or run scripts there."""
    return "data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode()


def plain_rows(table: Table, columns: Sequence[str] | None = None) -> list[list[str]]:
    """Cells as text, for a terminal: number and interval together."""
    chosen = [table.columns.index(name) for name in columns or table.columns]
    return [[_plain(row[place]) for place in chosen] for row in table.rows]


def _plain(cell: Cell) -> str:
    if not isinstance(cell, Measured) or cell.value is None:
        return number(cell)
    bounds = "" if cell.low is None or cell.high is None else f" ({cell.low:.2f}-{cell.high:.2f})"
    return f"{cell.value:.2f}{bounds}"


def _table_to_json(table: Table) -> dict[str, Any]:
    rows = [{name: _cell_to_json(cell) for name, cell in zip(table.columns, row, strict=True)} for row in table.rows]
    return {"title": table.title, "note": table.note, "columns": list(table.columns), "rows": rows}


def _cell_to_json(cell: Cell) -> Any:
    if isinstance(cell, Measured):
        return asdict(cell)
    return None if isinstance(cell, float) and not math.isfinite(cell) else cell
