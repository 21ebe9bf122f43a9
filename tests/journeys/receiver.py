"""A webhook receiver that really listens, for journeys."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Received:
    """What arrived, in order: headers in lower case, and the raw body."""

    url: str
    calls: list[tuple[dict[str, str], bytes]] = field(default_factory=list)

    def events(self, job_id: str) -> list[str]:
        """The types of the events that were received for one job."""
        bodies: list[dict[str, Any]] = [json.loads(body) for _, body in list(self.calls)]
        return [body["type"] for body in bodies if body["data"].get("job_id") == job_id]


@contextmanager
def listening() -> Iterator[Received]:
    """A receiver on a free loopback port that answers 200 to everything."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            received.calls.append(({name.lower(): value for name, value in self.headers.items()}, body))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    received = Received(f"http://127.0.0.1:{server.server_port}/hook")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield received
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
