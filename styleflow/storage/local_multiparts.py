"""Objects in parts, in a folder: each part is a file, and the object is all of them, one behind the other."""

from __future__ import annotations

import builtins
import fcntl
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from styleflow.errors import ConfigurationError, SourceNotFound, UploadMismatch
from styleflow.storage.bucket import CHUNK_BYTES, PresignedPut
from styleflow.storage.keys import checked
from styleflow.storage.local_files import Signer, etag_of, landed, taken_over, translated
from styleflow.storage.multiparts import MAX_PARTS, MIN_PART_BYTES, OpenMultipart, Part, StoredPart

_ID = re.compile(r"^[0-9a-f]{32}$")
_KEY = "key"


class LocalMultiparts:
    """`folder/ID/key` holds the key, `folder/ID/N` the part of that number."""

    def __init__(
        self, folder: Path, landing: Path, put: Callable[[str, Path, str], object], sign: Signer | None
    ) -> None:
        self._folder = folder
        self._landing = landing
        self._put = put
        self._sign = sign

    def begin(self, key: str, content_type: str) -> str:
        del content_type  # a file has none
        multipart_id = secrets.token_hex(16)
        made = self._landing / multipart_id
        with translated():
            made.mkdir(mode=0o700)
            (made / _KEY).write_text(checked(key))
            self._folder.mkdir(mode=0o700, exist_ok=True)
            made.rename(self._folder / multipart_id)
        return multipart_id

    def presign_part(self, key: str, multipart_id: str, number: int, size_bytes: int, seconds: int) -> PresignedPut:
        del multipart_id  # the API knows which one the upload has, and how long each of its parts is
        if self._sign is None:
            raise ConfigurationError("this process hands out no addresses into the local bucket")
        url = self._sign("PUT", checked(key), seconds, number)
        return PresignedPut(url=url, method="PUT", headers={"Content-Length": str(size_bytes)})

    def put(self, key: str, multipart_id: str, number: int, data: bytes | Path) -> str:
        folder = self._opened(key, multipart_id)
        if not 1 <= number <= MAX_PARTS:
            raise UploadMismatch(f"There are parts 1 to {MAX_PARTS}.")
        # A folder that was aborted meanwhile is not made again: the part then has nowhere to go.
        with translated(), taken_over(self._landing, data) as written:
            etag = etag_of(written.stat())
            written.replace(folder / str(number))
        return etag

    def list(self, key: str, multipart_id: str) -> builtins.list[StoredPart]:
        folder = self._opened(key, multipart_id)
        with translated():
            found = [(int(path.name), path.stat()) for path in folder.iterdir() if path.name.isdigit()]
        return [
            StoredPart(number=number, etag=etag_of(facts), size_bytes=facts.st_size) for number, facts in sorted(found)
        ]

    def complete(self, key: str, multipart_id: str, parts: Sequence[Part]) -> None:
        folder = self._opened(key, multipart_id)
        with translated(), _alone(folder / _KEY), landed(self._landing) as whole:
            _check(parts, self.list(key, multipart_id))
            _join([folder / str(part.number) for part in parts], whole)
            # Again: a part that was replaced meanwhile is not the one that was named.
            _check(parts, self.list(key, multipart_id))
            self._put(key, whole, "application/octet-stream")
            self.abort(key, multipart_id)

    def abort(self, key: str, multipart_id: str) -> None:
        gone = self._landing / multipart_id
        with suppress(SourceNotFound), translated():
            # At once, so that no part can arrive any more; what is left of it is removed like any leftover.
            self._opened(key, multipart_id).rename(gone)
            shutil.rmtree(gone, ignore_errors=True)

    def list_open(self, prefix: str) -> Iterator[OpenMultipart]:
        if not self._folder.is_dir():
            return
        for path in self._folder.iterdir():
            with suppress(FileNotFoundError):  # completed or aborted while the folder was being read
                key = (path / _KEY).read_text()
                begun = datetime.fromtimestamp((path / _KEY).stat().st_mtime, UTC)
                if key.startswith(prefix):
                    yield OpenMultipart(key=key, multipart_id=path.name, begun_at=begun)

    def _opened(self, key: str, multipart_id: str) -> Path:
        """Its folder. Raises SourceNotFound, also for one that is another key's."""
        folder = self._folder / multipart_id
        if not _ID.match(multipart_id):
            raise SourceNotFound
        with translated():
            if (folder / _KEY).read_text() != key:
                raise SourceNotFound
        return folder


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """One at a time, over all processes: of two who complete the same, the later must find it gone, and not put the
    object a second time under another ETag."""
    with path.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield


def _check(parts: Sequence[Part], stored: Sequence[StoredPart]) -> None:
    """Raises UploadMismatch."""
    sizes = {(part.number, part.etag): part.size_bytes for part in stored}
    for part in parts:
        if (part.number, part.etag) not in sizes:
            raise UploadMismatch(f"Part {part.number} has not arrived, or not with that ETag.")
    if any(sizes[part.number, part.etag] < MIN_PART_BYTES for part in parts[:-1]):
        raise UploadMismatch(f"Every part but the last has at least {MIN_PART_BYTES} bytes.")


def _join(parts: Sequence[Path], whole: Path) -> None:
    with whole.open("wb") as file:
        for path in parts:
            with path.open("rb") as part:
                shutil.copyfileobj(part, file, CHUNK_BYTES)
        file.flush()
        os.fsync(file.fileno())
