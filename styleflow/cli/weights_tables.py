"""What `styleflow weights import`, `list` and `verify` print: tables for people, JSON for programs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from styleflow.errors import StyleFlowError
from styleflow.models.checkpoints import Imported, PartTaken
from styleflow.packs import Catalog, PackCard

Verified = tuple[PackCard, float | None, StyleFlowError | None]


def show_import(imported: Imported, *, as_json: bool) -> None:
    """The pack that was made, and what was taken from which file."""
    card = imported.pack.card
    if as_json:
        Console().print_json(
            data={
                "model": card.model,
                "sha256": card.weights.sha256,
                "components": list(card.components),
                "level": imported.level,
                "tolerance": dict(card.tolerance),
                "parts": [part.to_json() for part in imported.parts],
            }
        )
        return
    console = Console()
    _print_parts(console, imported.parts)
    console.print(f"{card.model}  sha256 {card.weights.sha256}", soft_wrap=True)
    if card.content_only:
        console.print("Without a style branch: every report made with it carries the warning content_only.")
    else:
        console.print(f"The StyleGRU reads the level {imported.level}.")


def show_refusal(error: StyleFlowError, *, as_json: bool) -> None:
    """Why nothing was imported: every difference, not only the first."""
    parts: Sequence[PartTaken] = error.details.get("parts", ())
    differences = list(error.details.get("differences", ()))
    if as_json:
        Console().print_json(
            data={
                "code": error.code,
                "message": str(error),
                "differences": differences,
                "parts": [part.to_json() for part in parts],
            }
        )
        return
    console = Console(stderr=True)
    if parts:
        _print_parts(console, parts)
    for difference in differences:
        console.print(f"  {difference}", soft_wrap=True, markup=False, highlight=False)
    console.print(f"{error.code}: {error}", style="red", soft_wrap=True, markup=False)


def show_packs(catalog: Catalog) -> None:
    """One row per pack that can be read, then what is wrong with the folder."""
    table = Table(Column("model", no_wrap=True), "size", "MB", "calibration", "trained", "SHA-256")
    default = catalog.default
    for card in catalog.cards:
        mark = " (default)" if default is not None and card.model == default.card.model else ""
        branch = "\ncontent only" if card.content_only else ""
        table.add_row(
            card.model + mark + branch,
            card.size,
            f"{card.weights.size_bytes / 1e6:.1f}",
            card.calibration.method if card.calibration else "none",
            "yes" if card.training.trained else "no",
            card.weights.sha256[:12],
        )
    Console().print(table)
    show_problems(catalog.problems)


def show_problems(problems: Iterable[StyleFlowError]) -> None:
    """Why nothing is served from a folder: a sentence each, on standard error."""
    for problem in problems:
        Console(stderr=True).print(f"{problem.code}: {problem}", style="red", soft_wrap=True, markup=False)


def show_verification(
    found: Iterable[Verified], problems: Sequence[StyleFlowError], precision: str, *, as_json: bool
) -> None:
    """One row per pack: the logit that was found, the one that its card records, and the verdict on the pack. Then
    what is wrong with the folder."""
    rows = [
        {
            "model": card.model,
            "precision": precision,
            "logit": logit,
            "recorded": card.golden.logit if card.golden else None,
            "tolerance": card.tolerance.get(precision),
            "error": str(error) if error else None,
        }
        for card, logit, error in found
    ]
    if as_json:
        Console().print_json(data={"packs": rows, "problems": [str(problem) for problem in problems]})
        return
    table = Table(Column("model", no_wrap=True), "precision", "logit", "recorded", "tolerance", "result")
    for row in rows:
        numbers = (_number(row[name]) for name in ("logit", "recorded", "tolerance"))
        table.add_row(escape(str(row["model"])), precision, *numbers, "[red]refused" if row["error"] else "[green]good")
    Console().print(table)
    for row in rows:
        if row["error"]:
            Console(stderr=True).print(str(row["error"]), style="red", soft_wrap=True, markup=False)
    show_problems(problems)


def _parts_table(parts: Iterable[PartTaken]) -> Table:
    table = Table(Column("part, file", no_wrap=True), "taken", "values", "ignored", "missing", "left over", "unlike")
    for part in parts:
        table.add_row(
            escape(f"{part.part}\n{part.file}"),
            str(part.taken),
            f"{part.parameters / 1e6:.1f} M",
            str(sum(part.ignored.values())),
            *(str(len(names)) if names else "-" for names in (part.missing, part.left_over, part.unlike)),
        )
    return table


def _print_parts(console: Console, parts: Sequence[PartTaken]) -> None:
    console.print(_parts_table(parts))
    for part in parts:
        ignored = [f"{count} {reason}" for reason, count in part.ignored.items()]
        beside = [f"beside it {', '.join(part.beside)}"] if part.beside else []
        if ignored or beside:
            console.print(f"ignored in {part.file}: {'; '.join(ignored + beside)}", soft_wrap=True, markup=False)


def _number(value: object) -> str:
    return "-" if value is None else f"{value:.6g}"
