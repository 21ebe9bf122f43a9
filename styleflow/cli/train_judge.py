"""`styleflow train judge`: what a finished run says of the videos of a store, as predictions to set beside others."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast, get_args

import typer
from rich.console import Console

from styleflow.cli.failing import errors_as_exit
from styleflow.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from styleflow.evaluation.predictions import Subject
    from styleflow.training.branch_scores import Branch, Part


def judge(
    manifest: Annotated[Path, typer.Argument(help="The manifest that the store was prepared from.")],
    recipe: Annotated[Path, typer.Argument(help="The recipe of the run.")],
    store: Annotated[Path, typer.Option("--store", help="The store that holds the split.")],
    run: Annotated[Path, typer.Option("--out", help="The folder of the run.")],
    predictions: Annotated[Path, typer.Option(help="Write predictions.jsonl here; what was there is lost.")],
    split: Annotated[str, typer.Option(help="Of train, those who were not learnt from.")] = "validation",
    by: Annotated[
        str, typer.Option(help="content or style: that branch alone, under the head it was trained with; or network.")
    ] = "network",
    without: Annotated[
        list[str] | None, typer.Option(help="style, attention, coarse, middle or fine: network without it; repeatable.")
    ] = None,
) -> None:
    """Judge a store's clips by one branch alone, or by the network without a part, for `styleflow evaluate --beside`.

    With a recipe that leaves out generators and --split train: for `styleflow evaluate --left-out`.
    """
    from styleflow.datasets.manifest import Manifest
    from styleflow.evaluation.roster import listed
    from styleflow.training.branch_scores import Branch, Part, branch_scores
    from styleflow.training.prepare_set import key_of
    from styleflow.training.recipe import Recipe
    from styleflow.training.run import Run
    from styleflow.training.run_record import refuse_another_recipe, refuse_another_store
    from styleflow.training.selection import judged_bank
    from styleflow.training.store import Store

    with errors_as_exit():
        branch = cast("Branch", _one_of(by, get_args(Branch)))
        parts = [cast("Part", _one_of(name, get_args(Part))) for name in without or ()]
        chosen, entries = Recipe.read(recipe), Manifest.from_csv(manifest)
        subjects = {
            key_of(entries.entries[video.line - 2].path.as_posix()): video.subject for video in listed(entries, split)
        }
        refuse_another_recipe(run, chosen)
        finished = Run(chosen, Store.open(store), run)
        if split == "train":
            refuse_another_store(run, finished.store.data_version)
        bank = judged_bank(finished.store, chosen.selection, split)
        scores = dict(branch_scores(finished, bank, branch, parts))
        _write(predictions, subjects, scores, {"by": branch, "without": sorted(parts), "recipe": chosen.name})
    Console().print(f"{len(scores)} of {len(subjects)} videos were judged")


def _one_of(name: str, known: Sequence[str]) -> str:
    """Raises ConfigurationError for what is none of them."""
    if name not in known:
        raise ConfigurationError(f"there is no {name!r}; known are {', '.join(known)}")
    return name


def _write(path: Path, subjects: Mapping[str, Subject], scores: Mapping[str, float], how: Mapping[str, object]) -> None:
    """Raises ConfigurationError where the file cannot be written, and where the store is not of the manifest."""
    from styleflow.evaluation.ledger import Ledger
    from styleflow.evaluation.predictions import Prediction, prediction_to_json

    strangers = sorted(scores.keys() - subjects.keys())
    if strangers:
        raise ConfigurationError(f"the store was not prepared from this manifest, which has no {strangers[0]}")
    ledger = Ledger(path, {"kind": "predictions", **how})
    try:
        ledger.restart()
        for key in (key for key in subjects if key in scores):
            ledger.add(prediction_to_json(Prediction(subject=subjects[key], outcome="scored", logit=scores[key])))
    except OSError as error:
        raise ConfigurationError(f"{path.name} cannot be written: {error.strerror}") from error
