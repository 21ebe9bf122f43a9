"""The plain layout: `<root>/real/**` and `<root>/fake/<generator>/**`, or the same below train, validation, test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from styleflow.datasets.layout import ScanWish, files_below, relative
from styleflow.datasets.manifest import LABELS, SPLITS, ManifestEntry, Split


def promised(root: Path, wish: ScanWish) -> Iterator[ManifestEntry]:  # noqa: ARG001 (the shape of every layout)
    """What is there; a folder promises no more. Identities are file names up to the first `__`, or whole; a fake
    belongs to the real video of the same name."""
    for split, base in _bases(root):
        reals = {path.stem: relative(path, root).as_posix() for path in files_below(base / "real")}
        for label in LABELS:
            for path in files_below(base / label):
                inside = path.relative_to(base / label).parts
                yield ManifestEntry(
                    path=relative(path, root),
                    label=label,
                    identity=path.stem.split("__")[0],
                    split=split,
                    generator=(inside[0] if len(inside) > 1 else "unknown") if label == "fake" else None,
                    pair=reals.get(path.stem) if label == "fake" else None,
                    dataset=root.absolute().name,
                )


def _bases(root: Path) -> list[tuple[Split, Path]]:
    found = [(split, root / split) for split in SPLITS if any((root / split / label).is_dir() for label in LABELS)]
    return found or [("test", root)]
