"""`styleflow weights`: make, import, list, show and verify weights packs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console

from styleflow.cli.failing import BAD_INPUT, errors_as_exit
from styleflow.errors import ConfigurationError, PackError, StyleFlowError, UnknownModel
from styleflow.models.sizes import SIZES, DetectorSizes, FlowLevel, StyleAttentionRoles
from styleflow.packs import Catalog, Pack, verify_pack
from styleflow.settings import Settings

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Weights packs: make, import, list, show, verify.")


def _packs_directory() -> Path:
    return Settings().packs_directory


def _sizes_called(name: str) -> DetectorSizes:
    if name not in SIZES:
        raise typer.BadParameter(f"choose from {', '.join(SIZES)}", param_hint="--size")
    return SIZES[name]


def _require(device: str) -> None:
    """Raises ConfigurationError for a device that this machine does not have, or that computes nothing (`meta`)."""
    import torch

    try:
        torch.zeros(1, device=device).cpu()
    except (RuntimeError, AssertionError, ImportError) as error:
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


@app.command()
def install(directory: Directory) -> None:
    """Put the packs that come with StyleFlow into the folder, or verify those that are there."""
    from styleflow.pack_copies import install_shipped

    with errors_as_exit():
        installed = install_shipped(directory)
        if not installed:
            raise PackError("The packs that come with StyleFlow are missing: this installation is not whole.")
        for pack in installed:
            served = "  served as styleflow@default" if pack.card.default else ""
            Console().print(f"{pack.card.model}  sha256 {pack.card.weights.sha256}{served}", soft_wrap=True)


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
    from styleflow.cli import weights_tables

    with errors_as_exit():
        _require(device)
        catalog = Catalog(directory, tolerant=True)
        packs = _asked_for(catalog, models or [])
    found = [(pack.card, *_verified(pack, device, precision)) for pack in packs]
    weights_tables.show_verification(found, catalog.problems, precision, as_json=as_json)
    if catalog.problems or any(error for _, _, error in found):
        raise typer.Exit(BAD_INPUT)


def _asked_for(catalog: Catalog, models: list[str]) -> list[Pack]:
    """Raises UnknownModel for a name that is not there, PackError for an empty folder."""
    from styleflow.cli import weights_tables

    if not models and not catalog.packs and not catalog.problems:
        raise PackError("There is no pack to verify.")
    try:
        return [catalog.resolve(model) for model in models] if models else list(catalog.packs)
    except UnknownModel:
        weights_tables.show_problems(catalog.problems)  # the name may be that of a pack that cannot be read
        raise


def _verified(pack: Pack, device: str, precision: str) -> tuple[float | None, StyleFlowError | None]:
    """The golden clip's logit, or why a worker would refuse the pack."""
    import torch

    from styleflow.detection.engine import refuse_other_clip_lengths
    from styleflow.models.precision import chosen_precision
    from styleflow.models.verification import check
    from styleflow.models.weights import load_detector

    try:
        refuse_other_clip_lengths(pack.card)
        chosen = chosen_precision(precision, torch.device(device))
        return check(load_detector(pack, device, chosen, serving=True), pack.card, chosen), None
    except StyleFlowError as error:
        return None, error


@app.command("list")
def list_packs(directory: Directory) -> None:
    """The packs in the folder. Exits with 2, naming it, where one keeps the folder from being served."""
    from styleflow.cli import weights_tables

    catalog = Catalog(directory, tolerant=True)
    weights_tables.show_packs(catalog)
    if catalog.problems:
        raise typer.Exit(BAD_INPUT)


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
