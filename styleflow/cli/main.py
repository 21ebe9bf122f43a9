"""The command `styleflow`. A command's file is imported only when the command is named, so that each starts fast and
needs only its own extra."""

from __future__ import annotations

from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from styleflow import __version__

CALLER, SERVICE, DETECTOR, LAB = "Use a service", "Run a service", "Judge a video here", "Train and measure"
PANELS: dict[str, dict[str, str]] = {
    CALLER: {
        "jobs": "styleflow.cli.remote.jobs:app",
        "batches": "styleflow.cli.remote.batches:app",
        "exports": "styleflow.cli.remote.exports:app",
        "webhooks": "styleflow.cli.remote.webhooks:app",
        "api-keys": "styleflow.cli.remote.api_keys:app",
    },
    SERVICE: {
        "up": "styleflow.cli.up:up",
        "demo": "styleflow.cli.demo:demo",
        "doctor": "styleflow.cli.doctor.command:doctor",
        "health": "styleflow.cli.health:health",
        "projects": "styleflow.cli.projects:app",
        "keys": "styleflow.cli.keys:app",
        "migrate": "styleflow.cli.migrate:migrate",
        "audit": "styleflow.cli.audit:app",
        "bench": "styleflow.cli.bench:app",
    },
    DETECTOR: {
        "analyze": "styleflow.cli.analyze:analyze",
        "weights": "styleflow.cli.weights:app",
    },
    LAB: {
        "datasets": "styleflow.cli.datasets:app",
        "train": "styleflow.cli.train:app",
        "evaluate": "styleflow.cli.evaluate:evaluate",
    },
}
"""Panel of the help → name of the command → file and function (or group of commands) behind it."""
COMMANDS = {name: target for panel in PANELS.values() for name, target in panel.items()}
PANEL_OF = {name: panel for panel, commands in PANELS.items() for name in commands}


class LazyGroup(TyperGroup):
    """Finds its commands in COMMANDS."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 (click's signature)
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002 (as above)
        return load(cmd_name) if cmd_name in COMMANDS else None

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """With a guess at what a misspelt command was meant to be."""
        self.commands = {} if args[0] in COMMANDS else _guesses()
        return super().resolve_command(ctx, args)


def _guesses() -> Any:
    """Where typer looks for names that are close: at the names alone."""
    return dict.fromkeys(COMMANDS)


def load(name: str) -> Any:
    """The command of that name, imported. A click command, of the click that typer carries inside.

    What a file calls EPILOG stands beneath the help of its single command.
    """
    module_name, _, attribute = COMMANDS[name].partition(":")
    module = import_module(module_name)
    found: Any = getattr(module, attribute)
    if not isinstance(found, typer.Typer):
        single = typer.Typer(add_completion=False)
        single.command(name, epilog=getattr(module, "EPILOG", None))(found)
        found = single
    command: Any = typer.main.get_command(found)
    command.name = name
    command.rich_help_panel = PANEL_OF[name]
    return command


app = typer.Typer(cls=LazyGroup, no_args_is_help=True, pretty_exceptions_show_locals=False)


def _say_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"styleflow {__version__}")
        raise typer.Exit


@app.callback()
def styleflow(
    version: Annotated[
        bool, typer.Option("--version", callback=_say_version, is_eager=True, help="Say which version this is.")
    ] = False,
) -> None:
    """Batch deepfake-video detection: a video goes in, a verdict and its evidence come out."""


if __name__ == "__main__":
    app()
