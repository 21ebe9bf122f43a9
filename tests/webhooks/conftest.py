"""A receiver that listens, and a project."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from styleflow.api_keys import SecretBox, ensure_project
from styleflow.database import Database
from styleflow.egress import Egress, EgressPolicy
from tests.webhooks.office import Office, Receiver


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            with suppress(OSError, ValueError):  # the deliverer may have given up
                receiver.receive(self)

        def finish(self) -> None:
            with suppress(OSError, ValueError):
                super().finish()

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    receiver.port = server.server_port
    thread = Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield receiver
    receiver.over.set()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="session")
def egress() -> Egress:
    return Egress(EgressPolicy(allow_http=True, allow_loopback=True))


@pytest.fixture(scope="session")
def secrets() -> SecretBox:
    return SecretBox("a secret key for tests")


@pytest.fixture
def office(database: Database, secrets: SecretBox, egress: Egress) -> Office:
    with database.transaction() as session:
        return Office(database, secrets, egress, ensure_project(session, "acme").id)
