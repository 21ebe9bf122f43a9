"""The command `styleflow`. A command's file is imported only when the command is named, so that each starts fast and
needs only its own extra."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup

COMMANDS = {
    "analyze": "styleflow.cli.analyze:analyze",
    "audit": "styleflow.cli.audit:app",
    "bench": "styleflow.cli.bench:app",
    "datasets": "styleflow.cli.datasets:app",
    "demo": "styleflow.cli.demo:demo",
    "evaluate": "styleflow.cli.evaluate:evaluate",
    "health": "styleflow.cli.health:health",
    "keys": "styleflow.cli.keys:app",
    "migrate": "styleflow.cli.migrate:migrate",
    "projects": "styleflow.cli.projects:app",
    "train": "styleflow.cli.train:app",
    "up": "styleflow.cli.up:up",
    "weights": "styleflow.cli.weights:app",
}
"""Name of the command → file and function (or group of commands) behind it."""


class LazyGroup(TyperGroup):
    """Finds its commands in COMMANDS."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 (click's signature)
        return sorted(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002 (as above)
        return load(cmd_name) if cmd_name in COMMANDS else None


def load(name: str) -> Any:
    """The command of that name, imported. A click command, of the click that typer carries inside."""
    module, _, attribute = COMMANDS[name].partition(":")
    found: Any = getattr(import_module(module), attribute)
    if not isinstance(found, typer.Typer):
        single = typer.Typer(add_completion=False)
        single.command(name)(found)
        found = single
    command = typer.main.get_command(found)
    command.name = name
    return command


app = typer.Typer(cls=LazyGroup, no_args_is_help=True, add_completion=False, pretty_exceptions_show_locals=False)


@app.callback()
def styleflow() -> None:
    """Batch deepfake-video detection: a video goes in, a verdict and its evidence come out."""


if __name__ == "__main__":
    app()
