"""Where a worker keeps the video that it is working on, and a light worker the file of an export, so that one that is
killed leaves nothing behind for long.

Each process has a folder of its own under a common one, and holds a lock on it. What no process holds any more is
deleted by the next worker that starts.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

from styleflow.errors import ConfigurationError


def common_folder(kind: str = "work") -> Path:
    """The folder of all workers of this user on this machine; of another kind, that of all light workers."""
    return Path(tempfile.gettempdir()) / f"styleflow-{kind}-{os.getuid()}"


class Scratch:
    """This process's folder; deletes those of dead processes on entering and its own on leaving."""

    def __init__(self, common: Path, name: str) -> None:
        self._common = common
        self.folder = common / name
        self._lock_path = common / f"{name}.lock"
        self._lock: int | None = None

    def __enter__(self) -> Self:
        self._common.mkdir(mode=0o700, parents=True, exist_ok=True)
        standing = self._common.lstat()
        if standing.st_uid != os.getuid() or standing.st_mode & 0o077 or not stat.S_ISDIR(standing.st_mode):
            raise ConfigurationError(f"the folder {self._common.name} for videos at work is not this user's alone")
        for leftover in self._common.glob("*.lock"):
            _delete_if_free(leftover)
        self._lock = _hold(self._lock_path)
        self.folder.mkdir(mode=0o700)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        self._lock_path.unlink(missing_ok=True)
        if self._lock is not None:
            os.close(self._lock)


def _hold(path: Path) -> int:
    """A locked descriptor of the file that lies at `path` now: a sweeping neighbour may have deleted the first one."""
    while True:
        fd = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
        fcntl.flock(fd, fcntl.LOCK_EX)
        if path.exists() and os.path.samestat(os.fstat(fd), path.stat()):
            return fd
        os.close(fd)


def _delete_if_free(lock: Path) -> None:
    """Delete the folder that belongs to the lock when no process holds it."""
    try:
        fd = os.open(lock, os.O_RDWR)
    except FileNotFoundError:
        return
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        pass
    else:
        shutil.rmtree(lock.with_suffix(""), ignore_errors=True)
        lock.unlink(missing_ok=True)
    finally:
        os.close(fd)
