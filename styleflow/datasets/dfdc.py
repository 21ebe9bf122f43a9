"""The Deepfake Detection Challenge (Dolhansky et al., 2020): one list in each folder of videos.

<part>/metadata.json    {"abc.mp4": {"label": "FAKE", "split": "train", "original": "xyz.mp4"}}    training
                        {"abc.mp4": {"is_fake": 1}}                                                test
<part>/labels.csv       filename,label with 1 for fake                                             validation
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from styleflow.datasets.layout import ScanWish, read_json, read_lines, relative
from styleflow.datasets.manifest import DatasetError, ManifestEntry, Split

SPLIT_OF: Mapping[str, Split] = {"train": "train", "validation": "validation", "val": "validation", "test": "test"}
LABEL_OF: Mapping[str, bool] = {"FAKE": True, "1": True, "REAL": False, "0": False}
"""Whether a label's word, in capitals, means a fake."""


def promised(root: Path, wish: ScanWish) -> Iterator[ManifestEntry]:  # noqa: ARG001 (the shape of every layout)
    """Every part with a list. Nobody is named, so a person is the original video, or where none is told the video.

    Raises DatasetError without a list, and for a label or split that it does not know.
    """
    lists = sorted(root.glob("**/metadata.json"))
    lists += [file for file in sorted(root.glob("**/labels.csv")) if file.with_name("metadata.json") not in lists]
    if not lists:
        raise DatasetError(f"no metadata.json or labels.csv below {root.name}")
    for file in lists:
        yield from _part(file, root)


def _part(file: Path, root: Path) -> Iterator[ManifestEntry]:
    folder = relative(file.parent, root)
    for name, facts in objects(file) if file.suffix == ".json" else _rows(file):
        fake = is_fake(facts.get("label", facts.get("is_fake")), name, file)
        original = str(facts.get("original") or "") if fake else ""
        split = facts.get("split")
        yield ManifestEntry(
            path=folder / name,
            label="fake" if fake else "real",
            generator="DFDC" if fake else None,
            identity=Path(original or name).stem,
            pair=(folder / original).as_posix() if original else None,
            split=split_named(split, file) if split else _split_of_folder(root.absolute().name / folder),
            dataset="DFDC",
        )


def _rows(file: Path) -> list[tuple[str, Mapping[str, Any]]]:
    rows = list(csv.DictReader(read_lines(file)))
    if any(not row.get("filename") for row in rows):
        raise DatasetError(f"{file.name} must have the columns filename and label")
    return [(row["filename"], row) for row in rows]


def _split_of_folder(folder: PurePosixPath) -> Split:
    """Of the nearest folder that is called as a split; `test` where none is, so that nothing is learnt by mistake."""
    return next((SPLIT_OF[part] for part in reversed(folder.parts) if part in SPLIT_OF), "test")


def objects(file: Path) -> list[tuple[str, Mapping[str, Any]]]:
    """The videos of a list, by name, with what it tells of each. Raises DatasetError where it is of another form."""
    found = read_json(file)
    if not isinstance(found, dict) or not all(isinstance(facts, dict) for facts in found.values()):
        raise DatasetError(f"{file.name} must be an object of objects, one per video")
    return sorted(found.items())


def is_fake(label: object, name: str, file: Path) -> bool:
    """Raises DatasetError for a label that is neither, so that no video is taken for real because nothing is known."""
    word = str(label).upper()
    if word not in LABEL_OF:
        raise DatasetError(f"{file.name} gives {name} the label {label!r}; known are {', '.join(LABEL_OF)}")
    return LABEL_OF[word]


def split_named(word: object, file: Path) -> Split:
    """Raises DatasetError for a split that is not known."""
    if word not in SPLIT_OF:
        raise DatasetError(f"{file.name} names a split {word!r}; known are {', '.join(SPLIT_OF)}")
    return SPLIT_OF[str(word)]
