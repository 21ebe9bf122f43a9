"""Whose face a swap shows, where only the file's name says it."""

from __future__ import annotations

import re
from dataclasses import replace

from styleflow.datasets.manifest import DatasetError, Manifest


def with_donors(manifest: Manifest, pattern: str) -> Manifest:
    """Every fake without a donor whose path the regular expression finds gets what its first group holds.

    A donor is a person like any other: folds keep together whoever shares one (training/folds.py). Raises DatasetError
    for an expression that is none, or that has no group.
    """
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise DatasetError(f"the donor pattern {pattern!r} is no regular expression: {error}") from error
    if not compiled.groups:
        raise DatasetError(f"the donor pattern {pattern!r} has no group that holds the donor's name")
    entries = []
    for entry in manifest.entries:
        found = compiled.search(entry.path.as_posix()) if entry.label == "fake" and not entry.donor else None
        entries.append(replace(entry, donor=found[1]) if found else entry)
    return replace(manifest, entries=tuple(entries))
