"""Celeb-DF-v2 (Li et al., CVPR 2020): the official test list.

    <root>/List_of_testing_videos.txt       `1 YouTube-real/00170.mp4`: 1 is real, 0 is fake
    <root>/Celeb-real/id0_0000.mp4          person _ video
    <root>/Celeb-synthesis/id0_id16_0000.mp4    target _ source _ video
    <root>/YouTube-real/00170.mp4

Videos that are not listed are left out: the same people stand in both parts, so that no split of people is possible.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from styleflow.datasets.layout import ScanWish, read_lines
from styleflow.datasets.manifest import DatasetError, ManifestEntry

LIST = "List_of_testing_videos.txt"
FAKES = "Celeb-synthesis"


def promised(root: Path, wish: ScanWish) -> Iterator[ManifestEntry]:  # noqa: ARG001 (the shape of every layout)
    """Raises DatasetError without the list, and for a line that is not of its form."""
    return map(_entry, read_lines(root / LIST))


def _entry(line: str) -> ManifestEntry:
    real, _, name = line.partition(" ")
    path = PurePosixPath(name.strip())
    if real not in ("0", "1") or len(path.parts) != 2:
        raise DatasetError(f"{LIST} has a line that is not `0|1 folder/file`: {line!r:.80}")
    fake = real == "0"
    parts = path.stem.split("_")
    person = parts[0] if path.parts[0] != "YouTube-real" else f"youtube-{path.stem}"
    original = f"Celeb-real/{parts[0]}_{parts[2]}.mp4" if fake and len(parts) == 3 else None
    return ManifestEntry(
        path=path,
        label="fake" if fake else "real",
        generator=FAKES if fake else None,
        identity=person,
        pair=original,
        split="test",
        dataset="Celeb-DF-v2",
    )
