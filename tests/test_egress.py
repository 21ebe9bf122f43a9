from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler
from ipaddress import ip_address
from pathlib import Path
from typing import NoReturn

import httpcore
import pytest

from styleflow.addresses import Address
from styleflow.egress import Download, Egress, EgressPolicy
from styleflow.errors import (
    BlockedAddress,
    SourceError,
    SourceForbidden,
    SourceNotAllowed,
    SourceNotFound,
    SourceUnavailable,
    TooLarge,
)
from tests.outside import LOCAL, PUBLIC, answer, drip, fetched, resolving
from tests.web_server import certificates, serving


@pytest.fixture
def connected(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Where a connection was tried; none is made."""
    tried: list[str] = []

    def connect_tcp(self: object, host: str, *rest: object) -> NoReturn:
        tried.append(host)
        raise httpcore.ConnectError("no network in this test")

    monkeypatch.setattr(httpcore.SyncBackend, "connect_tcp", connect_tcp)
    return tried


# --- who may be connected to -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.0.0.1", "169.254.169.254", "100.64.0.1", "::1", "fd00:ec2::254", "::ffff:10.0.0.1", "0.0.0.0"],
)
def test_a_name_that_resolves_to_the_inside_is_blocked(address: str, connected: list[str]) -> None:
    egress = Egress(EgressPolicy(), resolver=resolving(address))

    with pytest.raises(BlockedAddress):
        fetched(egress, "https://example.com/")
    with pytest.raises(BlockedAddress):
        egress.post("https://example.com/", b"{}", {}, 1.0)
    assert connected == []


def test_one_public_and_one_private_answer_are_blocked(connected: list[str]) -> None:
    egress = Egress(EgressPolicy(), resolver=resolving(PUBLIC, "10.0.0.1"))

    with pytest.raises(BlockedAddress):
        fetched(egress, "https://example.com/")
    assert connected == []


def test_a_name_that_changes_its_answer_never_leads_inside(connected: list[str]) -> None:
    asked = []

    def rebinding(host: str, port: int) -> Sequence[Address]:
        asked.append(host)
        return [ip_address("127.0.0.1" if len(asked) % 2 else PUBLIC)]

    egress = Egress(EgressPolicy(), resolver=rebinding)
    for _ in range(300):
        with pytest.raises((BlockedAddress, SourceUnavailable)):
            fetched(egress, "https://rebinding.test/")

    assert len(asked) == 300
    assert connected == [PUBLIC] * 150


def test_the_message_does_not_say_where_the_name_leads() -> None:
    with pytest.raises(BlockedAddress) as raised:
        fetched(Egress(EgressPolicy(), resolver=resolving("10.0.0.7")), "https://internal.test/")

    assert "10.0.0.7" not in str(raised.value)


@pytest.mark.parametrize(
    "location",
    [
        "http://169.254.169.254/latest/meta-data/",
        "http://10.0.0.1/",
        "file:///etc/passwd",
        "http://user@127.0.0.1/",
        "http://0x7f.1/",
        "http://example.test:6379/",
        "http://[::ffff:169.254.169.254]/",
        "http://inside.test/",
        "http://[",
    ],
)
def test_a_redirect_to_a_blocked_address_is_not_followed(location: str) -> None:
    with serving(answer(b"", 302, Location=location)) as port:
        egress = Egress(LOCAL, resolver=resolving("192.168.0.1"))
        with pytest.raises(BlockedAddress):
            fetched(egress, f"http://127.0.0.1:{port}/")


def test_at_submit_time_a_forbidden_address_is_refused_without_resolving() -> None:
    def unused(host: str, port: int) -> NoReturn:
        raise AssertionError("nothing is resolved at submit time")

    egress = Egress(EgressPolicy(), resolver=unused)

    egress.check_url("https://example.com/clip.mp4")
    with pytest.raises(SourceNotAllowed):
        egress.check_url("https://169.254.169.254/")


def test_proxies_of_the_environment_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")

    with serving(answer(b"video")) as port:
        assert fetched(Egress(LOCAL), f"http://127.0.0.1:{port}/") == b"video"


# --- TLS and connect-to ----------------------------------------------------------------------------


def test_connect_to_fetches_https_from_another_place_under_the_name(tmp_path: Path) -> None:
    ca_file, context = certificates(tmp_path, "www.example.test")
    seen: list[str | None] = []
    context.sni_callback = lambda connection, name, _: seen.append(name)

    def route(request: BaseHTTPRequestHandler) -> None:
        seen.append(request.headers["Host"])
        answer(b"video")(request)

    with serving(route, context) as port:
        policy = EgressPolicy(connect_to=(f"www.example.test:443:127.0.0.1:{port}",), ca_file=ca_file)
        body = fetched(Egress(policy), "https://www.example.test/clip.mp4")

    assert body == b"video"
    assert seen == ["www.example.test", "www.example.test"]


def test_connect_to_fetches_http_from_another_place_under_the_name() -> None:
    seen = []

    def route(request: BaseHTTPRequestHandler) -> None:
        seen.append(request.headers["Host"])
        answer(b"video")(request)

    with serving(route) as port:
        policy = EgressPolicy(allow_http=True, connect_to=(f"www.example.test:80:localhost:{port}",))
        assert fetched(Egress(policy), "http://www.example.test/clip.mp4") == b"video"
    assert seen == ["www.example.test"]


def test_connect_to_another_port_alone_leaves_the_address_to_be_checked(connected: list[str]) -> None:
    policy = EgressPolicy(connect_to=("example.com:443::8443",))

    with pytest.raises(BlockedAddress):
        fetched(Egress(policy, resolver=resolving("10.0.0.1")), "https://example.com/")
    assert connected == []


def test_a_certificate_of_another_name_is_refused(tmp_path: Path) -> None:
    ca_file, context = certificates(tmp_path, "other.example.test")
    with serving(answer(), context) as port:
        policy = EgressPolicy(connect_to=(f"www.example.test:443:127.0.0.1:{port}",), ca_file=ca_file)
        with pytest.raises(SourceUnavailable) as raised:
            fetched(Egress(policy), "https://www.example.test/")
    assert raised.value.details["failure"] == "tls"


def test_a_certificate_of_an_unknown_authority_is_refused(tmp_path: Path) -> None:
    _, context = certificates(tmp_path, "www.example.test")
    with serving(answer(), context) as port:
        policy = EgressPolicy(connect_to=(f"www.example.test:443:127.0.0.1:{port}",))
        with pytest.raises(SourceUnavailable) as raised:
            fetched(Egress(policy), "https://www.example.test/")
    assert raised.value.details["failure"] == "tls"


# --- fetching --------------------------------------------------------------------------------------


def test_a_download_knows_its_headers_and_final_address() -> None:
    def route(request: BaseHTTPRequestHandler) -> None:
        target = answer(b"", 302, Location="/b?x=1") if request.path == "/a" else answer(b"video", ETag='"1"')
        target(request)

    with serving(route) as port, Egress(LOCAL).fetch(f"http://127.0.0.1:{port}/a", max_bytes=9, seconds=5) as download:
        assert download.url == f"http://127.0.0.1:{port}/b?x=1"
        assert download.headers["etag"] == '"1"'
        assert b"".join(download) == b"video"


def test_headers_go_to_the_first_origin_and_to_no_other() -> None:
    seen = []

    def second(request: BaseHTTPRequestHandler) -> None:
        seen.append(request.headers["Authorization"])
        answer()(request)

    with serving(second) as elsewhere:

        def first(request: BaseHTTPRequestHandler) -> None:
            seen.append(request.headers["Authorization"])
            answer(b"", 302, Location=f"http://127.0.0.1:{elsewhere}/")(request)

        with (
            serving(first) as port,
            Egress(LOCAL).fetch(
                f"http://127.0.0.1:{port}/", {"Authorization": "Bearer secret"}, max_bytes=9, seconds=5
            ) as download,
        ):
            assert b"".join(download) == b"video"
    assert seen == ["Bearer secret", None]


def test_the_host_and_the_encoding_cannot_be_overridden_by_the_caller_s_headers() -> None:
    seen = []

    def route(request: BaseHTTPRequestHandler) -> None:
        seen.append((request.headers.get_all("Host"), request.headers.get_all("Accept-Encoding")))
        answer()(request)

    with (
        serving(route) as port,
        Egress(LOCAL).fetch(
            f"http://127.0.0.1:{port}/", {"Host": "inside", "Accept-Encoding": "gzip"}, max_bytes=9, seconds=5
        ),
    ):
        pass
    assert seen == [([f"127.0.0.1:{port}"], ["identity"])]


def test_three_redirects_are_followed_and_a_fourth_is_not() -> None:
    def route(request: BaseHTTPRequestHandler) -> None:
        left = int(request.path.strip("/"))
        (answer(b"", 307, Location=f"/{left - 1}") if left else answer(b"video"))(request)

    with serving(route) as port:
        egress = Egress(LOCAL)
        assert fetched(egress, f"http://127.0.0.1:{port}/3") == b"video"
        with pytest.raises(SourceUnavailable):
            fetched(egress, f"http://127.0.0.1:{port}/4")


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (404, SourceNotFound),
        (410, SourceNotFound),
        (401, SourceForbidden),
        (403, SourceForbidden),
        (400, SourceForbidden),
        (429, SourceUnavailable),
        (500, SourceUnavailable),
        (503, SourceUnavailable),
        (206, SourceUnavailable),
        (304, SourceUnavailable),
    ],
)
def test_a_status_says_whether_trying_again_could_help(status: int, error: type[SourceError]) -> None:
    with serving(answer(b"", status)) as port, pytest.raises(error) as raised:
        fetched(Egress(LOCAL), f"http://127.0.0.1:{port}/")
    assert raised.value.retryable == (error is SourceUnavailable)


def test_a_body_that_is_announced_too_large_is_not_read() -> None:
    with serving(answer(b"x" * 11)) as port, pytest.raises(TooLarge):
        fetched(Egress(LOCAL), f"http://127.0.0.1:{port}/", max_bytes=10)


def _taken(download: Download, received: bytearray) -> Iterator[bytes]:
    for chunk in download:
        received.extend(chunk)
        yield b""


def test_a_body_that_turns_out_too_large_is_cut_off() -> None:
    def endless(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.end_headers()
        while True:
            request.wfile.write(b"x" * 65536)

    received = bytearray()
    with (
        serving(endless) as port,
        Egress(LOCAL).fetch(f"http://127.0.0.1:{port}/", max_bytes=1_000_000, seconds=10) as download,
        pytest.raises(TooLarge),
    ):
        b"".join(_taken(download, received))
    assert 0 < len(received) <= 1_000_000


def test_a_body_shorter_than_announced_is_no_body() -> None:
    with serving(answer(b"vid", Content_Length="5")) as port, pytest.raises(SourceUnavailable):
        fetched(Egress(LOCAL), f"http://127.0.0.1:{port}/")


def test_a_compressed_body_is_refused() -> None:
    with serving(answer(b"bomb", Content_Encoding="gzip")) as port, pytest.raises(SourceUnavailable):
        fetched(Egress(LOCAL), f"http://127.0.0.1:{port}/")


def test_a_source_that_drips_is_given_up_for_its_rate() -> None:
    policy = EgressPolicy(allow_http=True, allow_loopback=True, minimum_rate_seconds=0.2)

    with serving(drip) as port, pytest.raises(SourceUnavailable, match="slowly"):
        fetched(Egress(policy), f"http://127.0.0.1:{port}/")


def test_a_source_that_drips_is_given_up_when_the_time_is_over() -> None:
    before = time.monotonic()

    with serving(drip) as port, pytest.raises(SourceUnavailable) as raised:
        fetched(Egress(LOCAL), f"http://127.0.0.1:{port}/", seconds=0.3)
    assert raised.value.details["failure"] == "timeout"
    assert time.monotonic() - before < 3


def test_a_slow_reader_does_not_make_the_source_slow() -> None:
    policy = EgressPolicy(
        allow_http=True, allow_loopback=True, minimum_rate_seconds=0.05, minimum_bytes_per_second=1_000_000
    )
    total = 0
    with (
        serving(answer(b"x" * 500_000)) as port,
        Egress(policy).fetch(f"http://127.0.0.1:{port}/", max_bytes=1 << 20, seconds=10) as download,
    ):
        for chunk in download:
            total += len(chunk)
            time.sleep(0.02)
    assert total == 500_000
