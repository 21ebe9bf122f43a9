"""Connections to addresses that were chosen beforehand, under one deadline, whatever the other side does."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable, Iterable, Sequence
from ipaddress import ip_address
from threading import Thread

import httpcore

from styleflow.addresses import Address

Resolver = Callable[[str, int], Sequence[Address]]
"""(host, port) -> every address of the host. Raises OSError when there is none."""


class DnsFailed(httpcore.ConnectError):
    """The host's name has no address, or none was found in time."""


class TlsFailed(httpcore.ConnectError):
    """The handshake failed: no TLS, or a certificate of another name or of nobody trusted."""


class Deadline:
    """A moment by which everything must be over."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    def left(self, at_most: float | None = None) -> float:
        """Seconds that may still be used, above 0. Raises httpcore.TimeoutException when there are none."""
        left = self._end - time.monotonic()
        if left <= 0:
            raise httpcore.ReadTimeout("the time is over")
        return left if at_most is None else min(left, at_most)


def system_resolver(host: str, port: int) -> Sequence[Address]:
    """What the operating system answers."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [ip_address(answer[4][0]) for answer in found]


def resolve(resolver: Resolver, host: str, port: int, deadline: Deadline) -> list[Address]:
    """Every address once, in the order given. Raises DnsFailed, also when the resolver takes too long.

    The system's resolver knows no timeout of ours, so it is left behind in a thread of its own when it hangs.
    """
    answers: list[Address] = []
    errors: list[OSError] = []

    def ask() -> None:
        try:
            answers.extend(dict.fromkeys(resolver(host, port)))
        except (OSError, UnicodeError) as error:
            errors.append(OSError(str(error)))

    thread = Thread(target=ask, name="resolve", daemon=True)
    thread.start()
    thread.join(deadline.left())
    if thread.is_alive() or errors or not answers:
        raise DnsFailed("no address was found")
    return answers


class PinnedBackend(httpcore.NetworkBackend):
    """Opens TCP connections to `addresses` and `port` only, whatever host it is asked for; the first that answers."""

    def __init__(self, addresses: Sequence[Address], port: int, deadline: Deadline) -> None:
        self._addresses = addresses
        self._port = port
        self._deadline = deadline
        self._system = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,  # noqa: ARG002 (the point of this class is not to look it up)
        port: int,  # noqa: ARG002
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        failure: Exception = httpcore.ConnectError("there is no address")
        for address in self._addresses:
            try:
                stream = self._system.connect_tcp(
                    str(address), self._port, self._deadline.left(timeout), local_address, socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
            else:
                return _BoundedStream(stream, self._deadline)
        raise failure


class _BoundedStream(httpcore.NetworkStream):
    """A stream of which no single step outlasts the deadline, so a receiver that drips cannot hold us for ever."""

    def __init__(self, stream: httpcore.NetworkStream, deadline: Deadline) -> None:
        self._stream = stream
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, self._deadline.left(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, self._deadline.left(timeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        try:
            stream = self._stream.start_tls(ssl_context, server_hostname, self._deadline.left(timeout))
        except httpcore.ConnectError as error:
            raise TlsFailed("the TLS handshake failed") from error
        return _BoundedStream(stream, self._deadline)

    def get_extra_info(self, info: str) -> object:
        return self._stream.get_extra_info(info)
