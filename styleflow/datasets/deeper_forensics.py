"""DeeperForensics-1.0 (Jiang et al., CVPR 2020): fakes only; its originals are those of FaceForensics++.

    <root>/manipulated_videos/<variation>/000_M101.mp4      target in FaceForensics++ _ actor
    <root>/lists/splits/train.txt val.txt test.txt          names of files

The official splits keep the actors apart, whose face each video shows, so an actor is an identity.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from styleflow.datasets.faceforensics import SPLIT_FILES
from styleflow.datasets.layout import ScanWish, read_lines
from styleflow.datasets.manifest import DatasetError, ManifestEntry, Split


def promised(root: Path, wish: ScanWish) -> Iterator[ManifestEntry]:
    """Every variation that is there, by the official lists. Raises DatasetError without a variation or a list."""
    folder = root / "manipulated_videos"
    variations = sorted(path.name for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
    if not variations:
        raise DatasetError(f"{root.name} has no folder below manipulated_videos/")
    for name, split in SPLIT_FILES:
        if split in wish.splits:
            for line in read_lines(root / "lists" / "splits" / f"{name}.txt"):
                yield from (_entry(PurePosixPath(line).name, variation, split) for variation in variations)


def _entry(file: str, variation: str, split: Split) -> ManifestEntry:
    target, _, actor = PurePosixPath(file).stem.partition("_")
    if not target or not actor:
        raise DatasetError(f"the list of {split} has a line that is not `target_actor.mp4`: {file!r:.80}")
    return ManifestEntry(
        path=PurePosixPath("manipulated_videos", variation, file),
        label="fake",
        generator=f"DeeperForensics/{variation}",
        identity=actor,
        split=split,
        dataset="DeeperForensics-1.0",
    )
