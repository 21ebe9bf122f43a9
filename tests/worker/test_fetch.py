from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from styleflow.egress import Egress, EgressPolicy
from styleflow.errors import Cancelled, SourceForbidden, SourceNotFound
from tests.worker.conftest import Bench
from worker.fetch import Sources, fetch_watched


@pytest.fixture
def silent_server() -> Iterator[int]:
    """A server that takes connections and never answers; its port."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def sources(bench: Bench) -> Sources:
    return replace(
        bench.execution.sources, egress=Egress(EgressPolicy(allow_http=True, allow_loopback=True)), seconds=20.0
    )


def test_a_source_that_falls_silent_does_not_keep_a_job_from_being_stopped(
    sources: Sources, silent_server: int, tmp_path: Path
) -> None:
    asked = threading.Event()
    threading.Timer(0.5, asked.set).start()
    started = time.monotonic()

    def checkpoint() -> None:
        if asked.is_set():
            raise Cancelled

    with pytest.raises(Cancelled):
        fetch_watched(
            {"type": "url", "url": f"http://127.0.0.1:{silent_server}/clip.mp4"}, sources, tmp_path, checkpoint
        )

    assert time.monotonic() - started < 5


def test_what_fetching_meets_is_raised_where_it_is_waited_for(sources: Sources, tmp_path: Path) -> None:
    with pytest.raises(SourceNotFound):
        fetch_watched({"type": "upload", "key": "videos/nowhere"}, sources, tmp_path, lambda: None)
    with pytest.raises(SourceNotFound):
        fetch_watched({"type": "upload", "upload_id": "upl_1"}, sources, tmp_path, lambda: None)
    with pytest.raises(SourceForbidden):
        fetch_watched({"type": "inline"}, sources, tmp_path, lambda: None)
