"""What preparation leaves and training reads: a folder of aligned clips with landmarks, and of photos.

    <store>/store.json                   version, geometry, manifest, how its files were made
    <store>/clips/<key>.safetensors      one video: clips as blocks (frame_codec.py), landmarks, facts in the header
    <store>/photos/<key>.safetensors     photos, each a clip of one frame

A file appears whole or not at all, so preparation resumes by looking what is there. Only torch's companions numpy and
safetensors are needed to read it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Container, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from styleflow.errors import StyleFlowError
from styleflow.training import frame_codec
from styleflow.training.geometry import Geometry

STORE_VERSION = 2
INDEX = "store.json"
LANDMARKS = 68

Listed = Mapping[str, tuple[str, str]]
"""Split and identity of every video of a manifest, by key."""


class StoreError(StyleFlowError):
    """The prepared store cannot be read, or was made for other sizes."""

    code: ClassVar[str] = "store_unusable"


@dataclass(frozen=True, kw_only=True)
class VideoFacts:
    """What training must know of a video besides its pixels; all of it from the manifest."""

    key: str
    """Names the file in the store: letters, digits, `-`, `_` and `.`."""
    label: str
    """`real` or `fake`."""
    identity: str
    donor: str = ""
    """Whose face a swap shows, where that is known: another identity, or a name for it."""
    generator: str = ""
    pair: str = ""
    """Key of the real partner; empty where there is none."""
    split: str = "train"
    source_sha256: str = ""


@dataclass(frozen=True)
class StoredVideo:
    """One file of the store; pixels are read when asked for."""

    path: Path
    facts: VideoFacts
    clips: int
    frames_per_clip: int
    wide_size: int
    starts: tuple[float, ...]
    """Time of each clip's first frame in seconds; 0 for photos."""

    def frames(self, clip: int) -> NDArray[np.uint8]:
        """(T, W, W, 3) RGB of a clip. Raises StoreError."""
        with _opened(self.path) as file:
            block = file.get_tensor(f"clip.{clip}").tobytes()
        try:
            return frame_codec.decode(block, (self.frames_per_clip, self.wide_size, self.wide_size))
        except ValueError as error:
            raise StoreError(f"clip {clip} of {self.path.name} is damaged: {error}") from error

    def landmarks(self, clip: int) -> NDArray[np.float32]:
        """(T, 68, 2), x and y in pixels of the frames."""
        with _opened(self.path) as file:
            return np.asarray(file.get_tensor("landmarks")[clip], dtype=np.float32)


@dataclass(frozen=True)
class Store:
    """A prepared folder."""

    directory: Path
    geometry: Geometry
    data_version: str
    """SHA-256 of the manifest that it was prepared from."""

    @classmethod
    def create(
        cls,
        directory: Path,
        geometry: Geometry,
        data_version: str,
        *,
        made_with: Mapping[str, int] | None = None,
        listed: Listed | None = None,
    ) -> Self:
        """Begin a store, or go on with one of the same geometry and numbers. Raises StoreError for others.

        `made_with` are numbers that decide what is kept of a video, by name, such as `clips_per_video`: a file that is
        there is not made again, so they cannot change. A store that names none is gone on with as it is.
        Of `listed`, the whole manifest, are all the videos that are read from now on: files of an earlier manifest
        stay, of people who may stand in another split now. None: every file is read.
        """
        index = {"version": STORE_VERSION, "geometry": asdict(geometry), "data_version": data_version}
        index |= {"made_with": dict(made_with or {}), "listed": None if listed is None else dict(listed)}
        if (directory / INDEX).exists():
            before = cls.open(directory)
            if before.geometry != geometry:
                raise StoreError(f"the store holds pictures for a content size of {before.geometry.content_size} px")
            index["made_with"] = _made_as_before(_index(directory).get("made_with") or {}, made_with or {})
        for folder in ("clips", "photos"):
            (directory / folder).mkdir(parents=True, exist_ok=True)
        _write(directory / INDEX, json.dumps(index, indent=2).encode())
        return cls(directory, geometry, data_version)

    @classmethod
    def open(cls, directory: Path) -> Self:
        """Raises StoreError where there is no store, or one of another version."""
        index = _index(directory)
        try:
            return cls(directory, Geometry(**index["geometry"]), str(index["data_version"]))
        except (ValueError, KeyError, TypeError) as error:
            raise StoreError(f"{directory.name} is no prepared store: {error}") from error

    @cached_property
    def videos(self) -> tuple[StoredVideo, ...]:
        """By key, those that the latest manifest lists as they were prepared. Raises StoreError for a damaged file."""
        listed = _index(self.directory).get("listed")
        return tuple(
            video
            for video in self._read("clips", listed)
            if listed is None or listed.get(video.facts.key) == [video.facts.split, video.facts.identity]
        )

    @cached_property
    def photos(self) -> tuple[StoredVideo, ...]:
        return self._read("photos")

    def path_of(self, key: str, folder: str = "clips") -> Path:
        return self.directory / folder / f"{key}.safetensors"

    def write(
        self,
        facts: VideoFacts,
        clips: Sequence[NDArray[np.uint8]],
        landmarks: Sequence[NDArray[np.float32]],
        folder: str = "clips",
        *,
        starts: Sequence[float] | None = None,
    ) -> Path:
        """Keep the clips (each (T, W, W, 3)), landmarks (each (T, 68, 2)) and starts of one video; T is the same for
        all."""
        blocks = {f"clip.{i}": np.frombuffer(frame_codec.encode(clip), dtype=np.uint8) for i, clip in enumerate(clips)}
        frames = len(clips[0]) if clips else 0
        points = np.asarray(landmarks, dtype=np.float16).reshape(len(clips), frames, LANDMARKS, 2)
        header = {name: str(value) for name, value in asdict(facts).items()}
        header |= {"clips": str(len(clips)), "frames_per_clip": str(frames)}
        header |= {"starts": json.dumps(list(starts or [0.0] * len(clips)))}
        path = self.path_of(facts.key, folder)
        unfinished = path.with_suffix(f".{os.getpid()}.part")
        save_file(blocks | {"landmarks": points}, unfinished, metadata=header)
        os.replace(unfinished, path)
        return path

    def _read(self, folder: str, keys: Container[str] | None = None) -> tuple[StoredVideo, ...]:
        paths = sorted((self.directory / folder).glob("*.safetensors"))
        return tuple(read_video(path, self.geometry.wide_size) for path in paths if keys is None or path.stem in keys)


def _index(directory: Path) -> Mapping[str, Any]:
    """Of any store of this version. Raises StoreError."""
    try:
        index: Mapping[str, Any] = json.loads((directory / INDEX).read_text())
        if index["version"] != STORE_VERSION:
            raise StoreError(f"the store has version {index['version']}, expected {STORE_VERSION}: prepare again")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{directory.name} is no prepared store: {error}") from error
    return index


def _made_as_before(before: Mapping[str, int], now: Mapping[str, int]) -> dict[str, int]:
    others = [f"{name} {before[name]}, not {value}" for name, value in now.items() if before.get(name, value) != value]
    if others:
        raise StoreError(f"the store was prepared with {', '.join(others)}: give that, or another store")
    return dict(before)


def read_video(path: Path, wide_size: int) -> StoredVideo:
    """The header of one file. Raises StoreError."""
    with _opened(path) as file:
        header: Mapping[str, str] = file.metadata() or {}
        parts = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118  # a handle is no mapping
        held = {name: (part.get_dtype(), part.get_shape()) for name, part in parts.items()}
    try:
        facts = VideoFacts(**{field.name: header[field.name] for field in fields(VideoFacts)})
        clips, frames, starts = (json.loads(header[name]) for name in ("clips", "frames_per_clip", "starts"))
        video = StoredVideo(path, facts, int(clips), int(frames), wide_size, tuple(map(float, starts)))
    except (KeyError, ValueError, TypeError) as error:
        raise StoreError(f"{path.name} in the store lacks its facts: {error}") from error
    _refuse_others_than_promised(video, held)
    return video


def _refuse_others_than_promised(video: StoredVideo, held: Mapping[str, tuple[str, list[int]]]) -> None:
    """Raises StoreError unless the file has the clips, landmarks and starts that its header speaks of."""
    points = ("F16", [video.clips, video.frames_per_clip, LANDMARKS, 2])
    if (
        held.get("landmarks") != points
        or len(video.starts) != video.clips
        or any(f"clip.{n}" not in held for n in range(video.clips))
    ):
        raise StoreError(f"{video.path.name} in the store is damaged: it lacks clips that its header speaks of")


def _opened(path: Path) -> Any:
    try:
        return safe_open(path, framework="np")
    except (SafetensorError, OSError) as error:
        raise StoreError(f"{path.name} in the store cannot be read: {error}") from error


def _write(path: Path, content: bytes) -> None:
    unfinished = path.with_suffix(f".{os.getpid()}.part")
    unfinished.write_bytes(content)
    os.replace(unfinished, path)
