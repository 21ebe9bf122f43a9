"""Whose folder a run's folder is: `run.json` names the recipe and the data that it was begun with.

Steps that are finished are not run again, so under another recipe or on another store they would be taken for its own.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from pathlib import Path

from styleflow.errors import ConfigurationError
from styleflow.training.recipe import Recipe

RECORD = "run.json"


def recipe_sha256(recipe: Recipe) -> str:
    """Of all values, those that a file leaves out too; its comments and its order do not count."""
    content = json.dumps(dataclasses.asdict(recipe), sort_keys=True, default=str)
    return hashlib.sha256(content.encode()).hexdigest()


def claim(out: Path, recipe: Recipe, data_version: str) -> None:
    """Note at first use what a folder belongs to. Raises ConfigurationError where it belongs to something else."""
    wanted = {"recipe": recipe_sha256(recipe), "store": data_version}
    begun = _read(out)
    if begun is None:
        out.mkdir(parents=True, exist_ok=True)
        unfinished = out / f"{RECORD}.{os.getpid()}.part"  # two steps of one run may begin at once
        unfinished.write_text(json.dumps(wanted, indent=2) + "\n", encoding="utf-8")
        os.replace(unfinished, out / RECORD)
        return
    _refuse_others(out, begun, wanted)


def refuse_another_recipe(out: Path, recipe: Recipe) -> None:
    """Raises ConfigurationError where it was begun with another recipe; without a record it is taken as it is."""
    _refuse_others(out, _read(out) or {}, {"recipe": recipe_sha256(recipe)})


def refuse_another_store(out: Path, data_version: str) -> None:
    """Raises ConfigurationError where it was begun with other data: other people would be held back there."""
    _refuse_others(out, _read(out) or {}, {"store": data_version})


def _refuse_others(out: Path, begun: dict[str, str], wanted: dict[str, str]) -> None:
    others = [name for name, value in wanted.items() if name in begun and begun[name] != value]
    if others:
        raise ConfigurationError(
            f"{out.name} was begun with another {' and another '.join(others)}: give a folder of its own to each"
        )


def _read(out: Path) -> dict[str, str] | None:
    path = out / RECORD
    if not path.exists():
        return None
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return {name: str(found[name]) for name in ("recipe", "store")}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigurationError(f"{RECORD} in {out.name} cannot be read: {error!r}") from error
