"""DeeperForensics-1.0 (Jiang et al., CVPR 2020): fakes only; its originals are those of FaceForensics++.

<root>/manipulated_videos/<variation>/000_M101.mp4      target in FaceForensics++ _ actor
<root>/lists/splits/train.txt val.txt test.txt          names of files
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from styleflow.datasets.layout import ScanWish, present, read_lines
from styleflow.datasets.manifest import DatasetError, Manifest, ManifestEntry, Split

SPLIT_FILES: tuple[tuple[str, Split], ...] = (("train", "train"), ("val", "validation"), ("test", "test"))


def scan(root: Path, wish: ScanWish) -> Manifest:
    """Every variation that is there, by the official lists. An identity is the target's video."""
    folder = root / "manipulated_videos"
    variations = sorted(path.name for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
    if not variations:
        raise DatasetError(f"{root.name} has no folder below manipulated_videos/")
    return present(root, _promised(root, variations, wish))


def _promised(root: Path, variations: list[str], wish: ScanWish) -> Iterator[ManifestEntry]:
    for name, split in SPLIT_FILES:
        for file in read_lines(root / "lists" / "splits" / f"{name}.txt"):
            for variation in variations:
                yield ManifestEntry(
                    path=PurePosixPath("manipulated_videos", variation, PurePosixPath(file).name),
                    label="fake",
                    generator=f"DeeperForensics/{variation}",
                    identity=PurePosixPath(file).stem.split("_")[0],
                    split=split,
                    licence=wish.licence,
                    dataset="DeeperForensics-1.0",
                )
