"""`styleflow demo`: the sample videos through the whole service, from upload to signed webhook."""

from __future__ import annotations

import typer
from rich.console import Console

from styleflow.cli.up import Home, errors_as_exit

LOG_WIDTH = 120
"""Characters of a line where no terminal sets a limit."""


def demo(home: Home = None) -> None:
    """Send every sample video through a service of its own on this machine, show the answers, and stop it."""
    with errors_as_exit():
        from styleflow.cli.demonstration import demonstrate
        from styleflow.cli.stack import home_folder
        from styleflow.processes import Stopped

        console = Console(highlight=False)
        if not console.is_terminal:
            console.width = LOG_WIDTH
        try:
            failures = demonstrate(console, home_folder(home))
        except Stopped:
            failures = ["it was interrupted"]
    for failure in failures:
        console.print(f"not as it should be: {failure}", style="red", markup=False)
    raise typer.Exit(1 if failures else 0)
