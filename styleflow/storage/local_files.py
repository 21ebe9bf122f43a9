"""Files on their way into the local bucket: written aside, known by their identity, moved into place whole."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Protocol

from styleflow.errors import SourceForbidden, SourceNotFound, StorageUnavailable
from styleflow.storage.bucket import CHUNK_BYTES

_MISSING = {errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP}


class Signer(Protocol):
    """Makes the addresses at which the API serves the local bucket."""

    def __call__(self, method: str, key: str, seconds: int, part: int | None = None) -> str:
        """An address that takes that method for so many seconds; of one part of the object, where one is named."""
        ...


@contextmanager
def landed(landing: Path, data: bytes = b"") -> Iterator[Path]:
    """A new file with these bytes, on the file system of the objects; what is still there at the end is removed."""
    descriptor, name = tempfile.mkstemp(dir=landing)
    written = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            _sync(file)
        yield written
    finally:
        written.unlink(missing_ok=True)


@contextmanager
def taken_over(landing: Path, data: bytes | Path) -> Iterator[Path]:
    """The bytes in a file of their own in `landing`, safely on disk. A file that lies there already is that file: it
    is used up."""
    if isinstance(data, bytes):
        with landed(landing, data) as written:
            yield written
    elif data.parent == landing:
        with data.open("rb") as file:
            os.fsync(file.fileno())
        try:
            yield data
        finally:
            data.unlink(missing_ok=True)
    else:
        with landed(landing) as written:
            with data.open("rb") as source, written.open("wb") as file:
                shutil.copyfileobj(source, file, CHUNK_BYTES)
                _sync(file)
            yield written


def etag_of(found: os.stat_result) -> str:
    """Every write makes a new file, so inode and time of writing tell two of them apart even at equal size."""
    return f'"{found.st_ino:x}-{found.st_mtime_ns:x}-{found.st_size:x}"'


@contextmanager
def translated() -> Iterator[None]:
    """The operating system's refusals in the project's words, without the path."""
    try:
        yield
    except OSError as error:
        if error.errno in _MISSING:
            raise SourceNotFound from error
        if error.errno in (errno.EACCES, errno.EPERM):
            raise SourceForbidden("the local bucket refused access") from error
        raise StorageUnavailable(f"the local bucket failed: {os.strerror(error.errno or 0)}") from error


def _sync(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())
