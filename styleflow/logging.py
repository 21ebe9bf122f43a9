"""Structured logs: one event a line, with the request's id, and without secrets.

Everything goes through here, the libraries' own messages too. Redaction is the last step before a line is written, so
that no caller has to remember it.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Mapping
from typing import Any, Literal, TextIO

import structlog

HIDDEN = "[hidden]"

_SECRET_NAMES = re.compile(r"authorization|api[_-]?key|secret|password|signature|cookie", re.IGNORECASE)
_SECRET_TEXT = (
    (re.compile(r"sfk_(live|test)_[A-Za-z0-9_]+"), HIDDEN),
    (re.compile(r"whs[ek]c?_[A-Za-z0-9+/=]+"), HIDDEN),
    (re.compile(r"\b(Bearer|Basic)\s+[A-Za-z0-9._~+/=-]+", re.IGNORECASE), rf"\1 {HIDDEN}"),
    (re.compile(r"(?<=://)([^/\s:@]*):[^/\s@]+@"), rf"\1:{HIDDEN}@"),
    (re.compile(r"((?:X-Amz-)?(?:Signature|Credential|Security-Token)=)[^&\s\"']+", re.IGNORECASE), rf"\1{HIDDEN}"),
)


def redact(value: Any) -> Any:
    """The same value with keys, webhook secrets, passwords in addresses and URL signatures replaced."""
    if isinstance(value, str):
        for pattern, replacement in _SECRET_TEXT:
            value = pattern.sub(replacement, value)
        return value
    if isinstance(value, Mapping):
        return {key: HIDDEN if _SECRET_NAMES.search(str(key)) else redact(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [redact(item) for item in value]
    return value


def _redacting(_: Any, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    cleaned = redact(event)
    event.update(cleaned)
    return event


def configure_logging(
    log_format: Literal["console", "json"], *, stream: TextIO | None = None, level: int = logging.INFO
) -> None:
    """Send structlog's and the standard library's messages to `stream` (standard error) in one form.

    May be called again: the last call holds. Uvicorn's own access lines are dropped, because they print addresses
    with their query; the API writes its own line per request.
    """
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    handler = _Lines(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, _redacting, _renderer(log_format)],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [other for other in root.handlers if not isinstance(other, _Lines)] + [handler]
    root.setLevel(level)
    _adopt("uvicorn", "uvicorn.error")
    access = logging.getLogger("uvicorn.access")
    access.handlers.clear()
    access.propagate = False


class _Lines(logging.Handler):
    """Writes lines to a stream, or to whatever standard error is at that moment."""

    def __init__(self, stream: TextIO | None) -> None:
        super().__init__()
        self._stream = stream

    def emit(self, record: logging.LogRecord) -> None:
        try:
            stream = self._stream or sys.stderr
            stream.write(self.format(record) + "\n")
            stream.flush()
        except (ValueError, OSError):  # the stream is closed: there is nobody left to tell
            return


def _adopt(*names: str) -> None:
    """Let the root logger speak for libraries that brought handlers of their own."""
    for name in names:
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True


def _renderer(log_format: str) -> structlog.typing.Processor:
    if log_format == "json":
        return structlog.processors.JSONRenderer()
    return structlog.dev.ConsoleRenderer(colors=False)
