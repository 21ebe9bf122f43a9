"""What a video is named by on the command line: a file, an address, or an object in a bucket."""

from __future__ import annotations

import hashlib
import json
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from styleflow.errors import InvalidRequest


@dataclass(frozen=True, kw_only=True)
class VideoSource:
    """One video. `body` is the `source` of a request, None for a file, which is uploaded first."""

    text: str
    """As it was given."""
    body: Mapping[str, str] | None
    path: Path | None = None
    size_bytes: int | None = None
    modified_ns: int | None = None
    """Size and time of a file: with other ones it is another video."""

    @property
    def name(self) -> str:
        """The last part, by which people know it."""
        return self.text.rstrip("/").rpartition("/")[2] or self.text


def source_of(text: str) -> VideoSource:
    """`https://…`, `s3://BUCKET/KEY` with the key as it stands, or the path of a file.

    Raises InvalidRequest for an address that names no object, and for what is no readable file.
    """
    scheme, has_scheme, rest = text.partition("://")
    if has_scheme and scheme.lower() in ("http", "https"):
        return VideoSource(text=text, body={"type": "url", "url": text})
    if has_scheme and scheme.lower() == "s3":
        bucket, _, key = rest.partition("/")
        if not bucket or not key:
            raise InvalidRequest(f"{text} names no object: s3://BUCKET/KEY")
        return VideoSource(text=text, body={"type": "s3", "bucket": bucket, "key": key})
    return _file(text)


def _file(text: str) -> VideoSource:
    path = Path(text)
    try:
        found = path.stat()
    except (OSError, ValueError) as error:  # ValueError: a NUL character
        raise InvalidRequest(f"{text} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    if not stat.S_ISREG(found.st_mode):
        raise InvalidRequest(f"{text} is no file")
    if not found.st_size:
        raise InvalidRequest(f"{text} is empty")
    resolved = path.absolute()
    return VideoSource(text=text, body=None, path=resolved, size_bytes=found.st_size, modified_ns=found.st_mtime_ns)


def lines_of(lines: Iterable[str]) -> Iterator[str]:
    """The sources in a list: one in a line; empty lines and those that begin with `#` are passed over."""
    for line in lines:
        text = line.rstrip("\r\n").strip()
        if text and not text.startswith("#"):
            yield text


def identity(source: VideoSource, order: Mapping[str, Any], server: str) -> str:
    """SHA-256 of what makes two submissions the same one: video, everything that is asked about it, and whom."""
    named = str(source.path) if source.path else source.text
    parts = [named, source.size_bytes, source.modified_ns, order, server]
    return hashlib.sha256(json.dumps(parts, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
