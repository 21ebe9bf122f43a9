from __future__ import annotations

from datetime import UTC, datetime, timedelta
from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from styleflow.key_grants import (
    Grant,
    allowed_from,
    client_address,
    missing_scopes,
    outlives,
    parse_address,
    reaches_further,
)

NOW = datetime(2026, 11, 20, tzinfo=UTC)


def network(octets: int, lowest: int) -> st.SearchStrategy[str]:
    """Networks near the lowest address of a family, so that they overlap."""
    return st.builds(
        lambda host, size: str(ip_network((host.to_bytes(octets, "big"), size), strict=False)),
        st.integers(0, 255),
        st.integers(lowest, octets * 8),
    )


CIDRS = st.lists(network(4, 22) | network(16, 118), min_size=1, max_size=4).map(tuple)
ADDRESSES = st.one_of(st.ip_addresses(v=4, network="0.0.0.0/22"), st.ip_addresses(v=6, network="::/118"))


def grant(*scopes: str, expires_at: datetime | None = None, cidrs: tuple[str, ...] | None = None) -> Grant:
    return Grant(scopes=frozenset(scopes), expires_at=expires_at, cidrs=cidrs)


def test_scopes_that_the_holder_lacks_are_named() -> None:
    assert missing_scopes(grant("a", "b"), grant("c", "b", "a0")) == ["a0", "c"]
    assert missing_scopes(grant("a", "b"), grant("b")) == []


@pytest.mark.parametrize(
    ("holder", "wanted", "longer"),
    [(None, None, False), (None, NOW, False), (NOW, None, True), (NOW, NOW, False), (NOW, NOW + timedelta(1), True)],
)
def test_a_key_outlives_another(holder: datetime | None, wanted: datetime | None, longer: bool) -> None:
    assert outlives(grant(expires_at=holder), grant(expires_at=wanted)) is longer


@given(CIDRS | st.none(), CIDRS | st.none(), ADDRESSES)
def test_what_reaches_no_further_is_good_from_nowhere_else(
    own: tuple[str, ...] | None, given_: tuple[str, ...] | None, address: object
) -> None:
    where = parse_address(str(address))
    if not reaches_further(grant(cidrs=own), grant(cidrs=given_)) and allowed_from(given_, where):
        assert allowed_from(own, where)


@given(CIDRS)
def test_a_key_reaches_no_further_than_itself(cidrs: tuple[str, ...]) -> None:
    assert not reaches_further(grant(cidrs=cidrs), grant(cidrs=cidrs))


@pytest.mark.parametrize(
    ("peer", "forwarded", "trusted", "expected"),
    [
        ("203.0.113.9", [], [], "203.0.113.9"),
        ("203.0.113.9", ["10.1.1.1"], [], "203.0.113.9"),
        ("203.0.113.9", ["10.1.1.1"], ["10.0.0.0/8"], "203.0.113.9"),
        ("10.0.0.1", ["198.51.100.7"], ["10.0.0.0/8"], "198.51.100.7"),
        ("10.0.0.1", ["6.6.6.6", "198.51.100.7", "10.0.0.2"], ["10.0.0.0/8"], "198.51.100.7"),
        ("10.0.0.1", ["198.51.100.7", "nonsense"], ["10.0.0.0/8"], None),
        ("10.0.0.1", [], ["10.0.0.0/8"], "10.0.0.1"),
        ("::ffff:203.0.113.9", [], [], "203.0.113.9"),
        (None, ["203.0.113.9"], ["0.0.0.0/0"], None),
    ],
)
def test_only_a_trusted_proxy_is_believed_and_only_its_own_word(
    peer: str | None, forwarded: list[str], trusted: list[str], expected: str | None
) -> None:
    found = client_address(peer, forwarded, [ip_network(one) for one in trusted])
    assert (None if found is None else str(found)) == expected


def test_from_an_unknown_place_a_key_with_a_list_is_not_good() -> None:
    assert allowed_from(None, None)
    assert not allowed_from(["0.0.0.0/0", "::/0"], None)
