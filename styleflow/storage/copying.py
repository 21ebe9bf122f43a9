"""Copies within one bucket, through this process: no store needs to offer more than the contract."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from styleflow.errors import SourceNotFound
from styleflow.storage.bucket import Bucket

_TYPES = {".json": "application/json", ".jpg": "image/jpeg", ".png": "image/png"}


def copy_folder(bucket: Bucket, key: str, to: str, scratch: Path, checkpoint: Callable[[], None]) -> None:
    """Copy the object `key`, and all that lies beside it, into the folder of the key `to`; names stay.

    Each goes by way of a file in `scratch`, so that a large one takes no memory. `checkpoint` is called before each
    object and may raise. Raises SourceNotFound when `key` itself is gone.
    """
    folder, target = key.rpartition("/")[0], to.rpartition("/")[0]
    found = {stored.key for stored in bucket.list(f"{folder}/")}
    if key not in found:
        raise SourceNotFound(f"there is no object {key!r}")
    for name in sorted(found):
        checkpoint()
        _copy(bucket, name, f"{target}/{name.removeprefix(f'{folder}/')}", scratch / "object")


def _copy(bucket: Bucket, key: str, to: str, path: Path) -> None:
    with bucket.open(key) as chunks, path.open("wb") as file:
        for chunk in chunks:
            file.write(chunk)
    bucket.put(to, path, _TYPES.get(Path(key).suffix, "application/octet-stream"))
    path.unlink()
