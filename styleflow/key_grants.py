"""What an API key may do and from where, and whether one key covers another. Pure: no clock, no session.

A key hands on no more than it has: not by making another, and not by rotating another's secret.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


@dataclass(frozen=True, kw_only=True)
class Grant:
    """Scopes, until when (None without end), from which networks (None from anywhere)."""

    scopes: frozenset[str]
    expires_at: datetime | None
    cidrs: tuple[str, ...] | None


def missing_scopes(holder: Grant, wanted: Grant) -> list[str]:
    """Scopes that the holder would give and does not have."""
    return sorted(wanted.scopes - holder.scopes)


def outlives(holder: Grant, wanted: Grant) -> bool:
    """Whether what is wanted would still be good when the holder no longer is."""
    if holder.expires_at is None:
        return False
    return wanted.expires_at is None or wanted.expires_at > holder.expires_at


def reaches_further(holder: Grant, wanted: Grant) -> bool:
    """Whether what is wanted could be used from where the holder cannot."""
    if holder.cidrs is None:
        return False
    if wanted.cidrs is None:
        return True
    own = networks(holder.cidrs)
    return not all(any(_within(network, one) for one in own) for network in networks(wanted.cidrs))


def networks(cidrs: Iterable[str]) -> list[Network]:
    """Raises ValueError for what is no network, or has bits beyond its prefix."""
    return [ip_network(cidr) for cidr in cidrs]


def parse_address(text: str | None) -> Address | None:
    """The address, an IPv4 one that comes in IPv6's clothes as IPv4; None for what is none, such as a UNIX socket."""
    try:
        address = ip_address((text or "").strip())
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def allowed_from(cidrs: Sequence[str] | None, address: Address | None) -> bool:
    """Whether a key with this list may be used from there. From an unknown place only without a list."""
    if cidrs is None:
        return True
    return address is not None and any(address in network for network in networks(cidrs))


def client_address(peer: str | None, forwarded: Sequence[str], trusted: Sequence[Network]) -> Address | None:
    """Who calls. The peer itself; behind a trusted proxy, the last of `forwarded` (the addresses of X-Forwarded-For, in
    their order) that is no trusted proxy. What stands before that could be anybody's invention.
    """
    address = parse_address(peer)
    for claimed in reversed(forwarded):
        if address is None or not any(address in network for network in trusted):
            break
        address = parse_address(claimed)
    return address


def _within(inner: Network, outer: Network) -> bool:
    if isinstance(inner, IPv4Network) and isinstance(outer, IPv4Network):
        return inner.subnet_of(outer)
    return isinstance(inner, IPv6Network) and isinstance(outer, IPv6Network) and inner.subnet_of(outer)
