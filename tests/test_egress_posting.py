from __future__ import annotations

import socket
import time
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler
from threading import Event
from typing import NoReturn

import pytest

from styleflow.addresses import Address
from styleflow.egress import Egress, EgressPolicy
from styleflow.errors import SourceUnavailable
from tests.outside import LOCAL, answer, drip, fetched, resolving
from tests.web_server import serving


def test_a_post_sends_exactly_the_bytes_and_headers() -> None:
    seen = []

    def route(request: BaseHTTPRequestHandler) -> None:
        body = request.rfile.read(int(request.headers["Content-Length"]))
        seen.append((request.path, request.headers["webhook-id"], request.headers["User-Agent"], body))
        answer(b"thanks", 201)(request)

    with serving(route) as port:
        headers = {"webhook-id": "evt_1", "user-agent": "styleflow-webhooks/1"}
        reply = Egress(LOCAL).post(f"http://127.0.0.1:{port}/hook?a=1", b'{"a": 1}', headers, 5.0)

    assert (reply.status, reply.excerpt) == (201, "thanks")
    assert seen == [("/hook?a=1", "evt_1", "styleflow-webhooks/1", b'{"a": 1}')]


def test_a_post_does_not_follow_redirects() -> None:
    seen = []

    def route(request: BaseHTTPRequestHandler) -> None:
        seen.append(request.path)
        answer(b"", 302, Location="/elsewhere")(request)

    with serving(route) as port:
        assert Egress(LOCAL).post(f"http://127.0.0.1:{port}/hook", b"{}", {}, 5.0).status == 302
    assert seen == ["/hook"]


def test_of_a_long_answer_a_kilobyte_is_kept_as_text_that_a_database_takes() -> None:
    with serving(answer(b"\0\xff" + b"x" * 500_000)) as port:
        excerpt = Egress(LOCAL).post(f"http://127.0.0.1:{port}/", b"{}", {}, 5.0).excerpt

    assert len(excerpt) == 1024
    assert "\0" not in excerpt


def test_a_status_counts_even_when_the_body_never_ends() -> None:
    with serving(drip) as port:
        before = time.monotonic()
        assert Egress(LOCAL).post(f"http://127.0.0.1:{port}/", b"{}", {}, 0.3).status == 200
    assert time.monotonic() - before < 3


def test_a_receiver_that_drips_its_headers_is_given_up_when_the_time_is_over() -> None:
    over = Event()

    def loris(request: BaseHTTPRequestHandler) -> None:
        while not over.is_set():
            request.wfile.write(b"H")
            over.wait(0.02)

    before = time.monotonic()
    with serving(loris) as port, pytest.raises(SourceUnavailable) as raised:
        Egress(LOCAL).post(f"http://127.0.0.1:{port}/", b"{}", {}, 0.3)
    over.set()

    assert raised.value.details["failure"] == "timeout"
    assert time.monotonic() - before < 3


def test_a_closed_port_is_a_failure_to_connect() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        with pytest.raises(SourceUnavailable) as raised:
            Egress(LOCAL).post(f"http://127.0.0.1:{port}/", b"{}", {}, 5.0)
    assert raised.value.details["failure"] == "connect"


def test_the_next_address_is_tried_when_the_first_does_not_answer() -> None:
    with serving(answer(b"video")) as port:
        egress = Egress(LOCAL, resolver=resolving("::1", "127.0.0.1"))
        assert fetched(egress, f"http://localhost:{port}/") == b"video"


def test_a_name_without_an_address_is_a_failure_of_dns() -> None:
    def nobody(host: str, port: int) -> NoReturn:
        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    with pytest.raises(SourceUnavailable) as raised:
        Egress(EgressPolicy(), resolver=nobody).post("https://nobody.test/", b"{}", {}, 5.0)
    assert raised.value.details["failure"] == "dns"


def test_a_resolver_that_hangs_is_not_waited_for() -> None:
    over = Event()

    def hanging(host: str, port: int) -> Sequence[Address]:
        over.wait(10)
        return []

    before = time.monotonic()
    with pytest.raises(SourceUnavailable):
        Egress(EgressPolicy(), resolver=hanging).post("https://slow.test/", b"{}", {}, 0.2)
    over.set()
    assert time.monotonic() - before < 3


def test_an_answer_that_is_not_http_is_a_failure_of_the_protocol() -> None:
    def route(request: BaseHTTPRequestHandler) -> None:
        request.wfile.write(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")

    with serving(route) as port, pytest.raises(SourceUnavailable) as raised:
        Egress(LOCAL).post(f"http://127.0.0.1:{port}/", b"{}", {}, 5.0)
    assert raised.value.details["failure"] == "protocol"
