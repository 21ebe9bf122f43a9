"""`styleflow train`: from videos to a pack. Needs styleflow[lab]."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from styleflow.cli.failing import errors_as_exit
from styleflow.cli.train_judge import judge
from styleflow.errors import ConfigurationError, PackError

if TYPE_CHECKING:
    from styleflow.datasets.manifest import Manifest
    from styleflow.training.prepare import Preparation, Prepared
    from styleflow.training.store import Store as OpenStore

OUT_OF_TIME = 3

app = typer.Typer(
    help="Prepare videos, train the network, and make a pack of what was learnt.",
    no_args_is_help=True,
    add_completion=False,
)

app.command()(judge)

Store = Annotated[Path, typer.Option("--store", help="The folder of the prepared store.")]
RecipeFile = Annotated[Path, typer.Argument(help="A recipe, as those in recipes/.")]
Out = Annotated[Path, typer.Option("--out", help="The folder of the run.")]
Packs = Annotated[Path, typer.Option("--packs-directory", help="The folder of all packs.")]


@app.command()
def prepare(
    manifest: Annotated[Path, typer.Argument(help="CSV of `styleflow datasets scan`.")],
    store: Store,
    landmark_weights: Annotated[Path, typer.Option(help="Folder of the 68-point landmark network's two files.")],
    recipe: Annotated[
        Path | None, typer.Option(help="Whose network's pictures are prepared; else the compact one's.")
    ] = None,
    photos: Annotated[Path | None, typer.Option(help="Folder of portraits, for the style encoder and swaps.")] = None,
    split: Annotated[list[str] | None, typer.Option(help="Splits to prepare; repeatable. Default: train.")] = None,
    clips: Annotated[int, typer.Option(min=1, help="Clips of 32 frames per video.")] = 4,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = os.cpu_count() or 1,
    most_gb: Annotated[float, typer.Option(min=0.01, help="Stop when the store has grown to this.")] = 50.0,
) -> None:
    """Decode, track, align and keep the clips of every video. What is there already is not made again.

    Exit code 0 when any source is in the store, each that was left out being named; 2 when none is.
    """
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # for the workers, which inherit it
    from styleflow.datasets.manifest import Manifest
    from styleflow.training.landmarks import load_landmark_network
    from styleflow.training.prepare import Preparation
    from styleflow.training.prepare_set import photo_sources, prepare_set, sources_of

    left_out: list[Prepared] = []
    with errors_as_exit(), _file_errors_as_ours(), _bar() as bar:
        splits = _known_splits(split or ["train"])
        listed = Manifest.from_csv(manifest)
        wish = Preparation(clips_per_video=clips)
        load_landmark_network(landmark_weights)  # the workers load their own; here it can be said that they cannot
        begun = _begun_store(store, recipe, listed, wish)
        sources = [*sources_of(listed, splits), *(photo_sources(photos) if photos else [])]
        task = bar.add_task("preparing", total=len(sources))

        def told(result: Prepared) -> None:
            bar.advance(task)
            if result.trouble:
                left_out.append(result)

        prepare_set(sources, begun, landmark_weights, wish, workers=workers, most_bytes=int(most_gb * 1e9), told=told)
    with errors_as_exit():
        _tell_what_is_there(len(sources), left_out)


def _begun_store(folder: Path, recipe: Path | None, listed: Manifest, wish: Preparation) -> OpenStore:
    """The store of the recipe's pictures, of which the manifest's videos will be read. Raises StoreError for a store
    of other pictures, and ConfigurationError."""
    from styleflow.models.sizes import COMPACT
    from styleflow.training.geometry import Geometry
    from styleflow.training.prepare_set import key_of
    from styleflow.training.recipe import Recipe
    from styleflow.training.run import sizes_of
    from styleflow.training.store import Store

    sizes = sizes_of(Recipe.read(recipe)) if recipe else COMPACT
    return Store.create(
        folder,
        Geometry(sizes.content.input_size),
        listed.sha256,
        made_with={"clips_per_video": wish.clips_per_video, "frame_step": wish.frame_step},
        listed={key_of(entry.path.as_posix()): (entry.split, entry.identity) for entry in listed.entries},
    )


def _tell_what_is_there(sources: int, left_out: list[Prepared]) -> None:
    """Raises StoreError where that is nothing."""
    from styleflow.training.store import StoreError

    console = Console()
    for trouble in left_out:
        console.print(f"left out: {trouble.key}: {trouble.trouble}", soft_wrap=True, markup=False)
    console.print(f"{sources - len(left_out)} of {sources} sources are in the store")
    if len(left_out) == sources:
        raise StoreError("none of the sources that were asked for could be prepared")


@app.command()
def run(
    recipe: RecipeFile,
    store: Store,
    out: Out,
    starting_weights: Annotated[
        Path | None, typer.Option(help="Folded MobileNetV2 (safetensors); from scratch without.")
    ] = None,
    starting_pack: Annotated[
        Path | None, typer.Option(help="A pack's folder: its style encoder is kept, the rest begins there.")
    ] = None,
    step: Annotated[list[str] | None, typer.Option(help="Only this step; repeatable.")] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1; auto takes a GPU if there is one.")] = "auto",
    stop_after_seconds: Annotated[float, typer.Option(min=0, help="Then leave a checkpoint; exit code 3.")] = math.inf,
) -> None:
    """Train the recipe's steps in order. What is finished is not run again; what was interrupted goes on."""
    from styleflow.training.__main__ import main

    arguments = [str(recipe), "--store", str(store), "--out", str(out)]
    arguments += ["--stop-after-seconds", str(stop_after_seconds)]
    arguments += ["--starting-weights", str(starting_weights)] if starting_weights else []
    if starting_pack:
        from styleflow.packs import read_pack

        with errors_as_exit():
            arguments += ["--starting-pack", str(read_pack(starting_pack).weights_path)]
    arguments += ["--device", device] if device != "auto" else []
    arguments += ["--steps", *step] if step else []
    raise typer.Exit(main(arguments))


@app.command("held-back")
def held_back(
    manifest: Annotated[Path, typer.Argument(help="The manifest that the store was prepared from.")],
    recipe: RecipeFile,
    store: Store,
    out: Annotated[Path, typer.Option(help="Write the manifest here.")],
) -> None:
    """Write the manifest of the people whom the recipe holds back: what early stopping saw, and what calibrates."""
    from dataclasses import replace

    from styleflow.datasets.manifest import DatasetError, Manifest
    from styleflow.training.folds import folds_of
    from styleflow.training.recipe import Recipe
    from styleflow.training.store import Store as OpenStore

    with errors_as_exit():
        chosen, listed = Recipe.read(recipe).selection, Manifest.from_csv(manifest)
        opened = OpenStore.open(store)
        dealt = folds_of((video.facts for video in opened.videos if video.facts.split == "train"), chosen.folds)
        kept = tuple(
            entry
            for entry in listed.entries
            if entry.split == "train"
            and dealt.get(entry.identity) == chosen.held_back
            and (entry.label == "real" or entry.generator not in chosen.without_generators)
        )
        try:
            out.write_text(replace(listed, entries=kept).moved_to(out.parent).to_csv(), encoding="utf-8")
        except OSError as error:
            raise DatasetError(f"{out.name} cannot be written: {error.strerror}") from error
    people = len({entry.identity for entry in kept})
    Console().print(f"{len(kept)} videos of {people} people are held back")


@app.command()
def pack(
    recipe: RecipeFile,
    out: Out,
    packs: Packs,
    name: Annotated[str, typer.Option(help="Of the pack.")],
    version: Annotated[str, typer.Option(help="Of the pack.")],
    statement: Annotated[str, typer.Option(help="What was trained, on what, and where it was measured.")],
    domain: Annotated[
        str | None, typer.Option(help="Where it was measured and where it knows nothing: every report repeats it.")
    ] = None,
    starting_weights: Annotated[Path | None, typer.Option(help="Named in the card with their SHA-256.")] = None,
    licence: Annotated[list[str] | None, typer.Option(help="For the card; repeatable.")] = None,
    float16: Annotated[bool, typer.Option("--float16", help="Keep matrices in 16 bits: half the file.")] = False,
) -> None:
    """Make a pack of a finished run. It has no calibration yet: measure it, then `train calibrate`."""
    from styleflow.packs import Source, sha256_of
    from styleflow.training.packing import PackWish, write_trained_pack
    from styleflow.training.recipe import Recipe

    with errors_as_exit(), _file_errors_as_ours():
        began = (
            (Source(name=starting_weights.name, sha256=sha256_of(starting_weights), components=("content",)),)
            if (starting_weights)
            else ()
        )
        wish = PackWish(
            name=name,
            version=version,
            statement=statement,
            domain=domain,
            sources=began,
            licences=tuple(licence or ("MIT",)),
            float16=float16,
        )
        made = write_trained_pack(packs, out, Recipe.read(recipe), wish)
    Console().print(f"{made.card.model}  sha256 {made.card.weights.sha256}", soft_wrap=True)


@app.command()
def calibrate(
    model: Annotated[str, typer.Argument(help="name@version of the pack that was measured.")],
    calibration: Annotated[Path, typer.Option(help="calibration.json of `styleflow evaluate --calibrate`.")],
    packs: Packs,
    version: Annotated[str, typer.Option(help="Of the calibrated pack.")],
    default: Annotated[bool, typer.Option("--default", help="Serve it as styleflow@default.")] = False,
) -> None:
    """Copy a pack under another version, with the calibration that was measured."""
    from pydantic import ValidationError

    from styleflow.packs import Calibration, Catalog
    from styleflow.training.packing import calibrated_pack

    with errors_as_exit():
        try:
            proposed = json.loads(calibration.read_text(encoding="utf-8"))
            measured = Calibration.model_validate(proposed["calibration"] | {"abstain": proposed["abstain"]})
        except (OSError, ValueError, KeyError, TypeError, ValidationError) as error:
            raise PackError(f"{calibration.name} holds no calibration: {error}") from error
        made = calibrated_pack(packs, Catalog(packs).resolve(model), measured, version, default=default)
    Console().print(f"{made.card.model}  calibrated by {measured.method} on {measured.measured_on}", soft_wrap=True)


@contextmanager
def _file_errors_as_ours() -> Iterator[None]:
    """Raises ConfigurationError for a file or folder that cannot be used, and for a worker that died."""
    try:
        yield
    except OSError as error:
        raise ConfigurationError(f"{Path(str(error.filename or '')).name or 'a file'}: {error.strerror}") from error
    except BrokenProcessPool as error:
        raise ConfigurationError(f"a worker process died: {error}") from error


def _known_splits(names: list[str]) -> list[str]:
    """Raises ConfigurationError for a name that no manifest can have."""
    from styleflow.datasets.manifest import SPLITS

    unknown = [name for name in names if name not in SPLITS]
    if unknown:
        raise ConfigurationError(f"there is no split {', '.join(unknown)}; known are {', '.join(SPLITS)}")
    return names


def _bar() -> Progress:
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    return Progress(*columns, console=Console(stderr=True))
