"""A command's block with a service in it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from styleflow.cli.remote.connection import address_of, ends
from styleflow.cli.remote.service import Service


@contextmanager
def reaching(url: str | None, key_file: Path | None) -> Iterator[Service]:
    """The service that the options name, for the time of the block. What is refused ends the command."""
    with ends():
        service = Service(address_of(url, key_file, os.environ))
        try:
            yield service
        finally:
            service.close()
