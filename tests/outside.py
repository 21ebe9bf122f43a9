"""What the tests of the door to outside addresses share: a source, a resolver, a fetch."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from http.server import BaseHTTPRequestHandler
from ipaddress import ip_address

from styleflow.addresses import Address
from styleflow.egress import Egress, EgressPolicy
from tests.web_server import Route

LOCAL = EgressPolicy(allow_http=True, allow_loopback=True)
PUBLIC = "93.184.216.34"


def answer(body: bytes = b"video", status: int = 200, **headers: str) -> Route:
    def route(request: BaseHTTPRequestHandler) -> None:
        request.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            request.send_header(name.replace("_", "-"), value)
        request.end_headers()
        request.wfile.write(body)

    return route


def resolving(*addresses: str) -> Callable[[str, int], Sequence[Address]]:
    return lambda host, port: [ip_address(address) for address in addresses]


def fetched(egress: Egress, url: str, max_bytes: int = 1 << 20, seconds: float = 10.0) -> bytes:
    with egress.fetch(url, max_bytes=max_bytes, seconds=seconds) as download:
        return b"".join(download)


def drip(request: BaseHTTPRequestHandler) -> None:
    request.send_response(200)
    request.end_headers()
    while True:
        request.wfile.write(b"x")
        request.wfile.flush()
        time.sleep(0.02)
