"""Bring a job's source video into a file of its own, its size capped and its SHA-256 known."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from styleflow.egress import Egress
from styleflow.errors import Released, SourceChanged, SourceForbidden, SourceNotFound, TooLarge
from styleflow.storage.bucket import Bucket

WATCH_SECONDS = 0.2


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


def fetch_watched(
    source: Mapping[str, Any], sources: Sources, folder: Path, checkpoint: Callable[[], None]
) -> FetchedVideo:
    """`fetch` in a thread of its own, so that a silent source does not keep the job from being stopped.

    When `checkpoint` raises, the thread is left to its time limits; it ends at the next chunk, and holds nothing else.
    """
    ended: SimpleQueue[FetchedVideo | Exception] = SimpleQueue()
    abandoned = threading.Event()

    def go_on() -> None:
        if abandoned.is_set():
            raise Released

    def work() -> None:
        try:
            ended.put(fetch(source, sources, folder, go_on))
        except Exception as error:  # noqa: BLE001 (raised again in the thread that waits)
            ended.put(error)

    threading.Thread(target=work, name="fetch", daemon=True).start()
    try:
        while True:
            checkpoint()
            with suppress(Empty):
                outcome = ended.get(timeout=WATCH_SECONDS)
                break
    except BaseException:
        abandoned.set()
        raise
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


@contextmanager
def _chunks(source: Mapping[str, Any], sources: Sources) -> Iterator[Iterator[bytes]]:
    match source["type"]:
        case "upload":
            if not source.get("key"):  # an item of a batch that named no complete upload
                raise SourceNotFound("There is no complete upload of that id.")
            with _pinned(sources.bucket, source) as chunks:
                yield chunks
        case "s3":
            with _pinned(sources.bucket_named(source["bucket"]), source) as chunks:
                yield chunks
        case "url":
            with sources.egress.fetch(source["url"], max_bytes=sources.max_bytes, seconds=sources.seconds) as download:
                yield iter(download)
        case other:
            raise SourceForbidden(f"a source of type {other!r} is not served here")


def _pinned(bucket: Bucket, source: Mapping[str, Any]) -> AbstractContextManager[Iterator[bytes]]:
    """The version that was met when the job was accepted, where one was."""
    return bucket.open(source["key"], if_match=source.get("etag"), version_id=source.get("version_id"))


def _compare(source: Mapping[str, Any], fetched: FetchedVideo) -> None:
    """The bytes must be those that were submitted, where the submission says which."""
    if source.get("size_bytes") not in (None, fetched.size_bytes):
        raise SourceChanged(f"the source has {fetched.size_bytes} bytes, {source['size_bytes']} were submitted")
    if source.get("sha256") not in (None, fetched.sha256):
        raise SourceChanged("the source's SHA-256 is not the one that was submitted")
