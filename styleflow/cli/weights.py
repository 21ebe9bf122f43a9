"""`styleflow weights`: make, import, list, show and verify weights packs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console
from rich.table import Column, Table

from styleflow.cli.failing import BAD_INPUT, errors_as_exit
from styleflow.errors import ConfigurationError, PackError, StyleFlowError
from styleflow.models.sizes import SIZES, DetectorSizes, FlowLevel, StyleAttentionRoles
from styleflow.packs import Catalog, PackCard, verify_pack
from styleflow.settings import Settings

app = typer.Typer(no_args_is_help=True, help="Weights packs: make, import, list, show, verify.")


def _packs_directory() -> Path:
    return Settings().packs_directory


def _sizes_called(name: str) -> DetectorSizes:
    if name not in SIZES:
        raise typer.BadParameter(f"choose from {', '.join(SIZES)}", param_hint="--size")
    return SIZES[name]


def _require(device: str) -> None:
    """Raises ConfigurationError for a device that this machine does not have."""
    import torch

    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ConfigurationError(f"this machine has no device {device!r:.40}") from error


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
    size: Annotated[str, typer.Option(help="compact, small or paper.")] = "compact",
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same bytes.")] = 0,
) -> None:
    """Make a pack of random weights, or verify the one that is there. Its jobs end inconclusive."""
    from styleflow.models.weights import write_random_pack

    sizes = _sizes_called(size)
    with errors_as_exit():
        pack = write_random_pack(directory, sizes, seed)
    Console().print(f"{pack.card.model}  sha256 {pack.card.weights.sha256}", soft_wrap=True)


@app.command("import")
def import_pack(
    directory: Directory,
    stage_two: Annotated[Path, typer.Option(help="FTCN or StyleFlow stage-2 checkpoint.")],
    style_encoder: Annotated[Path | None, typer.Option(help="pSp checkpoint: psp_ffhq_encode.pt.")] = None,
    style_gru: Annotated[Path | None, typer.Option(help="StyleGRU checkpoint of stage 1.")] = None,
    level: Annotated[
        FlowLevel | None, typer.Option(help="Styles that the StyleGRU reads; inferred from its width if left out.")
    ] = None,
    size: Annotated[str, typer.Option(help="compact, small or paper.")] = "paper",
    style_attention: Annotated[
        StyleAttentionRoles, typer.Option(help="Who asks and who answers in the style attention.")
    ] = "content_query",
    style_framing: Annotated[
        Literal["ffhq", "ftcn256", "ffhq_per_frame"], typer.Option(help="How faces are cut out for the style encoder.")
    ] = "ffhq",
    name: Annotated[str | None, typer.Option(help="Of the pack; else styleflow-<size> or content-<size>.")] = None,
    version: Annotated[str | None, typer.Option(help="Of the pack; else drawn from the files' SHA-256.")] = None,
    default: Annotated[bool, typer.Option("--default", help="Serve it as styleflow@default.")] = False,
    statement: Annotated[str | None, typer.Option(help="How these weights were trained, for the card.")] = None,
    licence: Annotated[list[str] | None, typer.Option(help="For the card; may be given several times.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Make a pack of published checkpoints. Nothing in the files is executed, and every name and shape must fit."""
    from styleflow.cli import weights_tables
    from styleflow.models.checkpoints import IMPORTED, Sources, Wishes, import_checkpoints

    sizes = replace(_sizes_called(size), style_attention=style_attention)
    wishes = Wishes(
        name=name,
        version=version,
        level=level,
        style_framing=style_framing,
        default=default,
        statement=statement or IMPORTED,
        licences=tuple(licence or ()),
    )
    sources = Sources(stage_two=stage_two, style_encoder=style_encoder, style_gru=style_gru)
    try:
        imported = import_checkpoints(directory, sources, sizes, wishes)
    except StyleFlowError as error:
        weights_tables.show_refusal(error, as_json=as_json)
        raise typer.Exit(BAD_INPUT) from error
    weights_tables.show_import(imported, as_json=as_json)


@app.command()
def verify(
    directory: Directory,
    models: Annotated[list[str] | None, typer.Argument(help="name@version; every pack if left out.")] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1, ...")] = "cpu",
    precision: Annotated[Literal["float32", "bfloat16", "float16"], typer.Option()] = "float32",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Check bytes, names, shapes and the golden clip's logit, as a worker does when it starts."""
    import torch

    from styleflow.cli import weights_tables
    from styleflow.models.precision import chosen_precision
    from styleflow.models.verification import check
    from styleflow.models.weights import load_detector

    with errors_as_exit():
        _require(device)
        catalog = Catalog(directory)
        packs = [catalog.resolve(model) for model in models] if models else list(catalog.packs)
        if not packs:
            raise PackError("There is no pack to verify.")
    found: list[tuple[PackCard, float | None, StyleFlowError | None]] = []
    for pack in packs:
        try:
            chosen = chosen_precision(precision, torch.device(device))
            logit = check(load_detector(pack, device, chosen, serving=True), pack.card, chosen)
        except StyleFlowError as error:
            found.append((pack.card, None, error))
        else:
            found.append((pack.card, logit, None))
    weights_tables.show_verification(found, precision, as_json=as_json)
    if any(error for _, _, error in found):
        raise typer.Exit(BAD_INPUT)


@app.command("list")
def list_packs(directory: Directory) -> None:
    """The packs that are served from the folder."""
    with errors_as_exit():
        catalog = Catalog(directory)
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


@app.command()
def show(
    directory: Directory,
    model: Annotated[str, typer.Argument(help="name@version, or styleflow@default.")] = "styleflow@default",
) -> None:
    """Verify a pack's bytes and print its card."""
    with errors_as_exit():
        pack = Catalog(directory).resolve(model)
        verify_pack(pack)
    Console().print_json(pack.card.model_dump_json())
