"""The plain layout: `<root>/real/**` and `<root>/fake/<generator>/**`, or the same below train, validation, test."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import cast

from styleflow.datasets.layout import ScanWish, files_below, relative
from styleflow.datasets.manifest import LABELS, SPLITS, DatasetError, Label, Manifest, ManifestEntry, Split


def scan(root: Path, wish: ScanWish) -> Manifest:
    """Identities are file names up to the first `__`, or whole; a fake belongs to the real video of the same name."""
    entries = []
    for split, base in _bases(root):
        reals = {path.stem: relative(path, root) for path in files_below(base / "real")}
        entries += [_entry(root, path, "real", split, None, wish) for path in files_below(base / "real")]
        for path in files_below(base / "fake"):
            inside = path.relative_to(base / "fake").parts
            generator = inside[0] if len(inside) > 1 else "unknown"
            entries.append(_entry(root, path, "fake", split, generator, wish, reals.get(path.stem)))
    if not entries:
        raise DatasetError(f"{root.name} has no videos in real/ and fake/, nor below {', '.join(SPLITS)}")
    return Manifest(root, tuple(entries))


def _bases(root: Path) -> list[tuple[Split, Path]]:
    found = [(split, root / split) for split in SPLITS if any((root / split / label).is_dir() for label in LABELS)]
    return found or [("test", root)]


def _entry(
    root: Path,
    path: Path,
    label: str,
    split: str,
    generator: str | None,
    wish: ScanWish,
    pair: PurePosixPath | None = None,
) -> ManifestEntry:
    return ManifestEntry(
        path=relative(path, root),
        label=cast("Label", label),
        identity=path.stem.split("__")[0],
        split=cast("Split", split),
        generator=generator,
        pair=pair.as_posix() if pair else None,
        licence=wish.licence,
        dataset=root.name,
    )
