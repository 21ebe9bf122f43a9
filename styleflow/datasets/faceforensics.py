"""FaceForensics++ (Rössler et al., ICCV 2019) with FaceShifter, and DeepFakeDetection, which lies in the same tree.

    <root>/original_sequences/youtube/<compression>/videos/000.mp4 ... 999.mp4
    <root>/manipulated_sequences/<method>/<compression>/videos/000_003.mp4      target _ source
    <root>/train.json val.json test.json (or below splits/)                     lists of [target, source]
    <root>/original_sequences/actors/<compression>/videos/01__scene.mp4
    <root>/manipulated_sequences/DeepFakeDetection/<compression>/videos/01_02__scene__ABCDEFGH.mp4

The two videos of a pair of the official lists are swapped both ways, so both belong to one identity, named after both.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from styleflow.datasets.layout import ScanWish, files_below, present, read_json, relative
from styleflow.datasets.manifest import DatasetError, Manifest, ManifestEntry, Split

METHODS = ("Deepfakes", "Face2Face", "FaceSwap", "NeuralTextures", "FaceShifter")
SPLIT_FILES: tuple[tuple[str, Split], ...] = (("train", "train"), ("val", "validation"), ("test", "test"))
RAW = ("c0", "raw")


def scan(root: Path, wish: ScanWish) -> Manifest:
    """Originals and both directions of all five methods by the official splits. Raises DatasetError without them."""
    compression = _compression(root / "original_sequences" / "youtube", wish.compression)
    return present(root, _promised(root, compression, wish))


def _promised(root: Path, compression: str, wish: ScanWish) -> Iterator[ManifestEntry]:
    for name, split in SPLIT_FILES:
        for pair in _pairs(root, name):
            identity = "_".join(sorted(pair))
            for target, source in (pair, pair[::-1]):
                original = PurePosixPath("original_sequences/youtube", compression, "videos", f"{target}.mp4")
                yield ManifestEntry(
                    path=original,
                    label="real",
                    identity=identity,
                    split=split,
                    licence=wish.licence,
                    dataset="FaceForensics++",
                )
                for method in METHODS:
                    yield ManifestEntry(
                        path=PurePosixPath(
                            "manipulated_sequences", method, compression, "videos", f"{target}_{source}.mp4"
                        ),
                        label="fake",
                        generator=method,
                        identity=identity,
                        pair=original.as_posix(),
                        split=split,
                        licence=wish.licence,
                        dataset="FaceForensics++",
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


def _compression(folder: Path, wish: str) -> str:
    """The folder's own word for uncompressed videos."""
    return next((word for word in RAW if (folder / word).is_dir()), wish) if wish in RAW else wish


def scan_deepfake_detection(root: Path, wish: ScanWish) -> Manifest:
    """DeepFakeDetection, all of it for testing: it has no official splits. An identity is an actor, the target."""
    compression = _compression(root / "original_sequences" / "actors", wish.compression)
    real_folder = root / "original_sequences" / "actors" / compression / "videos"
    fake_folder = root / "manipulated_sequences" / "DeepFakeDetection" / compression / "videos"
    reals = {path.stem: relative(path, root) for path in files_below(real_folder)}
    entries = [_actor(path, root, wish, None, None) for path in files_below(real_folder)]
    for path in files_below(fake_folder):
        target_and_source, scene = path.stem.split("__")[:2] if path.stem.count("__") >= 2 else ("", "")
        original = reals.get(f"{target_and_source.split('_')[0]}__{scene}")
        entries.append(_actor(path, root, wish, "DeepFakeDetection", original))
    if not entries:
        raise DatasetError(f"{root.name} has no videos of DeepFakeDetection in {compression}")
    return Manifest(root, tuple(entries))


def _actor(
    path: Path, root: Path, wish: ScanWish, generator: str | None, original: PurePosixPath | None
) -> ManifestEntry:
    return ManifestEntry(
        path=relative(path, root),
        label="fake" if generator else "real",
        generator=generator,
        identity=f"actor-{path.stem.split('_')[0]}",
        pair=original.as_posix() if original else None,
        split="test",
        licence=wish.licence,
        dataset="DeepFakeDetection",
    )
