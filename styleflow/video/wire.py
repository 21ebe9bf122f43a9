"""How the decoder's child process speaks to its parent: one fixed head per message, then a payload.

Both sides trust lengths only after checking them: the parent because the child has touched untrusted bytes.
"""

from __future__ import annotations

import json
import math
import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import NoReturn

HEAD = struct.Struct("!BIIqdII")
MAX_JSON_BYTES = 64 * 1024
MAX_INDEX = 2**31 - 1
"""Of a frame: what a column of a database takes, and two hundred days at 120 frames a second."""


class Kind(IntEnum):
    """What a message is. The payload is JSON, but pixels for FRAME and nothing for TICK and END."""

    READY = 1
    """The child is confined, tells which layers hold, and will now touch the video."""
    FACTS = 2
    FRAME = 3
    TICK = 4
    """Decoding goes on, though no frame of the plan has been reached."""
    END = 5
    """No more frames. Its index is the number of damaged ones."""
    ERROR = 6


@dataclass(frozen=True)
class Head:
    """The first bytes of each message."""

    kind: Kind
    payload_bytes: int = 0
    segment: int = 0
    index: int = 0
    time_seconds: float = 0.0
    width: int = 0
    height: int = 0

    def pack(self) -> bytes:
        return HEAD.pack(
            self.kind,
            self.payload_bytes,
            self.segment,
            self.index,
            self.time_seconds,
            self.width,
            self.height,
        )


def unpack(data: bytes, frame_width: int, frame_height: int) -> Head:
    """Read a head and check it: a frame has exactly the announced size. Raises ValueError."""
    kind, *rest = HEAD.unpack(data)
    head = Head(Kind(kind), *rest)
    if not (math.isfinite(head.time_seconds) and head.time_seconds >= 0):
        raise ValueError("a time that is none")
    if not 0 <= head.index <= MAX_INDEX:
        raise ValueError("a frame number that is none")
    if head.kind is Kind.FRAME:
        fits = (head.width, head.height) == (frame_width, frame_height)
        if not fits or head.payload_bytes != frame_width * frame_height * 3:
            raise ValueError("a frame of another size than announced")
    elif head.kind in (Kind.TICK, Kind.END):
        if head.payload_bytes:
            raise ValueError("a payload where none belongs")
    elif head.payload_bytes > MAX_JSON_BYTES:
        raise ValueError("a message too long")
    return head


def read_json(payload: bytes | bytearray) -> object:
    """Read what the other side wrote. Raises ValueError for anything but JSON as its standard has it."""
    try:
        value: object = json.loads(payload, parse_constant=_no_constant)
    except RecursionError as error:
        raise ValueError("a message nested too deep") from error
    return value


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")
