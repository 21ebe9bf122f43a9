"""`styleflow up`: the whole service on this machine, until Ctrl-C."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError
from rich.console import Console

from styleflow.errors import StyleFlowError
from styleflow.settings import Settings

Home = Annotated[
    Path | None,
    typer.Option(envvar="STYLEFLOW_HOME", help="Where data, keys and logs are kept.", show_default=".styleflow"),
]


def up(home: Home = None) -> None:
    """Start PostgreSQL, Redis, workers and the API, keep them running, and stop them on Ctrl-C.

    What STYLEFLOW_DATABASE_URL, STYLEFLOW_REDIS_URL or STYLEFLOW_BUCKET_URL name is used instead of an own one.
    """
    from styleflow.cli.stack import Place, checkout_folder, home_folder, running_stack
    from styleflow.processes import Stopped

    console = Console(highlight=False, soft_wrap=True)

    def tell(line: str) -> None:
        console.print(line, markup=False)

    with errors_as_exit(), suppress(Stopped):
        settings = Settings()
        place = Place(home=home_folder(home), checkout=checkout_folder(), host=settings.host, port=settings.port)
        tell(f"starting in {place.home}")
        with running_stack(place, os.environ, tell=tell) as supervisor:
            tell(f"listening on {place.url}   the API's pages: {place.url}/docs")
            tell(f"API key in {place.key_file}   logs in {place.home / 'logs'}")
            tell("Ctrl-C stops everything")
            supervisor.watch()
            tell("stopping")


@contextmanager
def errors_as_exit() -> Iterator[None]:
    """Show an expected error as one sentence and exit with 1."""
    try:
        yield
    except (StyleFlowError, ValidationError) as error:
        Console(stderr=True, soft_wrap=True).print(f"error: {sentence(error)}", style="red", markup=False)
        raise typer.Exit(1) from error


def sentence(error: StyleFlowError | ValidationError) -> str:
    """What went wrong in one line; a setting is named as its variable."""
    if isinstance(error, StyleFlowError):
        return str(error)
    first = error.errors()[0]
    name = "_".join(str(part) for part in first["loc"]).upper().removeprefix("STYLEFLOW_")
    return f"the setting STYLEFLOW_{name} cannot be used: {first['msg']}"
