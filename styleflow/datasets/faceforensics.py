"""FaceForensics++ (Rössler et al., ICCV 2019), with FaceShifter.

    <root>/original_sequences/youtube/<compression>/videos/000.mp4 ... 999.mp4
    <root>/manipulated_sequences/<method>/<compression>/videos/000_003.mp4      target _ source
    <root>/train.json val.json test.json (or below splits/)                     lists of [target, source]

The two videos of a pair of the official lists are swapped both ways, so both belong to one identity, named after both.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from styleflow.datasets.layout import ScanWish, read_json
from styleflow.datasets.manifest import DatasetError, ManifestEntry, Split

DATASET = "FaceForensics++"
METHODS = ("Deepfakes", "Face2Face", "FaceSwap", "NeuralTextures", "FaceShifter")
SPLIT_FILES: tuple[tuple[str, Split], ...] = (("train", "train"), ("val", "validation"), ("test", "test"))
RAW = ("c0", "raw")


def promised(root: Path, wish: ScanWish) -> Iterator[ManifestEntry]:
    """Originals and both directions of all five methods by the official splits. Raises DatasetError without them."""
    compression = compression_folder(root / "original_sequences" / "youtube", wish.compression)
    for name, split in SPLIT_FILES:
        if split in wish.splits:
            for pair in _pairs(root, name):
                yield from _of_pair(pair, split, compression)


def _of_pair(pair: tuple[str, str], split: Split, compression: str) -> Iterator[ManifestEntry]:
    identity = "_".join(sorted(pair))
    for target, source in (pair, pair[::-1]):
        original = PurePosixPath("original_sequences/youtube", compression, "videos", f"{target}.mp4")
        yield ManifestEntry(path=original, label="real", identity=identity, split=split, dataset=DATASET)
        for method in METHODS:
            yield ManifestEntry(
                path=PurePosixPath("manipulated_sequences", method, compression, "videos", f"{target}_{source}.mp4"),
                label="fake",
                generator=method,
                identity=identity,
                pair=original.as_posix(),
                split=split,
                dataset=DATASET,
            )


def _pairs(root: Path, name: str) -> list[tuple[str, str]]:
    path = next(
        (folder / f"{name}.json" for folder in (root, root / "splits") if (folder / f"{name}.json").exists()), None
    )
    pairs = read_json(path or root / f"{name}.json")
    try:
        return [(str(first), str(second)) for first, second in pairs]
    except (TypeError, ValueError) as error:
        raise DatasetError(f"{name}.json is no list of pairs: {error}") from error


def compression_folder(folder: Path, wish: str) -> str:
    """The folder's own word for the wished compression: uncompressed videos lie under `c0` or `raw`."""
    return next((word for word in RAW if (folder / word).is_dir()), wish) if wish in RAW else wish
