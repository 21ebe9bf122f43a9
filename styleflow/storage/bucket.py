"""What a bucket can do. One contract, kept by the local folder and by S3 alike (tests/contracts/test_bucket.py)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from styleflow.storage.multiparts import Multiparts

CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, kw_only=True)
class ObjectFacts:
    """What `head` says. `etag` changes whenever the bytes do; `version_id` is None where versions are not kept."""

    size_bytes: int
    etag: str
    version_id: str | None
    sha256: str | None = None
    """Of the whole object, hexadecimal: where it was asked for and the store vouches for one."""


@dataclass(frozen=True, kw_only=True)
class StoredObject:
    """One line of a listing. `modified_at` is aware, UTC."""

    key: str
    size_bytes: int
    modified_at: datetime


@dataclass(frozen=True, kw_only=True)
class PresignedPut:
    """How a caller without credentials sends the bytes: exactly these headers must go with the request."""

    url: str
    method: Literal["PUT"]
    headers: Mapping[str, str]


class Bucket(Protocol):
    """Objects by key. Every bucket takes the keys that `keys.checked` accepts; S3 reads any other, too.

    Any method may raise SourceForbidden, which is permanent, and StorageUnavailable, which is worth a retry.
    """

    @property
    def name(self) -> str:
        """The name by which a job's source refers to this bucket."""
        ...

    @property
    def multiparts(self) -> Multiparts:
        """Objects that come in parts."""
        ...

    @property
    def landing(self) -> Path | None:
        """A folder on the file system of the objects, where there is one: `put` moves a file from there, which is
        then gone, and copies any other."""
        ...

    def head(self, key: str, *, version_id: str | None = None, with_sha256: bool = False) -> ObjectFacts | None:
        """Facts of an object, or None when there is none."""
        ...

    def open(
        self, key: str, *, if_match: str | None = None, version_id: str | None = None, start: int = 0
    ) -> AbstractContextManager[Iterator[bytes]]:
        """Chunks of at most CHUNK_BYTES, in order, of one and the same version of the object, from byte `start` on;
        none when the object ends before.

        Raises SourceNotFound, and SourceChanged when the object's etag is not `if_match`.
        """
        ...

    def put(self, key: str, data: bytes | Path, content_type: str, if_absent: bool = False) -> ObjectFacts:
        """Store whole, or not at all. With `if_absent`, other bytes under that key raise SourceChanged;
        the same bytes are fine, because a repeated request must not fail."""
        ...

    def delete(self, keys: Iterable[str]) -> None:
        """Remove objects; one that is not there is fine."""
        ...

    def erase(self, names: Iterable[str]) -> None:
        """Remove objects with every version that the store keeps of them, so that nothing can be brought back.

        A name that ends in `/` stands for everything below it; one of which nothing is there is fine.
        """
        ...

    def list(self, prefix: str) -> Iterator[StoredObject]:
        """Every object whose key starts with the text `prefix`, in no promised order."""
        ...

    def list_after(self, prefix: str, after: str | None) -> Iterator[StoredObject]:
        """`list` in order of the keys' UTF-8 bytes, beginning behind the key `after`, which need not be there."""
        ...

    def presign_put(
        self, key: str, size_bytes: int, sha256: str | None, content_type: str, seconds: int
    ) -> PresignedPut:
        """An address to which exactly `size_bytes` bytes can be sent for `seconds`. `sha256` is hexadecimal."""
        ...

    def presign_get(self, key: str, seconds: int) -> str:
        """An address from which the object can be read for `seconds`; caches on the way must not keep the answer."""
        ...


def sweep(bucket: Bucket, prefix: str, before: datetime) -> int:
    """Delete what lies under `prefix` and was written before that moment. Returns how many objects."""
    old = [found.key for found in bucket.list(prefix) if found.modified_at < before]
    bucket.delete(old)
    return len(old)
