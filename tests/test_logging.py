"""Logs are one event a line and hold no secret, whoever writes them."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Any, Literal

import pytest
import structlog

from styleflow.logging import HIDDEN, configure_logging, redact

CANARY = "CANARYcanary0123456789"
KEY = f"sfk_live_abcdefghijkl_{CANARY}"


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def written(log_format: Literal["console", "json"], *, write: Any) -> str:
    stream = io.StringIO()
    configure_logging(log_format, stream=stream)
    write()
    return stream.getvalue()


def spill() -> None:
    log = structlog.get_logger("test")
    log.info("request", authorization=f"Bearer {CANARY}", path=f"/x?signature={CANARY}", key=KEY)
    log.info(f"presented {KEY}", nested={"webhook_secret": CANARY, "list": [f"postgresql://u:{CANARY}@db/x"]})
    logging.getLogger("urllib3").warning("PUT https://s3/x?X-Amz-Signature=%s&X-Amz-Credential=%s", CANARY, CANARY)
    logging.getLogger("any").info("secret whsec_%s== and header Authorization: Basic %s", CANARY, CANARY)
    try:
        raise RuntimeError(f"could not connect to redis://:{CANARY}@cache/0 with {KEY}")
    except RuntimeError:
        log.exception("failed")


@pytest.mark.parametrize("log_format", ["console", "json"])
def test_no_secret_is_written_wherever_it_stands(log_format: Literal["console", "json"]) -> None:
    lines = written(log_format, write=spill)
    assert CANARY not in lines
    assert lines.count(HIDDEN) >= 8
    assert "failed" in lines


def test_json_is_one_event_a_line_with_the_bound_context() -> None:
    def write() -> None:
        with structlog.contextvars.bound_contextvars(request_id="r1"):
            structlog.get_logger("a").info("one", number=1)
            logging.getLogger("b").warning("two")

    first, second = (json.loads(line) for line in written("json", write=write).splitlines())
    assert (first["event"], first["number"], first["request_id"], first["level"]) == ("one", 1, "r1", "info")
    assert (second["event"], second["request_id"], second["logger"]) == ("two", "r1", "b")


def test_uvicorns_own_access_lines_which_hold_queries_are_dropped() -> None:
    def write() -> None:
        logging.getLogger("uvicorn.access").info("GET /?token=1")

    assert written("json", write=write) == ""


def test_what_is_no_secret_stays() -> None:
    event = {"job": "job_1", "ms": 1.5, "path": "/v1/jobs", "list": ["a"], "none": None}
    assert redact(event) == event
