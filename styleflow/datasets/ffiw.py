"""FFIW-10K (Zhou et al., CVPR 2021): several faces in each video, some of them swapped.

    <root>/source/<train|val|test>/train_00000000.mp4   real
    <root>/target/<train|val|test>/train_00000000.mp4   fake, under the name of its real video

The folders of the splits may be left out: the names begin with the split, too.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from styleflow.datasets.dfdc import SPLIT_OF
from styleflow.datasets.layout import ScanWish, files_below, relative
from styleflow.datasets.manifest import DatasetError, ManifestEntry, Split

REAL, FAKE = "source", "target"


def promised(root: Path, wish: ScanWish) -> Iterator[ManifestEntry]:  # noqa: ARG001 (the shape of every layout)
    """A person is the real video. Each video promises its other half. Raises DatasetError for one of no split."""
    below = {relative(path, root / half) for half in (REAL, FAKE) for path in files_below(root / half)}
    for path in sorted(below):
        split = _split(path)
        yield _entry(REAL / path, None, split)
        yield _entry(FAKE / path, REAL / path, split)


def _entry(path: PurePosixPath, original: PurePosixPath | None, split: Split) -> ManifestEntry:
    return ManifestEntry(
        path=path,
        label="fake" if original else "real",
        generator="FFIW" if original else None,
        identity=path.stem,
        pair=original.as_posix() if original else None,
        split=split,
        dataset="FFIW-10K",
    )


def _split(path: PurePosixPath) -> Split:
    for word in (*path.parts[:-1], path.stem.split("_")[0]):
        if word in SPLIT_OF:
            return SPLIT_OF[word]
    raise DatasetError(f"neither the folder nor the name of {path} tells its split")
