"""Which service is called, and with which key: as said, else by the environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from urllib.parse import urlsplit

import styleflow
from styleflow.client.failures import BadArgument
from styleflow.client.retries import Retries
from styleflow.client.steps import Context

DEFAULT_URL = "http://localhost:8000"


def context_of(
    base_url: str | None,
    api_key: str | None,
    *,
    call_seconds: float | None,
    request_seconds: float,
    retries: Retries | None,
    environment: Mapping[str, str] | None = None,
) -> Context:
    """STYLEFLOW_URL and STYLEFLOW_API_KEY stand in for what is None. Raises BadArgument."""
    known = os.environ if environment is None else environment
    url = (base_url or known.get("STYLEFLOW_URL") or DEFAULT_URL).strip().rstrip("/")
    key = (api_key or known.get("STYLEFLOW_API_KEY") or "").strip()
    try:
        pieces = urlsplit(url)
        fits = pieces.scheme in ("http", "https") and bool(pieces.hostname) and not pieces.query and not pieces.fragment
    except ValueError:
        fits = False
    if not fits:
        raise BadArgument("the service's address is no http or https address")
    if not key or not key.isascii() or not key.isprintable() or " " in key:
        raise BadArgument("there is no API key: give `api_key`, or set STYLEFLOW_API_KEY")
    if request_seconds <= 0 or (call_seconds is not None and call_seconds <= 0):
        raise BadArgument("call_seconds and request_seconds are above 0")
    return Context(
        base_url=url,
        key=key,
        agent=f"styleflow-python/{styleflow.__version__}",
        call_seconds=call_seconds,
        request_seconds=request_seconds,
        retries=retries or Retries(),
    )


def patient(context: Context, call_seconds: float | None, retries: Retries | None) -> Context:
    """The same with another bound on the time of a call."""
    if call_seconds is not None and call_seconds <= 0:
        raise BadArgument("call_seconds is above 0")
    return replace(context, call_seconds=call_seconds, retries=retries or context.retries)
