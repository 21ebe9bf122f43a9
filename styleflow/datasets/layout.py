"""What the scans of all public layouts share."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from styleflow.datasets.manifest import DatasetError, Manifest, ManifestEntry

VIDEO_SUFFIXES = frozenset({".mp4", ".avi", ".mov", ".mkv", ".webm", ".mpg", ".mpeg", ".m4v"})


@dataclass(frozen=True, kw_only=True)
class ScanWish:
    """What a caller may choose about a scan."""

    compression: str = "c23"
    """Of FaceForensics++: c0 (or raw), c23 or c40."""
    licence: str | None = None
    """Written to every line: the terms under which the set was obtained."""


def files_below(folder: Path) -> list[Path]:
    """Every video below a folder, in order; none where there is no folder."""
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in VIDEO_SUFFIXES and path.is_file())


def relative(path: Path, root: Path) -> PurePosixPath:
    return PurePosixPath(path.relative_to(root).as_posix())


def read_json(path: Path) -> Any:
    """Raises DatasetError where the file is missing or no JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DatasetError(f"{path.name} is needed and cannot be read: {error}") from error


def read_lines(path: Path) -> list[str]:
    """Lines that hold something. Raises DatasetError where the file is missing."""
    try:
        return [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"{path.name} is needed and cannot be read: {error}") from error


def present(root: Path, promised: Iterable[ManifestEntry]) -> Manifest:
    """The promised videos that are there; the others are named as missing, and a pair that is missing is no pair."""
    promised = list(promised)
    there = {entry.path for entry in promised if (root / entry.path).is_file()}
    missing = tuple(entry.path for entry in promised if entry.path not in there)
    if not there:
        raise DatasetError(f"none of the {len(promised)} videos that the layout promises is below {root.name}")
    entries = (_with_present_pair(entry, there) for entry in promised if entry.path in there)
    return Manifest(root, tuple(entries), missing)


def _with_present_pair(entry: ManifestEntry, there: set[PurePosixPath]) -> ManifestEntry:
    if entry.pair is None or PurePosixPath(entry.pair) in there:
        return entry
    return replace(entry, pair=None)
