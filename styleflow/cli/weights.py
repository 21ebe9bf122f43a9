"""`styleflow weights`: make, list and show weights packs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Column, Table

from styleflow.errors import StyleFlowError
from styleflow.packs import Catalog, verify_pack
from styleflow.settings import Settings

app = typer.Typer(no_args_is_help=True, help="Weights packs: make, list, show.")

BAD_INPUT = 2


def _packs_directory() -> Path:
    return Settings().packs_directory


Directory = Annotated[
    Path,
    typer.Option(
        "--directory",
        default_factory=_packs_directory,
        show_default="STYLEFLOW_PACKS_DIRECTORY",
        help="The folder of all packs.",
    ),
]


@app.command()
def init(
    directory: Directory,
    size: Annotated[str, typer.Option(help="compact or paper.")] = "compact",
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same bytes.")] = 0,
) -> None:
    """Make a pack of random weights, or verify the one that is there. Its jobs end inconclusive."""
    from styleflow.models.sizes import SIZES
    from styleflow.models.weights import write_random_pack

    if size not in SIZES:
        raise typer.BadParameter(f"choose from {', '.join(SIZES)}", param_hint="--size")
    with _errors_as_exit():
        pack = write_random_pack(directory, SIZES[size], seed)
    Console().print(f"{pack.card.model}  sha256 {pack.card.weights.sha256}", soft_wrap=True)


@app.command("list")
def list_packs(directory: Directory) -> None:
    """The packs that are served from the folder."""
    with _errors_as_exit():
        catalog = Catalog(directory)
    table = Table(Column("model", no_wrap=True), "size", "MB", "calibration", "training", "SHA-256")
    default = catalog.default
    for card in catalog.cards:
        mark = " (default)" if default is not None and card.model == default.card.model else ""
        table.add_row(
            card.model + mark,
            card.size,
            f"{card.weights.size_bytes / 1e6:.1f}",
            card.calibration.method if card.calibration else "none",
            card.training.statement,
            card.weights.sha256[:12],
        )
    Console().print(table)


@app.command()
def show(
    directory: Directory,
    model: Annotated[str, typer.Argument(help="name@version, or styleflow@default.")] = "styleflow@default",
) -> None:
    """Verify a pack's bytes and print its card."""
    with _errors_as_exit():
        pack = Catalog(directory).resolve(model)
        verify_pack(pack)
    Console().print_json(pack.card.model_dump_json())


@contextmanager
def _errors_as_exit() -> Iterator[None]:
    try:
        yield
    except StyleFlowError as error:
        Console(stderr=True).print(f"{error.code}: {error}", style="red", soft_wrap=True, markup=False)
        raise typer.Exit(BAD_INPUT) from error
