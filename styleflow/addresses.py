"""Which addresses of the web may be connected to. Pure: reads text and numbers, resolves and opens nothing.

A URL is read once, here; what is connected to is built from what was read, so no second parser can disagree.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from pathlib import Path

import httpx

from styleflow.errors import ConfigurationError, InvalidRequest, SourceNotAllowed

Address = IPv4Address | IPv6Address

MAX_URL_CHARACTERS = 4096
_PORTS = {"https": 443, "http": 80}
_NAME = re.compile(r"(?=.{1,253}$)[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)*")
_LOOKS_NUMERIC = re.compile(r"(.*\.)?(0x[0-9a-f]*|[0-9]+)")
"""A last label that old resolvers read as a number, so that the whole name is an IPv4 address in disguise."""

_GLOBAL_IPV6 = IPv6Network("2000::/3")
_BLOCKED = tuple(
    ip_network(text)
    for text in (
        # `is_global` knows most of these; they are spelt out because its list differs between Python releases.
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",  # carrier-grade NAT, also cloud-internal
        "127.0.0.0/8",
        "169.254.0.0/16",  # link-local: cloud metadata
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",
        "198.18.0.0/15",
        "224.0.0.0/3",  # multicast, reserved, broadcast
        "2001::/23",  # protocol assignments, Teredo among them
        "2001:db8::/32",
        "2002::/16",  # 6to4: an IPv4 address inside
        "3fff::/20",
        # Outside 2000::/3 and so refused as a whole: ::/96, ::ffff:0:0/96, 64:ff9b::/96, fc00::/7, fe80::/10, ff00::/8.
    )
)


@dataclass(frozen=True, kw_only=True)
class EgressPolicy:
    """What may leave the building. The defaults are those of production.

    `connect_to` holds `HOST1:PORT1:HOST2:PORT2` as curl's `--connect-to` does: a connection for HOST1:PORT1 is made to
    HOST2:PORT2, under the name of HOST1. An empty HOST1 or PORT1 matches any, an empty HOST2 or PORT2 keeps its own,
    an IPv6 address stands in brackets. A named HOST2 was chosen by whoever runs the service and is not checked.
    `ca_file` holds certificates in PEM form that are trusted besides the system's. A download that brings fewer than
    `minimum_bytes_per_second` over `minimum_rate_seconds` is given up.
    """

    allow_http: bool = False
    allow_loopback: bool = False
    connect_to: tuple[str, ...] = ()
    ca_file: Path | None = None
    connect_seconds: float = 5.0
    max_redirects: int = 3
    minimum_bytes_per_second: int = 16 << 10
    minimum_rate_seconds: float = 30.0


@dataclass(frozen=True)
class Target:
    """What a URL asks for. `host` is lower case, IDNA-encoded, without brackets; `path` holds the query, too."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def host_header(self) -> str:
        name = f"[{self.host}]" if ":" in self.host else self.host
        return name if self.port == _PORTS[self.scheme] else f"{name}:{self.port}"

    @property
    def origin(self) -> tuple[str, str, int]:
        return self.scheme, self.host, self.port


@dataclass(frozen=True)
class Diversion:
    """One `connect_to` entry. `host` and `port` None match anything; `to_host` and `to_port` None keep the target's."""

    host: str | None
    port: int | None
    to_host: str | None
    to_port: int | None

    def covers(self, target: Target) -> bool:
        return self.host in (None, target.host) and self.port in (None, target.port)


def read_url(url: str, policy: EgressPolicy) -> Target:
    """The target of a URL that may be asked for, as far as can be told without resolving its host.

    Raises InvalidRequest when it is no URL of the web, SourceNotAllowed when it is one that is never served.
    """
    target = _parse(url)
    if target.scheme == "http" and not policy.allow_http:
        raise SourceNotAllowed("only https addresses are fetched here")
    if diversion(target, policy) is not None:
        return target
    local = policy.allow_loopback and is_loopback_name(target.host)
    if not local and not _is_usual_port(target):
        raise SourceNotAllowed(f"port {target.port} is not connected to")
    if not local and (is_loopback_name(target.host) or not _is_allowed_host(target.host, policy)):
        raise SourceNotAllowed("this host is not connected to")
    return target


def is_allowed(address: Address, policy: EgressPolicy) -> bool:
    """Whether a resolved address may be connected to: global unicast, or loopback where that is allowed."""
    if address.is_loopback:
        return policy.allow_loopback
    if isinstance(address, IPv6Address) and address not in _GLOBAL_IPV6:
        return False
    return address.is_global and not any(address in network for network in _BLOCKED)


def is_loopback_name(host: str) -> bool:
    literal = literal_address(host)
    return literal.is_loopback if literal else host == "localhost" or host.endswith(".localhost")


def literal_address(host: str) -> Address | None:
    """The address that a host spells out in the one canonical form, else None."""
    try:
        return ip_address(host)
    except ValueError:
        return None


def diversion(target: Target, policy: EgressPolicy) -> Diversion | None:
    """The first `connect_to` entry that covers the target. Raises ConfigurationError for one that is malformed."""
    return next((entry for entry in map(read_diversion, policy.connect_to) if entry.covers(target)), None)


def read_diversion(text: str) -> Diversion:
    match = re.fullmatch(r"(\[[^]]*\]|[^:\[\]]*):(\d*):(\[[^]]*\]|[^:\[\]]*):(\d*)", text)
    if match is None:
        raise ConfigurationError("a connect-to entry reads HOST1:PORT1:HOST2:PORT2")
    host, port, to_host, to_port = (part.strip("[]").lower() or None for part in match.groups())
    return Diversion(host, int(port) if port else None, to_host, int(to_port) if to_port else None)


def all_allowed(addresses: Sequence[Address], target: Target, policy: EgressPolicy) -> bool:
    """Every single one: a name with one public and one private answer is a trap, or a mistake as good as one.

    Other ports than the usual ones are for loopback only, where that is allowed at all.
    """
    usual = _is_usual_port(target)
    return bool(addresses) and all(
        is_allowed(address, policy) and (usual or address.is_loopback) for address in addresses
    )


def _parse(url: str) -> Target:
    if len(url) > MAX_URL_CHARACTERS or not url.isprintable() or " " in url or "\\" in url:
        raise InvalidRequest("this is not the address of anything on the web")
    try:
        parts = httpx.URL(url)
        host = parts.raw_host.decode("ascii").lower().removesuffix(".")
        port = _PORTS.get(parts.scheme, 0) if parts.port is None else parts.port
        target = Target(parts.scheme, host, port, parts.raw_path.decode("ascii"))
    except (httpx.InvalidURL, UnicodeError, ValueError) as error:
        raise InvalidRequest("this is not the address of anything on the web") from error
    if target.scheme and target.scheme not in _PORTS:
        raise SourceNotAllowed("only https addresses are fetched here")
    if not target.scheme or port > 65535 or (literal_address(host) is None and not _NAME.fullmatch(host)):
        raise InvalidRequest("this is not the address of anything on the web")
    if parts.userinfo:
        raise SourceNotAllowed("an address with a user name or password in it is not connected to")
    return target


def _is_usual_port(target: Target) -> bool:
    return target.port in (_PORTS["https"], _PORTS[target.scheme])


def _is_allowed_host(host: str, policy: EgressPolicy) -> bool:
    literal = literal_address(host)
    if literal is not None:
        return is_allowed(literal, policy)
    return not _LOOKS_NUMERIC.fullmatch(host)
