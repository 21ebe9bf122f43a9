"""DeepFakeDetection (Google and Jigsaw, 2019), which is handed out in the tree of FaceForensics++.

    <root>/original_sequences/actors/<compression>/videos/01__scene.mp4
    <root>/manipulated_sequences/DeepFakeDetection/<compression>/videos/01_02__scene__ABCDEFGH.mp4   target _ source

There is no list of its videos. What a fake's name promises is its original: the target actor in the same scene.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from styleflow.datasets.faceforensics import compression_folder
from styleflow.datasets.layout import ScanWish, files_below, relative
from styleflow.datasets.manifest import ManifestEntry

DATASET = "DeepFakeDetection"


def promised(root: Path, wish: ScanWish) -> Iterator[ManifestEntry]:
    """All of it for testing: it has no official splits. An identity is an actor, the target."""
    compression = compression_folder(root / "original_sequences" / "actors", wish.compression)
    folder = PurePosixPath("original_sequences/actors", compression, "videos")
    originals = {relative(path, root) for path in files_below(root / folder)}
    fakes = []
    for path in files_below(root / "manipulated_sequences" / DATASET / compression / "videos"):
        original = _original(path.stem, folder)
        originals |= {original} if original else set()
        fakes.append(_entry(relative(path, root), DATASET, original))
    yield from (_entry(path, None, None) for path in sorted(originals))
    yield from fakes


def _original(fake: str, folder: PurePosixPath) -> PurePosixPath | None:
    parts = fake.split("__")
    return folder / f"{parts[0].split('_')[0]}__{parts[1]}.mp4" if len(parts) == 3 else None


def _entry(path: PurePosixPath, generator: str | None, original: PurePosixPath | None) -> ManifestEntry:
    return ManifestEntry(
        path=path,
        label="fake" if generator else "real",
        generator=generator,
        identity=f"actor-{path.stem.split('_')[0]}",
        pair=original.as_posix() if original else None,
        split="test",
        dataset=DATASET,
    )
