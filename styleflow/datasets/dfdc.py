"""The Deepfake Detection Challenge (Dolhansky et al., 2020) and its preview.

<root>/<part>/metadata.json     {"abc.mp4": {"label": "FAKE", "split": "train", "original": "xyz.mp4"}}
<root>/dataset.json             preview: {"method_A/1/a.mp4": {"label": "fake", "set": "train", "target_id": 1}}
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from styleflow.datasets.layout import ScanWish, present, read_json, relative
from styleflow.datasets.manifest import DatasetError, Manifest, ManifestEntry, Split

SPLIT_OF: Mapping[str, Split] = {"train": "train", "validation": "validation", "val": "validation", "test": "test"}


def scan(root: Path, wish: ScanWish) -> Manifest:
    """Every part with a metadata.json. Nobody is named, so a person is the original video."""
    files = sorted(root.glob("**/metadata.json"))
    if not files:
        raise DatasetError(f"no metadata.json below {root.name}")
    return present(root, [entry for file in files for entry in _part(file, root, wish)])


def _part(file: Path, root: Path, wish: ScanWish) -> Iterator[ManifestEntry]:
    folder = relative(file.parent, root)
    for name, facts in _objects(file):
        fake = str(facts.get("label", "")).upper() == "FAKE"
        original = str(facts.get("original") or "")
        yield ManifestEntry(
            path=folder / name,
            label="fake" if fake else "real",
            generator="DFDC" if fake else None,
            identity=Path(original if fake and original else name).stem,
            pair=(folder / original).as_posix() if fake and original else None,
            split=_split(str(facts.get("split") or "train"), file),
            licence=wish.licence,
            dataset="DFDC",
        )


def scan_preview(root: Path, wish: ScanWish) -> Manifest:
    """The preview (DFDCP): a person is `target_id`, a generator the folder of its method."""
    return present(root, list(_preview(root / "dataset.json", wish)))


def _preview(file: Path, wish: ScanWish) -> Iterator[ManifestEntry]:
    for name, facts in _objects(file):
        fake = str(facts.get("label", "")).lower() == "fake"
        yield ManifestEntry(
            path=PurePosixPath(name),
            label="fake" if fake else "real",
            generator=PurePosixPath(name).parts[0] if fake else None,
            identity=str(facts.get("target_id") or PurePosixPath(name).stem),
            split=_split(str(facts.get("set") or "train"), file),
            licence=wish.licence,
            dataset="DFDCP",
        )


def _objects(file: Path) -> list[tuple[str, Mapping[str, Any]]]:
    found = read_json(file)
    if not isinstance(found, dict) or not all(isinstance(facts, dict) for facts in found.values()):
        raise DatasetError(f"{file.name} must be an object of objects, one per video")
    return sorted(found.items())


def _split(word: str, file: Path) -> Split:
    if word not in SPLIT_OF:
        raise DatasetError(f"{file.name} names a split {word!r}; known are {', '.join(SPLIT_OF)}")
    return SPLIT_OF[word]
