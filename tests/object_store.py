"""A running S3 server for tests (moto's), and a proxy in front of it that has bad days.

moto enforces neither the length nor the checksum nor the end of a presigned address: what is signed is asserted on the
address itself.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from typing import Any, Literal
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import boto3
from moto.server import ThreadedMotoServer

Fault = Literal["refuse", "reset", "cut"]
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
_PASSED = ("content-type", "etag", "content-range", "last-modified", "x-amz-version-id", "x-amz-meta-sha256")


@contextmanager
def moto_server() -> Iterator[str]:
    """Its address."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    try:
        yield f"http://{host}:{port}"
    finally:
        server.stop()


def s3_client(endpoint: str) -> Any:
    return boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id=CREDENTIALS["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
    )


def make_bucket(endpoint: str, *, versioned: bool = False) -> str:
    """A new bucket's name."""
    name, client = f"bucket-{uuid4().hex}", s3_client(endpoint)
    client.create_bucket(Bucket=name)
    if versioned:
        client.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    return name


def signed_headers(url: str) -> set[str]:
    """The headers that a presigned address binds: without them, or with others, the store refuses the request."""
    return set(parse_qs(urlsplit(url).query)["X-Amz-SignedHeaders"][0].split(";"))


@dataclass
class FaultyProxy:
    """Passes requests on to a store, but for as many faults as it is told; remembers what was asked for."""

    store: str
    url: str = ""
    faults: list[Fault] = field(default_factory=list)
    """What happens to the next requests of `method`: refused with 503, reset before an answer, or the answer ends in
    its middle. (A reset there would also take away what had arrived and was not read yet.)"""
    method: str = "GET"
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    """Method and Range of every request."""
    _lock: Lock = field(default_factory=Lock)

    def next_fault(self, method: str, ranged: str | None) -> Fault | None:
        with self._lock:
            self.asked.append((method, ranged))
            return self.faults.pop(0) if self.faults and method == self.method else None


@contextmanager
def faulty(store: str) -> Iterator[FaultyProxy]:
    proxy = FaultyProxy(store)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            self.close_connection = True  # a connection for each request, so that a reset hits one of them
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            fault = proxy.next_fault(self.command, self.headers["Range"])
            if fault == "refuse":
                self.send_response(503)
                self.send_header("Content-Length", "0")
                self.end_headers()
            elif fault == "reset":
                self.reset()
            else:
                self.pass_on(body, cut=fault == "cut")

        def do_GET(self) -> None:
            self.handle_any()

        def do_HEAD(self) -> None:
            self.handle_any()

        def do_PUT(self) -> None:
            self.handle_any()

        def do_POST(self) -> None:
            self.handle_any()

        def do_DELETE(self) -> None:
            self.handle_any()

        def pass_on(self, body: bytes, *, cut: bool) -> None:
            parts = urlsplit(proxy.store)
            connection = HTTPConnection(str(parts.hostname), int(parts.port or 80), timeout=30)
            try:
                connection.request(self.command, self.path, body, dict(self.headers.items()))
                answer = connection.getresponse()
                content = answer.read()
            finally:
                connection.close()
            self.send_response(answer.status)
            for name in _PASSED:
                if (value := answer.headers[name]) is not None:
                    self.send_header(name, value)
            self.send_header("Content-Length", answer.headers["Content-Length"] or str(len(content)))
            self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(content[: len(content) // 2] if cut else content)

        def reset(self) -> None:
            """Close so that the other side gets a reset, not an end."""
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()

        def finish(self) -> None:
            try:
                super().finish()
            except (OSError, ValueError):
                return  # it was reset

        def log_message(self, format: str, *args: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def shutdown_request(self, request: Any) -> None:
            try:
                super().shutdown_request(request)
            except (OSError, ValueError):
                return

        def handle_error(self, request: Any, client_address: Any) -> None:
            pass

    server = Server(("127.0.0.1", 0), Handler)
    proxy.url = f"http://127.0.0.1:{server.server_port}"
    thread = Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield proxy
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
