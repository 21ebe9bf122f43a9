from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from styleflow.addresses import EgressPolicy, Target, diversion, is_allowed, read_diversion, read_url
from styleflow.errors import ConfigurationError, InvalidRequest, RequestError, SourceNotAllowed

PRODUCTION = EgressPolicy()
HTTP = EgressPolicy(allow_http=True)
DEVELOPMENT = EgressPolicy(allow_http=True, allow_loopback=True)

FORBIDDEN = [
    "http://example.com/clip.mp4",
    "ftp://example.com/clip.mp4",
    "file:///etc/passwd",
    "gopher://example.com/",
    "data:text/plain,hello",
    "https://user@example.com/",
    "https://user:password@example.com/",
    "https://example.com:22/",
    "https://example.com:8443/",
    "https://example.com:6379/",
    "https://example.com:0/",
    "https://localhost/",
    "https://LOCALHOST./",
    "https://api.localhost/",
    "https://127.0.0.1/",
    "https://127.0.0.1./",
    "https://127。0。0。1/",
    "https://0.0.0.0/",
    "https://10.1.2.3/",
    "https://172.16.0.1/",
    "https://192.168.1.1/",
    "https://100.64.0.1/",
    "https://169.254.169.254/latest/meta-data/",
    "https://192.0.0.192/",
    "https://198.18.0.1/",
    "https://224.0.0.1/",
    "https://240.0.0.1/",
    "https://255.255.255.255/",
    "https://0x7f.1/",
    "https://127.1/",
    "https://2130706433/",
    "https://0x7f000001/",
    "https://017700000001/",
    "https://[::1]/",
    "https://[::]/",
    "https://[::ffff:127.0.0.1]/",
    "https://[::ffff:169.254.169.254]/",
    "https://[::127.0.0.1]/",
    "https://[64:ff9b::7f00:1]/",
    "https://[2002:7f00:1::]/",
    "https://[2001:0:4136:e378:8000:63bf:3fff:fdd2]/",
    "https://[fd00:ec2::254]/",
    "https://[fe80::1]/",
    "https://[ff02::1]/",
]

NONSENSE = [
    "",
    "clip.mp4",
    "//example.com/clip.mp4",
    "https://",
    "https:///clip.mp4",
    "https:example.com",
    "https://exa mple.com/",
    "https://example.com\t/",
    "https://example.com/\r\nHost: evil",
    "https://example.com\\@127.0.0.1/",
    "https://a..b/",
    "https://a%2eb/",
    "https://①②⑦.⓪.⓪.①/",
    "https://0177.0.0.1/",
    "https://example.com:port/",
    "https://example.com:70000/",
    "https://[::1/",
    "https://" + "a" * 64 + ".com/",
    "https://" + ".".join(["abcdefgh"] * 40) + "/",
    "https://example.com/" + "a" * 5000,
]


@pytest.mark.parametrize("url", FORBIDDEN)
def test_an_address_that_is_never_connected_to_is_not_allowed(url: str) -> None:
    with pytest.raises(SourceNotAllowed):
        read_url(url, PRODUCTION)


@pytest.mark.parametrize("url", [url.replace("https://", "http://") for url in FORBIDDEN[1:]])
def test_allowing_http_opens_no_other_door(url: str) -> None:
    with pytest.raises(SourceNotAllowed):
        read_url(url, HTTP)


@pytest.mark.parametrize("url", NONSENSE)
def test_what_is_no_web_address_is_an_invalid_request(url: str) -> None:
    with pytest.raises(InvalidRequest):
        read_url(url, PRODUCTION)


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("https://example.com/a?b=c#d", Target("https", "example.com", 443, "/a?b=c")),
        ("HTTPS://EXAMPLE.com.", Target("https", "example.com", 443, "/")),
        ("https://bücher.example/ü", Target("https", "xn--bcher-kva.example", 443, "/%C3%BC")),
        ("https://93.184.216.34/", Target("https", "93.184.216.34", 443, "/")),
        ("https://[2606:2800:220:1::1]/", Target("https", "2606:2800:220:1::1", 443, "/")),
    ],
)
def test_a_public_address_is_read_in_its_normal_form(url: str, target: Target) -> None:
    assert read_url(url, PRODUCTION) == target


def test_http_is_read_where_it_is_allowed() -> None:
    assert read_url("http://example.com/", HTTP) == Target("http", "example.com", 80, "/")


@pytest.mark.parametrize(
    "url", ["http://localhost:8000/", "http://127.0.0.1:8000/", "http://[::1]:9/", "http://a.localhost/"]
)
def test_loopback_at_any_port_is_read_in_development(url: str) -> None:
    assert read_url(url, DEVELOPMENT).scheme == "http"


@pytest.mark.parametrize(
    "url", ["http://10.0.0.1/", "http://example.com:8000/", "http://169.254.169.254/", "http://127.1/"]
)
def test_development_opens_loopback_only(url: str) -> None:
    with pytest.raises(SourceNotAllowed):
        read_url(url, DEVELOPMENT)


@given(st.text(max_size=60) | st.from_regex(r"https?://[ -~]{0,40}", fullmatch=True))
def test_any_text_is_read_or_refused_in_words(url: str) -> None:
    try:
        target = read_url(url, PRODUCTION)
    except RequestError:
        return
    assert (target.scheme, target.port) == ("https", 443)
    assert target.host_header.isascii()
    assert target.path.startswith("/")


@given(st.ip_addresses(v=4))
def test_no_ipv4_address_inside_an_ipv6_one_is_allowed(address: IPv4Address) -> None:
    number = int(address)
    carriers = [number, 0xFFFF << 32 | number, int(ip_address("64:ff9b::")) | number, 0x2002 << 112 | number << 80]

    assert not any(is_allowed(IPv6Address(carrier), PRODUCTION) for carrier in carriers)


@given(st.ip_addresses())
def test_an_address_that_is_not_global_unicast_is_not_allowed(address: IPv4Address | IPv6Address) -> None:
    if not address.is_global or address.is_multicast:
        assert not is_allowed(address, PRODUCTION)


def test_a_connect_to_entry_reads_as_curl_s() -> None:
    entry = read_diversion("Example.com:443:[::1]:8443")

    assert (entry.host, entry.port, entry.to_host, entry.to_port) == ("example.com", 443, "::1", 8443)
    assert read_diversion("::proxy:").to_host == "proxy"


@pytest.mark.parametrize("text", ["", "example.com", "a:b:c:d", "a:1:b:2:c", "::1:443:a:1"])
def test_a_malformed_connect_to_entry_is_a_mistake_in_the_settings(text: str) -> None:
    with pytest.raises(ConfigurationError):
        read_diversion(text)


def test_the_first_entry_that_covers_the_target_counts() -> None:
    policy = EgressPolicy(connect_to=("other.test:443:a:1", "example.com:80:b:2", "example.com::c:3", ":::4"))

    turn = diversion(Target("https", "example.com", 443, "/"), policy)

    assert turn is not None
    assert (turn.to_host, turn.to_port) == ("c", 3)
    assert diversion(Target("https", "example.com", 443, "/"), PRODUCTION) is None
