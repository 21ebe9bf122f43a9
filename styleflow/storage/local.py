"""A folder as a bucket: for one machine, and for tests. A key is a relative path below the root."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO

from styleflow.errors import ConfigurationError, SourceChanged, SourceNotFound
from styleflow.storage.bucket import CHUNK_BYTES, ObjectFacts, PresignedPut, StoredObject
from styleflow.storage.keys import checked
from styleflow.storage.local_files import Signer, etag_of, taken_over, translated
from styleflow.storage.local_multiparts import LocalMultiparts

_SCRATCH, _PARTS = ".scratch", ".parts"


class LocalBucket:
    """Objects are files, written aside and moved into place whole. The etag is the file's identity, not a digest.

    Unlike in S3, an object cannot lie "inside" another: beside `a` there is no `a/b`.
    """

    def __init__(self, root: Path, *, sign: Signer | None = None) -> None:
        self._root = root.absolute()
        self._scratch = self._root / _SCRATCH
        self._sign = sign
        with translated():
            self._scratch.mkdir(mode=0o700, parents=True, exist_ok=True)
            _drop_leftovers(self._scratch)

    @property
    def name(self) -> str:
        return self._root.name

    @property
    def multiparts(self) -> LocalMultiparts:
        return LocalMultiparts(self._root / _PARTS, self._scratch, self.put, self._sign)

    @property
    def landing(self) -> Path | None:
        return self._scratch

    def head(self, key: str, *, version_id: str | None = None, with_sha256: bool = False) -> ObjectFacts | None:
        del with_sha256  # the API compared it when the bytes came
        try:
            with self._file(key, version_id) as file:
                return _facts(file)
        except SourceNotFound:
            return None

    @contextmanager
    def open(
        self, key: str, *, if_match: str | None = None, version_id: str | None = None, start: int = 0
    ) -> Iterator[Iterator[bytes]]:
        with self._file(key, version_id) as file:
            if if_match is not None and _facts(file).etag != if_match:
                raise SourceChanged
            file.seek(start)
            yield _chunks(file)

    def put(self, key: str, data: bytes | Path, content_type: str, if_absent: bool = False) -> ObjectFacts:
        del content_type  # a file has none; whoever serves it knows what it wrote
        path = self._path(key)
        with translated(), taken_over(self._scratch, data) as written:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not if_absent:
                written.replace(path)
            elif not _linked(written, path):
                return self._same_or_changed(key, written)
            _sync_folder(path.parent)
            with path.open("rb") as file:
                return _facts(file)

    def delete(self, keys: Iterable[str]) -> None:
        for key in keys:
            path = self._path(key)
            with suppress(SourceNotFound), translated():
                path.unlink(missing_ok=True)
            self._drop_empty_folders(path.parent)

    def erase(self, names: Iterable[str]) -> None:
        for name in names:
            self.delete([found.key for found in self.list(name)] if name.endswith("/") else [name])

    def list(self, prefix: str) -> Iterator[StoredObject]:
        folder = self._root / prefix.rpartition("/")[0]
        if ".." in prefix.split("/") or not folder.is_relative_to(self._root):
            return
        for path, folders, files in os.walk(folder):
            folders[:] = [name for name in folders if not name.startswith(".")]
            for file in files:
                found = Path(path, file)
                key = found.relative_to(self._root).as_posix()
                if key.startswith(prefix) and (line := _line(found, key)) is not None:
                    yield line

    def list_after(self, prefix: str, after: str | None) -> Iterator[StoredObject]:
        behind = b"" if after is None else after.encode(errors="surrogateescape")
        # A folder has no order of its own, so all names are held at once: what fits on one machine fits here.
        found = [line for line in self.list(prefix) if line.key.encode(errors="surrogateescape") > behind]
        yield from sorted(found, key=lambda line: line.key.encode(errors="surrogateescape"))

    def presign_put(
        self, key: str, size_bytes: int, sha256: str | None, content_type: str, seconds: int
    ) -> PresignedPut:
        del sha256  # the API knows what was announced, and compares when the bytes are there
        headers: Mapping[str, str] = {"Content-Type": content_type, "Content-Length": str(size_bytes)}
        return PresignedPut(url=self._signed("PUT", key, seconds), method="PUT", headers=headers)

    def presign_get(self, key: str, seconds: int) -> str:
        return self._signed("GET", key, seconds)

    def _signed(self, method: str, key: str, seconds: int) -> str:
        if self._sign is None:
            raise ConfigurationError("this process hands out no addresses into the local bucket")
        return self._sign(method, checked(key), seconds)

    def _path(self, key: str) -> Path:
        return self._root / checked(key)

    @contextmanager
    def _file(self, key: str, version_id: str | None) -> Iterator[BufferedReader]:
        if version_id is not None:
            raise SourceNotFound("this bucket keeps no versions")
        with translated():
            # a path that os.fdopen refuses is a folder: there is no such object
            file = os.fdopen(os.open(self._path(key), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb")
        with file:
            yield file

    def _same_or_changed(self, key: str, written: Path) -> ObjectFacts:
        with self._file(key, None) as file, written.open("rb") as other:
            if hashlib.file_digest(file, "sha256").digest() != hashlib.file_digest(other, "sha256").digest():
                raise SourceChanged("another object has that key already")
            return _facts(file)

    def _drop_empty_folders(self, folder: Path) -> None:
        while folder != self._root:
            try:
                folder.rmdir()
            except OSError:
                return
            folder = folder.parent


def _facts(file: BinaryIO) -> ObjectFacts:
    found = os.fstat(file.fileno())
    return ObjectFacts(size_bytes=found.st_size, etag=etag_of(found), version_id=None)


def _chunks(file: BinaryIO) -> Iterator[bytes]:
    while chunk := file.read(CHUNK_BYTES):
        yield chunk


def _linked(written: Path, path: Path) -> bool:
    """Give the file its name unless the name is taken: atomic, unlike looking first."""
    try:
        os.link(written, path)
    except FileExistsError:
        return False
    return True


def _line(path: Path, key: str) -> StoredObject | None:
    try:
        found = path.stat()
    except FileNotFoundError:  # deleted while the folder was being read
        return None
    return StoredObject(key=key, size_bytes=found.st_size, modified_at=datetime.fromtimestamp(found.st_mtime, UTC))


def _sync_folder(folder: Path) -> None:
    """Make the new name durable, as the bytes already are."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _drop_leftovers(scratch: Path) -> None:
    """Remove what a killed process left half written; a day is longer than any put takes."""
    for path in scratch.iterdir():
        if (line := _line(path, path.name)) and datetime.now(UTC) - line.modified_at > timedelta(days=1):
            if path.is_dir():  # of an object in parts
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
