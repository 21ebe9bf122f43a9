"""A webhook receiver on this machine, as a customer would write one: it believes nothing that is not signed."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from styleflow.webhooks import signature

_LARGEST_BODY = 64 << 10


class Receiver:
    """What arrived. Safe to ask from any thread."""

    def __init__(self) -> None:
        self.url = ""
        self.secret = ""
        """Shown once, when the endpoint is made; until then nothing is believed."""
        self.refused = 0
        self._types: dict[str, list[str]] = {}
        self._changed = threading.Condition()

    def accept(self, headers: dict[str, str], body: bytes) -> bool:
        """Note the event if its signature is right."""
        believed = bool(self.secret) and signature.verify(self.secret, headers, body, now=time.time())
        with self._changed:
            if believed:
                event = json.loads(body)
                self._types.setdefault(str(event["data"].get("job_id")), []).append(event["type"])
            elif self.secret:  # what comes earlier, the first ping perhaps, is sent again
                self.refused += 1
            self._changed.notify_all()
        return believed

    def heard(self, job_id: str, event_type: str) -> bool:
        """Whether that event of that job arrived with a right signature."""
        with self._changed:
            return event_type in self._types.get(job_id, [])

    def await_all(self, expected: dict[str, str], seconds: float, *, interrupted: Callable[[], bool]) -> None:
        """Wait until every job's event arrived, or that long, or until interrupted (looked at every second)."""
        deadline = time.monotonic() + seconds
        with self._changed:
            while any(kind not in self._types.get(job, []) for job, kind in expected.items()):
                if interrupted() or time.monotonic() > deadline:
                    return
                self._changed.wait(1.0)


@contextmanager
def listening() -> Iterator[Receiver]:
    """A receiver on a free port of the loopback interface."""
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = min(int(self.headers.get("content-length") or 0), _LARGEST_BODY)
            headers = {name.lower(): value for name, value in self.headers.items()}
            self.send_response(204 if receiver.accept(headers, self.rfile.read(length)) else 400)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Stay silent: the terminal belongs to the progress display."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    receiver.url = f"http://127.0.0.1:{server.server_port}/hooks"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
