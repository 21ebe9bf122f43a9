"""Preparation of a whole manifest and a folder of photos: in parallel, resumable, within a bound on the disk."""

from __future__ import annotations

import hashlib
import multiprocessing
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

from styleflow.datasets.manifest import Manifest
from styleflow.training.prepare import Landmarker, Preparation, Prepared, prepare_photo, prepare_video
from styleflow.training.store import Store, StoreError, VideoFacts

PHOTO_SUFFIXES = frozenset({".jpg", ".jpeg", ".png"})
AT_ONCE = 4
"""Sources handed to each worker ahead of their turn: what runs on when the bound is met."""


@dataclass(frozen=True)
class Source:
    """One file to prepare."""

    path: Path
    facts: VideoFacts
    photo: bool = False


def key_of(name: str) -> str:
    """A relative path as the name of a file in the store; a checksum tells apart what differs in other signs only."""
    checksum = hashlib.sha256(name.encode()).hexdigest()[:8]
    readable = re.sub(r"[^A-Za-z0-9_.-]+", "__", PurePosixPath(name).with_suffix("").as_posix())
    return f"{readable.strip('_.')}-{checksum}"


def sources_of(manifest: Manifest, splits: Sequence[str]) -> Iterator[Source]:
    """The videos of the splits, by their manifest. Raises OSError for a file that cannot be read."""
    for entry in manifest.entries:
        if entry.split in splits:
            path = manifest.root / entry.path
            facts = VideoFacts(
                key=key_of(entry.path.as_posix()),
                label=entry.label,
                identity=entry.identity,
                donor=entry.donor or "",
                generator=entry.generator or "",
                pair=key_of(entry.pair) if entry.pair else "",
                split=entry.split,
                source_sha256=_sha256(path),
            )
            yield Source(path, facts)


def photo_sources(folder: Path) -> Iterator[Source]:
    """The pictures of a folder, each of a person of its own."""
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in PHOTO_SUFFIXES:
            key = key_of(f"photo-{path.name}")
            yield Source(path, VideoFacts(key=key, label="real", identity=key, source_sha256=_sha256(path)), photo=True)


def prepare_set(
    sources: Iterable[Source],
    store: Store,
    landmark_weights: Path,
    wish: Preparation,
    *,
    workers: int,
    most_bytes: int,
    told: Callable[[Prepared], None] = lambda _: None,
) -> list[Prepared]:
    """Prepare what is not there yet. Raises StoreError once the store would outgrow `most_bytes`; what is there stays,
    and a call with a larger bound goes on."""
    results: list[Prepared] = []
    total = 0
    with ProcessPoolExecutor(
        workers, mp_context=multiprocessing.get_context("spawn"), initializer=_begin, initargs=(landmark_weights,)
    ) as pool:
        for batch in _batches(sources, workers * AT_ONCE):
            for result in pool.map(partial(_prepare, store=store, wish=wish), batch):
                results.append(result)
                total += result.bytes_written
                told(result)
            if total > most_bytes:
                raise StoreError(f"the store has reached {total} bytes of {most_bytes} allowed")
    return results


def _batches(sources: Iterable[Source], size: int) -> Iterator[list[Source]]:
    batch: list[Source] = []
    for source in sources:
        batch.append(source)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


_tools: tuple[object, Landmarker] | None = None
"""Face detector and landmarker of this worker process, loaded once."""


def _begin(landmark_weights: Path) -> None:
    import cv2
    import torch

    from styleflow.faces.detect import MtcnnFaceDetector
    from styleflow.training.landmarks import landmarks_of, load_landmark_network

    global _tools
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    _tools = (MtcnnFaceDetector(), partial(landmarks_of, load_landmark_network(landmark_weights)))


def _prepare(source: Source, store: Store, wish: Preparation) -> Prepared:
    from styleflow.faces.detect import MtcnnFaceDetector

    assert _tools is not None
    faces, landmarker = _tools
    assert isinstance(faces, MtcnnFaceDetector)
    if source.photo:
        return prepare_photo(source.path, source.facts, store, faces, landmarker)
    return prepare_video(source.path, source.facts, store, faces, landmarker, wish)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
