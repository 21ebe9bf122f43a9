"""Which videos of a manifest are measured: their subjects, files and lines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from styleflow.evaluation.predictions import Prediction, Subject
from styleflow.evaluation.scores import EvaluationError

if TYPE_CHECKING:
    from styleflow.datasets.manifest import Manifest

EVERY_SPLIT = "all"
BAD = ("failed", "not_applicable")
"""Outcomes of a video that a manifest should not hold: unreadable, or without a face to judge."""


class BadVideos(EvaluationError):
    """Videos of the manifest cannot be used; the message names each with its line."""

    code = "bad_videos"


@dataclass(frozen=True, kw_only=True)
class Listed:
    """A video, where it lies, and where the manifest names it."""

    subject: Subject
    file: Path
    line: int
    """Of the manifest, its head being line 1."""


def listed(manifest: Manifest, split: str) -> list[Listed]:
    """The videos of a split in the manifest's order. Raises EvaluationError where there is none."""
    root = manifest.root
    videos = []
    for number, entry in enumerate(manifest.entries):
        if split in (EVERY_SPLIT, entry.split):
            subject = Subject(
                path=_name(str(entry.path), root),
                label=entry.label,
                generator=entry.generator,
                identity=entry.identity,
                pair=_name(str(entry.pair), root) if entry.pair else None,
                split=entry.split,
                dataset=entry.dataset,
            )
            videos.append(Listed(subject=subject, file=root / entry.path, line=number + 2))
    if not videos:
        splits = ", ".join(sorted({entry.split for entry in manifest.entries})) or "none"
        raise EvaluationError(f"The manifest has no video in the split {split!r}; it has: {splits}.")
    return videos


def require_files(videos: Sequence[Listed]) -> None:
    """Raises BadVideos that names every file that is not there."""
    _refuse([f"line {video.line}: {video.subject.path}: missing" for video in videos if not video.file.is_file()])


def require_usable(videos: Sequence[Listed], predictions: Sequence[Prediction]) -> None:
    """Raises BadVideos that names every video that failed, or had nothing to judge."""
    lines = {video.subject.path: video.line for video in videos}
    _refuse(
        [
            f"line {lines[line.subject.path]}: {line.subject.path}: {line.reason or line.outcome}"
            for line in predictions
            if line.outcome in BAD
        ]
    )


def _refuse(troubles: Sequence[str]) -> None:
    if troubles:
        raise BadVideos(f"{len(troubles)} of the manifest's videos cannot be used:\n" + "\n".join(troubles))


def _name(path: str, root: Path) -> str:
    """Below the manifest's folder, so that predictions can be carried elsewhere; absolute where it lies outside."""
    whole = Path(path)
    inside = whole.is_absolute() and whole.is_relative_to(root)
    return (whole.relative_to(root) if inside else whole).as_posix()
