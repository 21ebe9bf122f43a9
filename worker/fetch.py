"""Bring a job's source video into a file of its own, its size capped and its SHA-256 known."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from styleflow.egress import Egress
from styleflow.errors import SourceChanged, SourceForbidden, TooLarge
from styleflow.storage.bucket import Bucket


@dataclass(frozen=True, kw_only=True)
class Sources:
    """Where videos may come from: the service's own bucket, further ones by name, and the web through `egress`."""

    bucket: Bucket
    bucket_named: Callable[[str], Bucket]
    egress: Egress
    max_bytes: int
    seconds: float = 900.0


@dataclass(frozen=True)
class FetchedVideo:
    """A whole source video on local disk."""

    path: Path
    size_bytes: int
    sha256: str


def fetch(source: Mapping[str, Any], sources: Sources, folder: Path, checkpoint: Callable[[], None]) -> FetchedVideo:
    """Copy the source into `folder`.

    Raises SourceError leaves, TooLarge, StorageUnavailable, and what `checkpoint` raises.
    The name of the copy never comes from outside.
    """
    path = folder / "source"
    digest, size = hashlib.sha256(), 0
    with _chunks(source, sources) as chunks, path.open("wb") as file:
        for chunk in chunks:
            size += len(chunk)
            if size > sources.max_bytes:
                raise TooLarge(f"the source has more than {sources.max_bytes} bytes")
            digest.update(chunk)
            file.write(chunk)
            checkpoint()
    fetched = FetchedVideo(path, size, digest.hexdigest())
    _compare(source, fetched)
    return fetched


@contextmanager
def _chunks(source: Mapping[str, Any], sources: Sources) -> Iterator[Iterator[bytes]]:
    match source["type"]:
        case "upload":
            with sources.bucket.open(source["key"], if_match=source.get("etag")) as chunks:
                yield chunks
        case "s3":
            bucket = sources.bucket_named(source["bucket"])
            with bucket.open(source["key"], if_match=source.get("etag"), version_id=source.get("version_id")) as chunks:
                yield chunks
        case "url":
            with sources.egress.fetch(source["url"], max_bytes=sources.max_bytes, seconds=sources.seconds) as download:
                yield iter(download)
        case other:
            raise SourceForbidden(f"a source of type {other!r} is not served here")


def _compare(source: Mapping[str, Any], fetched: FetchedVideo) -> None:
    """The bytes must be those that were submitted, where the submission says which."""
    if source.get("size_bytes") not in (None, fetched.size_bytes):
        raise SourceChanged(f"the source has {fetched.size_bytes} bytes, {source['size_bytes']} were submitted")
    if source.get("sha256") not in (None, fetched.sha256):
        raise SourceChanged("the source's SHA-256 is not the one that was submitted")
