"""An object that comes in parts: the plan of its parts, and what a bucket does with them.

One contract, kept by the local folder and by S3 alike (tests/contracts/test_multiparts.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from styleflow.storage.bucket import PresignedPut

SINGLE_PUT_BYTES = 5 << 30
"""More than this no S3 store takes in one request."""
PART_BYTES = 16 << 20
MIN_PART_BYTES = 5 << 20
"""Of every part but the last; S3's rule, kept by the local folder too."""
MAX_PARTS = 10_000
_GRAIN = 1 << 20


@dataclass(frozen=True)
class PartPlan:
    """A file cut into parts of `part_bytes`, numbered from 1; the last one holds the rest."""

    size_bytes: int
    part_bytes: int

    @property
    def count(self) -> int:
        return -(-self.size_bytes // self.part_bytes)

    def size_of(self, number: int) -> int:
        """Bytes of that part. Raises ValueError for one that is not in the plan."""
        if not 1 <= number <= self.count:
            raise ValueError(f"there are parts 1 to {self.count}")
        return min(self.part_bytes, self.size_bytes - (number - 1) * self.part_bytes)


def plan_parts(size_bytes: int) -> PartPlan:
    """Parts of 16 MiB, or of as many whole MiB as keep them at 10,000 at most."""
    grains = -(-size_bytes // (MAX_PARTS * _GRAIN))
    return PartPlan(size_bytes, max(PART_BYTES, grains * _GRAIN))


@dataclass(frozen=True, kw_only=True)
class Part:
    """A part as its sender knows it: its number and the ETag that the store answered."""

    number: int
    etag: str


@dataclass(frozen=True, kw_only=True)
class StoredPart(Part):
    """A part as the store knows it."""

    size_bytes: int


@dataclass(frozen=True, kw_only=True)
class OpenMultipart:
    """One that was begun and neither completed nor aborted. `begun_at` is aware, UTC."""

    key: str
    multipart_id: str
    begun_at: datetime


class Multiparts(Protocol):
    """Objects that come in parts. Nothing lies under the key until `complete`, and then all of it.

    Where a `multipart_id` is asked for, one that is unknown, completed or aborted raises SourceNotFound. Any method
    may raise SourceForbidden, which is permanent, and StorageUnavailable, which is worth a retry.
    """

    def begin(self, key: str, content_type: str) -> str:
        """The `multipart_id` of a new one."""
        ...

    def presign_part(self, key: str, multipart_id: str, number: int, size_bytes: int, seconds: int) -> PresignedPut:
        """An address to which exactly `size_bytes` bytes can be sent for `seconds`; the answer has an ETag."""
        ...

    def put(self, key: str, multipart_id: str, number: int, data: bytes | Path) -> str:
        """Store a part, in place of an earlier one of that number; its ETag."""
        ...

    def list(self, key: str, multipart_id: str) -> list[StoredPart]:
        """What has arrived, in order of numbers."""
        ...

    def complete(self, key: str, multipart_id: str, parts: Sequence[Part]) -> None:
        """Make the object of these parts, which are in order. Raises UploadMismatch when one is not there under that
        ETag, or is too small to be followed by another."""
        ...

    def abort(self, key: str, multipart_id: str) -> None:
        """Forget it with its parts; one that is not there is fine."""
        ...

    def list_open(self, prefix: str) -> Iterator[OpenMultipart]:
        """Every open one whose key starts with the text `prefix`, in no promised order."""
        ...
