"""Training where there is nothing but torch, numpy and safetensors:

    python -m styleflow.training RECIPE --store STORE --out OUT --starting-weights FILE [--steps encoder frames ...]

The same as `styleflow train run`. Exit code 3 where time ran out: call again to go on.
"""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path

import torch

from styleflow.errors import ConfigurationError, StyleFlowError
from styleflow.training.parameters import read_parameters
from styleflow.training.recipe import Recipe
from styleflow.training.run import STEPS, Run
from styleflow.training.store import Store

OUT_OF_TIME = 3


def main(arguments: list[str] | None = None) -> int:
    """Run the steps; returns the exit code."""
    asked = _parser().parse_args(arguments)
    if asked.threads:
        torch.set_num_threads(asked.threads)
    try:
        run = _run(asked)
        return 0 if all(run.step(name) for name in asked.steps) else OUT_OF_TIME
    except StyleFlowError as error:
        print(f"{error.code}: {error}", file=sys.stderr)  # noqa: T201
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m styleflow.training")
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--store", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--starting-weights", type=Path)
    parser.add_argument("--starting-pack", type=Path, help="a pack's file of parameters")
    parser.add_argument("--steps", nargs="+", choices=STEPS, default=list(STEPS))
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--stop-after-seconds", type=float, default=math.inf)
    return parser


def _run(asked: argparse.Namespace) -> Run:
    """Raises StyleFlowError for whatever cannot be used."""
    return Run(
        Recipe.read(asked.recipe),
        Store.open(asked.store),
        _folder(asked.out),
        read_parameters(asked.starting_weights) if asked.starting_weights else None,
        read_parameters(asked.starting_pack) if asked.starting_pack else None,
        _usable_device(asked.device),
        asked.stop_after_seconds,
        say=lambda line: print(line, flush=True),  # noqa: T201  # this is a door
    )


def _folder(out: Path) -> Path:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(f"{out.name} cannot be the run's folder: {error.strerror}") from error
    return out


def _usable_device(name: str) -> torch.device:
    """Raises ConfigurationError for a name that torch does not know, and for what this machine has not."""
    try:
        torch.zeros(1, device=name).item()
    except (RuntimeError, AssertionError, ImportError) as error:
        raise ConfigurationError(f"nothing runs on the device {name!r}: {str(error).partition(chr(10))[0]}") from error
    return torch.device(name)


if __name__ == "__main__":
    raise SystemExit(main())
