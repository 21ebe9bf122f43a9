"""What the readers of all public layouts share."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from styleflow.datasets.manifest import SPLITS, DatasetError, Manifest, ManifestEntry

VIDEO_SUFFIXES = frozenset({".mp4", ".avi", ".mov", ".mkv", ".webm", ".mpg", ".mpeg", ".m4v"})


@dataclass(frozen=True, kw_only=True)
class ScanWish:
    """What a caller may choose about a scan. Raises DatasetError for a split that does not exist."""

    compression: str = "c23"
    """Of FaceForensics++: c0 (or raw), c23 or c40."""
    splits: Collection[str] = SPLITS
    """Only these are listed, and only their videos can be missing."""
    licence: str | None = None
    """The terms under which the set was obtained; written to every line that names none."""

    def __post_init__(self) -> None:
        unknown = [split for split in self.splits if split not in SPLITS]
        if unknown:
            raise DatasetError(f"there is no split {unknown[0]!r}; known are {', '.join(SPLITS)}")


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


def present(root: Path, promised: Iterable[ManifestEntry], wish: ScanWish) -> Manifest:
    """The promised videos of the wished splits that are there; the others are named as missing, and a pair that is
    missing is no pair. Raises DatasetError where there is none at all."""
    wished = [entry for entry in promised if entry.split in wish.splits]
    there = {entry.path for entry in wished if (root / entry.path).is_file()}
    missing = tuple(dict.fromkeys(entry.path for entry in wished if entry.path not in there))
    if not there:
        raise DatasetError(_nothing(root, wish, missing))
    entries = (_settled(entry, there, wish) for entry in wished if entry.path in there)
    return Manifest(root, tuple(entries), missing)


def _nothing(root: Path, wish: ScanWish, missing: Sequence[PurePosixPath]) -> str:
    if not missing:
        return f"{root.name} holds no videos of this layout in {', '.join(wish.splits)}"
    return f"none of the {len(missing)} videos that the layout promises is below {root.name}; the first is {missing[0]}"


def _settled(entry: ManifestEntry, there: Collection[PurePosixPath], wish: ScanWish) -> ManifestEntry:
    pair = entry.pair if entry.pair and PurePosixPath(entry.pair) in there else None
    return replace(entry, pair=pair, licence=entry.licence or wish.licence)
