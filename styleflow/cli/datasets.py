"""`styleflow datasets`: what a public data set holds here, and what of it is missing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from styleflow.errors import StyleFlowError

INCOMPLETE = 1
BAD_INPUT = 2

app = typer.Typer(help="Manifests of data sets.", no_args_is_help=True, add_completion=False)


@app.command("list")
def list_layouts() -> None:
    """The layouts that can be scanned."""
    from styleflow.datasets.registry import LAYOUTS

    for name in LAYOUTS:
        Console().print(name)


@app.command()
def scan(
    layout: Annotated[str, typer.Argument(help="One of `styleflow datasets list`.")],
    root: Annotated[Path, typer.Argument(help="The data set's folder, or the CSV.")],
    out: Annotated[Path | None, typer.Option(help="Write the manifest here, with paths from there.")] = None,
    compression: Annotated[str, typer.Option(help="FaceForensics++: c0, c23 or c40.")] = "c23",
    split: Annotated[list[str] | None, typer.Option(help="Only these splits, present or missing; repeatable.")] = None,
    licence: Annotated[str | None, typer.Option(help="Written to every line that names none.")] = None,
    donor_pattern: Annotated[
        str | None,
        typer.Option(help="Regular expression on a fake's path whose group is the person whose face it shows."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Count the videos of a data set and name every one that is missing.

    Exit code 0 when it is complete, 1 when videos are missing (the manifest holds those that are there), 2 when it
    cannot be used.
    """
    from styleflow.datasets import registry
    from styleflow.datasets.donors import with_donors
    from styleflow.datasets.layout import ScanWish
    from styleflow.datasets.manifest import SPLITS

    try:
        wish = ScanWish(compression=compression, splits=split or SPLITS, licence=licence)
        found = registry.scan(layout, root, wish)
        if donor_pattern is not None:
            found = with_donors(found, donor_pattern)
        if out is not None:
            out.write_text(found.moved_to(out.parent).to_csv(), encoding="utf-8")
    except (StyleFlowError, OSError) as error:
        code = error.code if isinstance(error, StyleFlowError) else "unwritable"
        Console(stderr=True).print(f"{code}: {error}", style="red", soft_wrap=True, markup=False)
        raise typer.Exit(BAD_INPUT) from error
    counts = [(*key, count) for key, count in sorted(found.counts().items())]
    if as_json:
        rows = [dict(zip(("split", "label", "generator", "videos"), row, strict=True)) for row in counts]
        missing = [path.as_posix() for path in found.missing]
        Console().print_json(json.dumps({"sha256": found.sha256, "counts": rows, "missing": missing}))
    else:
        table = Table("split", "label", "generator", "videos")
        for row in counts:
            table.add_row(*map(str, row))
        Console().print(table)
        for path in found.missing:
            Console().print(f"missing: {path}", soft_wrap=True, markup=False, highlight=False)
    raise typer.Exit(INCOMPLETE if found.missing else 0)
