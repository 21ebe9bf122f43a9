"""What was submitted, on disk before it is sent, so that a run that was killed is taken up and submits nothing twice.

JSON lines. A submission begins with a line that holds its Idempotency-Key; it is on the disk before the first request
goes out. A second line names the upload, before the job is asked for; a third the job. A rerun passes over what has a
job, and repeats what has none under the same key, which the service answers with what it did the first time. A line
that was cut off by a crash counts as not written, which is safe for each of the three.
"""

from __future__ import annotations

import fcntl
import json
import os
import threading
import uuid
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from styleflow.cli.remote.sources import VideoSource
from styleflow.errors import ConfigurationError

REMEMBERED = timedelta(days=6)
"""For how long a key is surely known to the service: a day less than its own default."""
_BEGINNING = '{"source":'
"""Of the first line; of one that was cut off, some of it."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One submission. In doubt while it has no job."""

    key: str
    """The Idempotency-Key of everything that is sent for it."""
    begun_at: datetime
    is_new: bool = False
    """Begun in this run, so that nothing can have been sent for it before."""
    upload_id: str | None = None
    job_id: str | None = None

    def is_remembered(self, now: datetime) -> bool:
        """Whether the service still knows the key, so that repeating it is safe."""
        return self.is_new or now - self.begun_at < REMEMBERED


class Journal:
    """Entries by identity (`sources.identity`). Safe to use from several threads; one process at a time."""

    def __init__(self, path: Path | None) -> None:
        """`path` None keeps no file: keys are then new in every run."""
        self._path = path
        self._lock = threading.Lock()
        self._entries: dict[str, Entry] = {}
        self._identities: dict[str, str] = {}
        self._fd = -1

    def __enter__(self) -> Self:
        """Raises ConfigurationError when the file cannot be used, or another process uses it."""
        if self._path is not None:
            try:
                self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
                self._read()
            except ConfigurationError:
                self._close()
                raise
            except (OSError, UnicodeDecodeError) as error:
                self._close()
                raise ConfigurationError(f"the journal {self._path} cannot be used: {_reason(error)}") from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:  # a thread that is left behind must not write into whatever gets the number next
            self._close()

    def _close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def begin(self, identity: str, source: VideoSource) -> Entry:
        """The entry of that identity, begun now where there is none. Raises ConfigurationError when it cannot be noted:
        then nothing must be sent."""
        with self._lock:
            return self._entries.get(identity) or self._begun(identity, source)

    def renew(self, entry: Entry, source: VideoSource) -> Entry:
        """The same submission under another key, where nothing is left of what was sent under the first."""
        with self._lock:
            return self._begun(self._identities[entry.key], source)

    def _begun(self, identity: str, source: VideoSource) -> Entry:
        entry = Entry(key=str(uuid.uuid4()), begun_at=datetime.now(UTC), is_new=True)
        self._write(
            {
                "source": source.text,
                "size": source.size_bytes,
                "mtime_ns": source.modified_ns,
                "identity": identity,
                "key": entry.key,
                "begun_at": entry.begun_at.isoformat(timespec="seconds"),
            }
        )
        return self._keep(identity, entry)

    def uploaded(self, entry: Entry, upload_id: str) -> Entry:
        """To be called before the job is asked for."""
        return self._changed(replace(entry, upload_id=upload_id), upload_id=upload_id)

    def submitted(self, entry: Entry, job_id: str) -> Entry:
        return self._changed(replace(entry, job_id=job_id), job_id=job_id)

    def _changed(self, entry: Entry, **line: str) -> Entry:
        with self._lock:
            self._write({"key": entry.key, **line})
            return self._keep(self._identities[entry.key], entry)

    def _keep(self, identity: str, entry: Entry) -> Entry:
        self._entries[identity] = entry
        self._identities[entry.key] = identity
        return entry

    def _write(self, line: dict[str, Any]) -> None:
        if self._fd < 0:
            return
        data = json.dumps(line, separators=(",", ":")).encode() + b"\n"
        try:
            while data:
                data = data[os.write(self._fd, data) :]
            os.fsync(self._fd)
        except OSError as error:
            raise ConfigurationError(f"the journal {self._path} cannot be written: {error.strerror}") from error

    def _read(self) -> None:
        fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with open(self._fd, encoding="utf-8", closefd=False) as file:
            text = file.read()
        first, _, _ = text.partition("\n")
        if not (first.startswith(_BEGINNING) or _BEGINNING.startswith(first)):
            raise ConfigurationError(f"{self._path} is no journal, and nothing was written to it")
        for line in text.splitlines():
            self._take(line)
        if text and not text.endswith("\n"):
            os.write(self._fd, b"\n")
        assert self._path is not None
        _sync_folder(self._path.absolute().parent)

    def _take(self, line: str) -> None:
        try:
            found = json.loads(line)
            if "identity" in found:
                begun = Entry(key=str(found["key"]), begun_at=datetime.fromisoformat(found["begun_at"]))
                self._keep(str(found["identity"]), begun)
            elif (identity := self._identities.get(found["key"])) is not None:
                entry = self._entries[identity]
                upload_id, job_id = found.get("upload_id", entry.upload_id), found.get("job_id", entry.job_id)
                self._keep(identity, replace(entry, upload_id=upload_id, job_id=job_id))
        except (ValueError, KeyError, TypeError):  # cut off: as if it had not been written
            return


def _reason(error: OSError | UnicodeDecodeError) -> str:
    if isinstance(error, BlockingIOError):
        return "another process submits with it"
    return getattr(error, "strerror", None) or "it is no text"


def _sync_folder(folder: Path) -> None:
    """Make the file's name durable, as its lines are."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
