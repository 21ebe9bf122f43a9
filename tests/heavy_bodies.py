"""Bodies that are large, or lie about it, sent over a bare socket; and what a process's memory made of them (Linux)."""

from __future__ import annotations

import re
import select
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

BLOCK = bytes(1 << 20)


@dataclass(frozen=True)
class Answered:
    """What the server said, and how many bytes of the body it had been sent by then."""

    status: int
    headers: str
    body: str
    sent: int


def send(
    url: str, *, size: int, content_length: int | None, method: str = "PUT", headers: str = "", hang_up: bool = False
) -> Answered | None:
    """Send `size` zeros, announced as `content_length` or, without one, in chunks, until the server answers.

    None when nothing came back: with `hang_up`, because we were gone.
    """
    parts = urlsplit(url)
    target = f"{parts.path}?{parts.query}" if parts.query else parts.path
    kind = "Transfer-Encoding: chunked" if content_length is None else f"Content-Length: {content_length}"
    head = f"{method} {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{kind}\r\n{headers}\r\n"
    with socket.create_connection((str(parts.hostname), int(parts.port or 80)), timeout=60) as connection:
        connection.sendall(head.encode())
        sent = _pour(connection, size, chunked=content_length is None)
        return None if hang_up else _answer(connection, sent)


def _pour(connection: socket.socket, size: int, *, chunked: bool) -> int:
    """How many bytes went out before the server had something to say."""
    sent = 0
    try:
        while sent < size and not select.select([connection], [], [], 0)[0]:
            block = BLOCK[: size - sent]
            connection.sendall(b"%x\r\n%b\r\n" % (len(block), block) if chunked else block)
            sent += len(block)
        if sent == size and chunked:
            connection.sendall(b"0\r\n\r\n")
    except (BrokenPipeError, ConnectionResetError):
        pass
    return sent


def _answer(connection: socket.socket, sent: int) -> Answered | None:
    heard = b""
    try:
        while data := connection.recv(1 << 16):
            heard += data
    except ConnectionResetError:
        pass
    head, _, body = heard.decode().partition("\r\n\r\n")
    return Answered(int(head.split()[1]), head, body, sent) if head else None


@contextmanager
def peak_growth(pid: int) -> Iterator[Callable[[], int]]:
    """Within the block, call the yielded function for how far the resident memory of the process has risen at most, in
    bytes, above where it stood at the beginning."""
    process = Path(f"/proc/{pid}")
    (process / "clear_refs").write_text("5")  # the peak is counted from here on
    before = _kilobytes(process, "VmRSS")
    yield lambda: (_kilobytes(process, "VmHWM") - before) * 1024


def _kilobytes(process: Path, name: str) -> int:
    found = re.search(rf"^{name}:\s+(\d+) kB", (process / "status").read_text(), re.MULTILINE)
    assert found, name
    return int(found[1])
