"""The one door out of the building: every connection to an address that a caller gave us is made here.

A host is resolved once, every answer must be allowed, and the connection goes to just those addresses, under the
host's own name (Host header, SNI, certificate). Each redirect is a new address with the same questions asked. Bytes,
time and rate are capped while reading; nothing is believed about lengths. Proxies in the environment are ignored.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Literal

import certifi
import httpcore
import httpx

from styleflow.addresses import (
    Address,
    EgressPolicy,
    Target,
    all_allowed,
    diversion,
    literal_address,
    read_diversion,
    read_url,
)
from styleflow.connections import (
    Deadline,
    DnsFailed,
    PinnedBackend,
    Resolver,
    TlsFailed,
    resolve,
    system_resolver,
)
from styleflow.errors import (
    BlockedAddress,
    RequestError,
    SourceForbidden,
    SourceNotFound,
    SourceUnavailable,
    TooLarge,
)

__all__ = ["Answer", "Download", "Egress", "EgressPolicy", "Failure"]

Failure = Literal["timeout", "connect", "tls", "dns", "protocol"]
"""`details["failure"]` of a SourceUnavailable: the class of what went wrong before there was an answer."""

EXCERPT_BYTES = 1024
_READ_AT_MOST_BYTES = 64 << 10
_REDIRECTS = (301, 302, 303, 307, 308)
_OWN_HEADERS = {"host", "accept-encoding", "connection", "content-length", "transfer-encoding", "user-agent"}
_USER_AGENT = "styleflow/1"


@dataclass(frozen=True)
class Download:
    """A body that is being fetched. Iterating it gives its chunks once, in order; header names are lower case."""

    url: str
    headers: Mapping[str, str]
    chunks: Iterator[bytes]

    def __iter__(self) -> Iterator[bytes]:
        return self.chunks


@dataclass(frozen=True)
class Answer:
    """What a receiver said. Header names are lower case; `excerpt` is the body's first kilobyte, at most, as text."""

    status: int
    headers: Mapping[str, str]
    excerpt: str


class Egress:
    """Fetches sources and posts webhooks under one policy. Safe to share between threads."""

    def __init__(self, policy: EgressPolicy, *, resolver: Resolver = system_resolver) -> None:
        self._policy = policy
        self._resolver = resolver
        self._tls = _tls_context(policy)
        for entry in policy.connect_to:
            read_diversion(entry)

    def check_url(self, url: str) -> None:
        """Refuse at submit time what can be refused without the network.

        Raises InvalidRequest for what is no web address, SourceNotAllowed for a scheme, port, host or address that is
        never connected to. What the host resolves to is only known, and checked, when it is connected to.
        """
        read_url(url, self._policy)

    @contextmanager
    def fetch(
        self, url: str, headers: Mapping[str, str] | None = None, *, max_bytes: int, seconds: float
    ) -> Iterator[Download]:
        """The body behind a URL, over at most `max_redirects` redirects; `seconds` for all of it.

        The caller's headers go to the first origin only. Raises BlockedAddress, SourceNotFound (404, 410),
        SourceForbidden (any other 4xx that a repetition does not mend), TooLarge, SourceUnavailable.
        """
        deadline = Deadline(seconds)
        with ExitStack() as connections:
            target, response = self._follow(connections, url, dict(headers or {}), deadline)
            found = _headers(response)
            _check_status(response.status)
            _check_length(found, max_bytes)
            chunks = _within_limits(response, max_bytes, self._policy)
            yield Download(f"{target.scheme}://{target.host_header}{target.path}", found, chunks)

    def post(self, url: str, body: bytes, headers: Mapping[str, str], timeout: float) -> Answer:
        """Send a webhook and read the answer, whatever its status; `timeout` seconds for all of it, no redirects.

        Raises BlockedAddress, and SourceUnavailable with the `failure` in its details when there is no answer.
        """
        deadline = Deadline(timeout)
        target = self._target(url)
        with self._open("POST", target, headers, body, deadline) as response:
            return Answer(response.status, _headers(response), _excerpt(response))

    def _follow(
        self, connections: ExitStack, url: str, headers: Mapping[str, str], deadline: Deadline
    ) -> tuple[Target, httpcore.Response]:
        target = first = self._target(url)
        for _ in range(self._policy.max_redirects + 1):
            sent = headers if target.origin == first.origin else {}
            response = connections.enter_context(self._open("GET", target, sent, None, deadline))
            location = _headers(response).get("location")
            if response.status not in _REDIRECTS or location is None:
                return target, response
            connections.pop_all().close()
            target = self._target(_joined(target, location))
        raise SourceUnavailable("the source redirects too often")

    def _target(self, url: str) -> Target:
        """The target of a URL at the time of connecting, when a refusal is no longer a bad request."""
        try:
            return read_url(url, self._policy)
        except RequestError as error:
            raise BlockedAddress(str(error)) from error

    def _route(self, target: Target, deadline: Deadline) -> tuple[list[Address], int]:
        """The addresses and the port to connect to. Raises BlockedAddress unless every answer is allowed."""
        turn = diversion(target, self._policy)
        chosen = turn is not None and turn.to_host is not None
        host = turn.to_host if turn and turn.to_host else target.host
        port = turn.to_port if turn and turn.to_port else target.port
        literal = literal_address(host)
        addresses = [literal] if literal else resolve(self._resolver, host, port, deadline)
        if not chosen and not all_allowed(addresses, target, self._policy):
            raise BlockedAddress
        return addresses, port

    @contextmanager
    def _open(
        self, method: str, target: Target, headers: Mapping[str, str], body: bytes | None, deadline: Deadline
    ) -> Iterator[httpcore.Response]:
        patience = self._policy.minimum_rate_seconds
        timeouts = {"connect": self._policy.connect_seconds, "read": patience, "write": patience}
        with _translated():
            addresses, port = self._route(target, deadline)
            connection = httpcore.HTTPConnection(
                httpcore.Origin(target.scheme.encode(), target.host.encode(), target.port),
                ssl_context=self._tls,
                network_backend=PinnedBackend(addresses, port, deadline),
            )
        with _closing(connection):
            with _translated():
                response = connection.handle_request(
                    httpcore.Request(
                        method,
                        httpcore.URL(
                            scheme=target.scheme.encode(),
                            host=target.host.encode(),
                            port=target.port,
                            target=target.path.encode(),
                        ),
                        headers=_sent_headers(target, headers, body),
                        content=body,
                        extensions={"timeout": timeouts},
                    )
                )
            yield response


@contextmanager
def _closing(connection: httpcore.HTTPConnection) -> Iterator[None]:
    try:
        yield
    finally:
        connection.close()


def _tls_context(policy: EgressPolicy) -> ssl.SSLContext:
    """Certificates of the system and of certifi, because either may be empty; and those of `ca_file`."""
    context = ssl.create_default_context(cafile=certifi.where())
    context.load_default_certs()
    if policy.ca_file is not None:
        context.load_verify_locations(policy.ca_file)
    return context


def _sent_headers(target: Target, headers: Mapping[str, str], body: bytes | None) -> list[tuple[str, str]]:
    """The caller's headers, and ours, which cannot be overridden. Only identity encoding: a bomb stays as it is."""
    length = [] if body is None else [("content-length", str(len(body)))]
    agent = next((value for name, value in headers.items() if name.lower() == "user-agent"), _USER_AGENT)
    return [
        ("host", target.host_header),
        ("user-agent", agent),
        ("accept-encoding", "identity"),
        ("connection", "close"),
        *length,
        *((name, value) for name, value in headers.items() if name.lower() not in _OWN_HEADERS),
    ]


def _headers(response: httpcore.Response) -> dict[str, str]:
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in response.headers}


def _joined(target: Target, location: str) -> str:
    base = f"{target.scheme}://{target.host_header}{target.path}"
    try:
        return str(httpx.URL(base).join(location))
    except (httpx.InvalidURL, ValueError) as error:
        raise BlockedAddress("the source redirects to what is no web address") from error


def _check_status(status: int) -> None:
    if status == 200:
        return
    if status in (404, 410):
        raise SourceNotFound
    if status in (408, 425, 429) or not 400 <= status < 500:
        raise SourceUnavailable(f"the source answered with status {status}")
    raise SourceForbidden(f"the source refused with status {status}")


def _check_length(headers: Mapping[str, str], max_bytes: int) -> None:
    if headers.get("content-encoding", "identity").strip().lower() not in ("", "identity"):
        raise SourceUnavailable("the source answered in an encoding that was not asked for")
    length = headers.get("content-length", "0")
    if length.isdecimal() and int(length) > max_bytes:
        raise TooLarge(f"the source has more than {max_bytes} bytes")


def _within_limits(response: httpcore.Response, max_bytes: int, policy: EgressPolicy) -> Iterator[bytes]:
    """The body's chunks. Only waiting for the network counts as time, not what the reader does with a chunk."""
    total, window_bytes, window_seconds = 0, 0, 0.0
    chunks = iter(response.iter_stream())
    while True:
        before = time.monotonic()
        with _translated():
            chunk = next(chunks, None)
        if chunk is None:
            return
        window_seconds += time.monotonic() - before
        window_bytes += len(chunk)
        total += len(chunk)
        if total > max_bytes:
            raise TooLarge(f"the source has more than {max_bytes} bytes")
        if window_seconds >= policy.minimum_rate_seconds:
            if window_bytes < policy.minimum_bytes_per_second * window_seconds:
                raise SourceUnavailable("the source sends too slowly", failure="timeout")
            window_bytes, window_seconds = 0, 0.0
        yield chunk


def _excerpt(response: httpcore.Response) -> str:
    """The first kilobyte as text that a database takes. The rest is read up to a limit, out of politeness only."""
    kept, total = b"", 0
    try:
        for chunk in response.iter_stream():
            kept = (kept + chunk)[:EXCERPT_BYTES]
            total += len(chunk)
            if total >= _READ_AT_MOST_BYTES:
                break
    except (httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError):
        # the status has come, and it is what counts
        pass
    return kept.decode("utf-8", "replace").replace("\0", "\N{REPLACEMENT CHARACTER}")


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except httpcore.TimeoutException as error:
        raise SourceUnavailable("there was no answer in time", failure="timeout") from error
    except DnsFailed as error:
        raise SourceUnavailable("the host's name has no address", failure="dns") from error
    except TlsFailed as error:
        raise SourceUnavailable("no trusted TLS connection could be made", failure="tls") from error
    except httpcore.NetworkError as error:
        raise SourceUnavailable("the connection failed", failure="connect") from error
    except (httpcore.ProtocolError, httpcore.UnsupportedProtocol) as error:
        raise SourceUnavailable("the answer is not HTTP", failure="protocol") from error
