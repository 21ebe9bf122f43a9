"""Where the servers of a benchmark live: a folder that is gone afterwards, with that of their sockets."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from styleflow.embedded import socket_folder


@contextmanager
def temporary_home() -> Iterator[Path]:
    """For one run. Root's database lies beside the sockets, which is more than the home itself has."""
    with tempfile.TemporaryDirectory(prefix="styleflow-bench-") as folder:
        try:
            yield Path(folder)
        finally:
            shutil.rmtree(socket_folder(Path(folder)), ignore_errors=True)
