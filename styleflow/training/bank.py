"""The store's clips as training draws them, and which of them a run may learn from: identities are never split."""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from styleflow.training.chance import Chance
from styleflow.training.folds import folds_of
from styleflow.training.store import Store, StoredVideo

SAME_MOMENT_SECONDS = 0.02
"""Half a frame: an original and its fake have the same frames."""
MOST_BYTES = 6 * 2**30
"""Of decoded clips held; a clip of 32 frames of 252 px takes 6 MB."""


class ClipCache:
    """Decoded clips, the least recently used ones dropped beyond a bound: a small store is decoded once, a large one
    never fills the memory."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most_bytes = most_bytes
        self._held: OrderedDict[tuple[Path, int], NDArray[np.uint8]] = OrderedDict()
        self._bytes = 0

    def frames(self, video: StoredVideo, number: int) -> NDArray[np.uint8]:
        """(T, W, W, 3) of a clip. Raises StoreError."""
        key = (video.path, number)
        if key in self._held:
            self._held.move_to_end(key)
            return self._held[key]
        clip = video.frames(number)
        self._held[key] = clip
        self._bytes += clip.nbytes
        while self._bytes > self._most_bytes and len(self._held) > 1:
            self._bytes -= self._held.popitem(last=False)[1].nbytes
        return clip


@dataclass(frozen=True, eq=False)
class BankedVideo:
    """One video of a store; its pixels are decoded when asked for."""

    stored: StoredVideo
    cache: ClipCache

    @property
    def key(self) -> str:
        return self.stored.facts.key

    @property
    def identity(self) -> str:
        return self.stored.facts.identity

    @property
    def donor(self) -> str:
        return self.stored.facts.donor

    @property
    def generator(self) -> str:
        return self.stored.facts.generator

    @property
    def pair(self) -> str:
        return self.stored.facts.pair

    @property
    def fake(self) -> bool:
        return self.stored.facts.label == "fake"

    @property
    def clips(self) -> int:
        return self.stored.clips

    @property
    def frames_per_clip(self) -> int:
        return self.stored.frames_per_clip

    def clip(self, index: int, frames: slice) -> tuple[Tensor, Tensor]:
        """Frames of a clip as [T,3,W,W] float32 in 0..1, and their landmarks [T,68,2]. Raises StoreError."""
        pixels = torch.from_numpy(self.cache.frames(self.stored, index)[frames]).permute(0, 3, 1, 2).float() / 255
        return pixels, torch.from_numpy(self.stored.landmarks(index)[frames])


@dataclass(frozen=True, eq=False)
class Bank:
    """Videos and photos, with the draws that training needs."""

    videos: tuple[BankedVideo, ...]
    photos: tuple[BankedVideo, ...] = ()
    by_key: dict[str, BankedVideo] = field(init=False)
    reals: dict[str, list[BankedVideo]] = field(init=False)
    """By identity."""
    fakes: dict[str, dict[str, list[BankedVideo]]] = field(init=False)
    """By generator and identity."""
    swaps: tuple[BankedVideo, ...] = field(init=False)
    """Fakes whose original is here too."""

    def __post_init__(self) -> None:
        reals: defaultdict[str, list[BankedVideo]] = defaultdict(list)
        fakes: defaultdict[str, defaultdict[str, list[BankedVideo]]] = defaultdict(lambda: defaultdict(list))
        for video in self.videos:
            (fakes[video.generator][video.identity] if video.fake else reals[video.identity]).append(video)
        object.__setattr__(self, "by_key", {video.key: video for video in self.videos})
        swaps = tuple(video for video in self.videos if video.fake and video.pair in self.by_key)
        object.__setattr__(self, "swaps", swaps)
        object.__setattr__(self, "reals", dict(reals))
        object.__setattr__(self, "fakes", {generator: dict(found) for generator, found in fakes.items()})

    def where(self, keep: Callable[[BankedVideo], bool]) -> Bank:
        """The part of the videos for which `keep` holds; all photos stay."""
        return Bank(tuple(video for video in self.videos if keep(video)), self.photos)

    def real(self, chance: Chance) -> BankedVideo:
        """A real video, every identity equally likely."""
        return chance.one_of(self.reals[chance.one_of(sorted(self.reals))])

    def fake(self, chance: Chance) -> BankedVideo:
        """A generated video, every generator equally likely, and every identity within it."""
        of_generator = self.fakes[chance.one_of(sorted(self.fakes))]
        return chance.one_of(of_generator[chance.one_of(sorted(of_generator))])

    def moment_in_original(self, fake: BankedVideo, number: int) -> tuple[BankedVideo, int] | None:
        """The original's clip that shows what the fake's clip shows, if both were kept."""
        original = self.by_key.get(fake.pair)
        if original is None:
            return None
        start = fake.stored.starts[number]
        gaps = [abs(other - start) for other in original.stored.starts]
        nearest = min(range(len(gaps)), key=gaps.__getitem__, default=None)
        return (original, nearest) if nearest is not None and gaps[nearest] < SAME_MOMENT_SECONDS else None

    def other_face(self, chance: Chance, than: str) -> tuple[BankedVideo, int]:
        """A clip or photo of somebody else."""
        if self.photos and chance.happens(0.5):
            return chance.one_of(self.photos), 0
        strangers = [identity for identity in sorted(self.reals) if identity != than] or sorted(self.reals)
        video = chance.one_of(self.reals[chance.one_of(strangers)])
        return video, chance.whole(0, video.clips)


def banked(store: Store, *, splits: Iterable[str] = ("train",), most_bytes: int = MOST_BYTES) -> Bank:
    """The videos of the splits that gave clips, and all photos. Raises StoreError for a file without its facts."""
    wanted, cache = set(splits), ClipCache(most_bytes)
    videos = (BankedVideo(video, cache) for video in store.videos if video.facts.split in wanted and video.clips)
    return Bank(tuple(videos), tuple(BankedVideo(photo, cache) for photo in store.photos))


def held_back(bank: Bank, fold: int, folds: int) -> tuple[Bank, Bank]:
    """(to learn from, to judge by): identities of the fold are only in the second."""
    dealt = folds_of(bank.videos, folds)
    return (
        bank.where(lambda video: dealt[video.identity] != fold),
        bank.where(lambda video: dealt[video.identity] == fold),
    )


def without_generators(bank: Bank, generators: Sequence[str]) -> Bank:
    """Without the fakes of some generators."""
    return bank.where(lambda video: not video.fake or video.generator not in generators)
