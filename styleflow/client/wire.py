"""What both drivers know of httpx."""

from __future__ import annotations

import os
from collections.abc import Generator
from typing import BinaryIO

import httpx

from styleflow.client.failures import BadArgument, UnreadableAnswer
from styleflow.client.steps import Answer, Broken, FileSlice, Request

BLOCK_BYTES = 1 << 18
MOST_BODY_BYTES = 64 << 20
"""Of an answer that is read whole. What can be longer is read in pieces."""
_UNSENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)


def timeout_of(request: Request) -> httpx.Timeout:
    return httpx.Timeout(request.seconds)


def head_of(response: httpx.Response) -> Answer:
    return Answer(status=response.status_code, headers={name.lower(): text for name, text in response.headers.items()})


FAILURES = (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, UnicodeEncodeError)
"""What sending and reading may raise."""


def broken(error: Exception) -> Broken:
    """What a failure of httpx means. Raises BadArgument where the request itself cannot be sent, UnreadableAnswer where
    the answer's bytes are not what its headers say."""
    if isinstance(error, httpx.LocalProtocolError | httpx.UnsupportedProtocol | httpx.InvalidURL | UnicodeEncodeError):
        raise BadArgument(f"the request cannot be sent: {error}") from error
    if isinstance(error, httpx.DecodingError):
        raise UnreadableAnswer(f"the answer cannot be unpacked: {error}") from error
    name = type(error).__name__
    return Broken(f"the service cannot be reached: {error or name} ({name})", sent=not isinstance(error, _UNSENT))


class Gathered:
    """A body as it comes, up to what is sane."""

    def __init__(self) -> None:
        self._blocks = bytearray()

    def add(self, block: bytes) -> bool:
        """Whether there is to be more."""
        self._blocks += block
        return len(self._blocks) <= MOST_BODY_BYTES

    @property
    def whole(self) -> bytes:
        return bytes(self._blocks)


def opened(content: FileSlice) -> BinaryIO:
    """The file at where the slice begins."""
    file = content.path.open("rb")
    file.seek(content.offset, os.SEEK_SET)
    return file


def blocks(content: FileSlice) -> Generator[bytes, None, None]:
    """The bytes of the slice; fewer when the file has become shorter."""
    left = content.length
    with opened(content) as file:
        while left and (block := file.read(min(BLOCK_BYTES, left))):
            left -= len(block)
            yield block
            if content.report is not None:
                content.report(content.length - left)
