"""What a data set holds, as plain values and as a CSV: one line per video. Only the standard library.

Every identity stands in one split only, so that nothing is judged on a person it was learnt from.
"""

from __future__ import annotations

import csv
import hashlib
import io
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import ClassVar, Literal, Self

from styleflow.errors import StyleFlowError

Label = Literal["real", "fake"]
Split = Literal["train", "validation", "test"]
LABELS: tuple[Label, ...] = ("real", "fake")
SPLITS: tuple[Split, ...] = ("train", "validation", "test")
COLUMNS = ("file", "split", "label", "generator", "identity", "donor", "pair", "licence", "dataset")
"""Of the CSV. Others may stand beside them and are ignored; those that are not `REQUIRED` may lack."""
REQUIRED = ("file", "split", "label", "identity")
UNKNOWN = "unknown"
"""The generator of a fake whose generator a CSV does not name."""


class DatasetError(StyleFlowError):
    """A data set, or a manifest of one, that cannot be used."""

    code: ClassVar[str] = "dataset_unusable"


@dataclass(frozen=True, kw_only=True)
class ManifestEntry:
    """One video."""

    path: PurePosixPath
    """From the manifest's root; absolute, or with `..`, where the videos lie elsewhere."""
    label: Label
    identity: str
    """The person, or the source video where no person is named."""
    split: Split
    generator: str | None = None
    """What made a fake; None for a real video."""
    donor: str | None = None
    """Whose face a swap shows, where that is known: an identity, or a name that stands for one."""
    pair: str | None = None
    """Path of the real video that a fake was made of."""
    licence: str | None = None
    dataset: str = ""


@dataclass(frozen=True)
class Manifest:
    """Raises DatasetError for identities in two splits of a data set, and for a path that stands twice."""

    root: Path
    entries: tuple[ManifestEntry, ...]
    missing: tuple[PurePosixPath, ...] = ()
    """Files that the layout promises and that are not there; they are no entries."""

    def __post_init__(self) -> None:
        _refuse_doubles(self.entries)
        _refuse_split_identities(self.entries)

    @classmethod
    def from_csv(cls, path: Path) -> Self:
        """The manifest in a file; paths are relative to its folder. Raises DatasetError, which names the line."""
        try:
            text = path.read_text(encoding="utf-8-sig")  # spreadsheets begin a CSV with a byte-order mark
        except (OSError, UnicodeDecodeError) as error:
            raise DatasetError(f"the manifest {path.name} cannot be read: {error}") from error
        rows = csv.DictReader(io.StringIO(text, newline=""))
        try:
            lacking = [name for name in REQUIRED if name not in (rows.fieldnames or ())]
            if lacking:
                raise DatasetError(f"the manifest {path.name} lacks the columns: {', '.join(lacking)}")
            return cls(path.parent, tuple(_entry(row, rows.line_num, path.absolute().parent.name) for row in rows))
        except csv.Error as error:
            raise DatasetError(f"the manifest {path.name} cannot be read: {error}") from error

    def to_csv(self) -> str:
        """As `from_csv` reads it, if it is written into `root`."""
        out = io.StringIO(newline="")
        rows = csv.DictWriter(out, COLUMNS, lineterminator="\n")
        rows.writeheader()
        for entry in self.entries:
            values = {name: getattr(entry, name, "") or "" for name in COLUMNS}
            rows.writerow(values | {"file": entry.path.as_posix()})
        return out.getvalue()

    @property
    def sha256(self) -> str:
        """Of the CSV: the data's version."""
        return hashlib.sha256(self.to_csv().encode()).hexdigest()

    def counts(self) -> Mapping[tuple[str, str, str], int]:
        """Videos by split, label and generator ("" for real ones)."""
        return Counter((entry.split, entry.label, entry.generator or "") for entry in self.entries)

    def moved_to(self, folder: Path) -> Manifest:
        """The same videos, named from another folder."""
        base = PurePosixPath(Path(os.path.relpath(self.root.resolve(), folder.resolve())).as_posix())
        entries = tuple(
            replace(entry, path=base / entry.path, pair=(base / entry.pair).as_posix() if entry.pair else None)
            for entry in self.entries
        )
        return Manifest(folder, entries, tuple(base / path for path in self.missing))


def _entry(row: Mapping[str, str | None], line: int, dataset: str) -> ManifestEntry:
    values = {name: (row.get(name) or "").strip() for name in COLUMNS}
    for name in REQUIRED:
        if not values[name]:
            raise DatasetError(f"line {line} of the manifest has no {name}")
    if values["label"] not in LABELS or values["split"] not in SPLITS:
        raise DatasetError(
            f"line {line} of the manifest: the label must be one of {', '.join(LABELS)} and the split one of "
            f"{', '.join(SPLITS)}, not {values['label']!r} and {values['split']!r}"
        )
    return ManifestEntry(
        path=PurePosixPath(values["file"]),
        label=values["label"],
        identity=values["identity"],
        split=values["split"],
        generator=values["generator"] or (UNKNOWN if values["label"] == "fake" else None),
        donor=values["donor"] or None,
        pair=values["pair"] or None,
        licence=values["licence"] or None,
        dataset=values["dataset"] or dataset,
    )


def _refuse_doubles(entries: Iterable[ManifestEntry]) -> None:
    seen = Counter(entry.path for entry in entries)
    double = next((path for path, count in seen.items() if count > 1), None)
    if double is not None:
        raise DatasetError(f"the video {double} is named twice")


def _refuse_split_identities(entries: Iterable[ManifestEntry]) -> None:
    splits: dict[tuple[str, str], set[str]] = {}
    for entry in entries:
        splits.setdefault((entry.dataset, entry.identity), set()).add(entry.split)
    torn = [f"{name!r} ({', '.join(sorted(found))})" for (_, name), found in sorted(splits.items()) if len(found) > 1]
    if torn:
        raise DatasetError(f"identities stand in more than one split: {', '.join(torn)}")
