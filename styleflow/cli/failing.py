"""How a command ends that cannot do what it was asked: one sentence on standard error, exit code 2."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import typer
from rich.console import Console

from styleflow.errors import StyleFlowError

BAD_INPUT = 2


@contextmanager
def errors_as_exit() -> Iterator[None]:
    """Errors of ours become their code and sentence; others pass through."""
    try:
        yield
    except StyleFlowError as error:
        Console(stderr=True).print(f"{error.code}: {error}", style="red", soft_wrap=True, markup=False)
        raise typer.Exit(BAD_INPUT) from error
