"""Which bytes a `Range` header asks for (RFC 9110, section 14). Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

_ONE = re.compile(r"^bytes=([0-9]{0,18})-([0-9]{0,18})$")


@dataclass(frozen=True)
class ByteRange:
    """From one byte to another, both included."""

    first: int
    last: int

    @property
    def length(self) -> int:
        return self.last - self.first + 1

    def content_range(self, size: int) -> str:
        return f"bytes {self.first}-{self.last}/{size}"


def wanted_range(header: str | None, size: int) -> ByteRange | None:
    """The part of an object of `size` bytes that is asked for; None for the whole.

    A header that is no single range, or lies behind the end, is ignored, as a server may.
    """
    found = _ONE.match(header.strip()) if header else None
    if found is None:
        return None
    first, last = found.groups()
    if first:
        start, end = int(first), min(int(last), size - 1) if last else size - 1
    elif last:
        start, end = max(0, size - int(last)), size - 1
    else:
        return None
    return ByteRange(start, end) if start <= end else None
