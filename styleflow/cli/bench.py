"""`styleflow bench`: measure this machine's installation with the code of a checkout."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Measure what the service does on this machine.")


@app.callback()
def bench() -> None:
    """Measure what the service does on this machine."""


@app.command(
    epilog="Example: styleflow bench service --rows 100000 --seconds 10 --json figures.json",
)
def service(
    rows: Annotated[int, typer.Option(min=1, help="Lines of the batch, and jobs that wait.")] = 1_000_000,
    seconds: Annotated[float, typer.Option(min=0.5, help="How long each load lasts.")] = 20.0,
    json: Annotated[Path | None, typer.Option(help="Write the figures to this file as well.")] = None,
) -> None:
    """Accepting, expanding, listing and claiming at a million rows, beside the aims of the project.

    Starts a PostgreSQL, a Redis, an API and a light worker of its own and ends them; needs a checkout with the extras
    service, embedded and dev, and about 5 GB of disk for a million rows.
    """
    from styleflow.cli.stack import checkout_folder
    from styleflow.cli.up import errors_as_exit
    from styleflow.processes import die_with_parent

    with errors_as_exit():
        folder = checkout_folder()
    told = ["--rows", str(rows), "--seconds", str(seconds), *(["--json", str(json.absolute())] if json else [])]
    command = [sys.executable, "-m", "benchmarks.service", *told]
    # Whoever ends this command ends what it began: it stops its servers then.
    ended = subprocess.run(command, cwd=folder, preexec_fn=die_with_parent(signal.SIGTERM))
    raise typer.Exit(ended.returncode)
