"""The style branch's pictures of a store, small enough for memory, and what one step of training draws of them.

Pictures are drawn in pairs: two frames of one clip that are close in time, or two photos. Both of a pair go through the
same framing and light, because what the StyleGRU reads is how the styles differ between them.
"""

from __future__ import annotations

import math
import zlib
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional

from styleflow.training.chance import Chance
from styleflow.training.geometry import Geometry
from styleflow.training.reencoding import Reencoding, reencoded
from styleflow.training.resampling import resized, style_part
from styleflow.training.store import Store, StoredVideo


@dataclass(frozen=True, eq=False)
class PictureRun:
    """Consecutive style pictures of one clip, or one photo."""

    identity: str
    video: str
    label: str
    pictures: Tensor
    """uint8 [T,3,R,R], RGB."""


@dataclass(frozen=True, eq=False)
class StylePictures:
    """Runs of pictures, by identity and video."""

    clips: tuple[PictureRun, ...]
    photos: tuple[PictureRun, ...] = ()

    @cached_property
    def by_identity(self) -> dict[str, dict[str, list[PictureRun]]]:
        found: defaultdict[str, defaultdict[str, list[PictureRun]]] = defaultdict(lambda: defaultdict(list))
        for run in self.clips:
            found[run.identity][run.video].append(run)
        return {identity: dict(videos) for identity, videos in found.items()}

    def clip(self, chance: Chance) -> PictureRun:
        """A clip; every identity equally likely, and every video of it."""
        videos = self.by_identity[chance.one_of(sorted(self.by_identity))]
        return chance.one_of(videos[chance.one_of(sorted(videos))])

    def where(self, keep: Callable[[str], bool]) -> StylePictures:
        """The part whose identities `keep` wants."""
        clips, photos = (tuple(run for run in runs if keep(run.identity)) for runs in (self.clips, self.photos))
        return StylePictures(clips, photos)

    def held_back(self, share: float) -> tuple[StylePictures, StylePictures]:
        """(to learn from, to judge by): no identity is in both; `share` of those with videos and of the photos."""
        back = _chosen({run.identity for run in self.clips}, share)
        back |= _chosen({run.identity for run in self.photos} - {run.identity for run in self.clips}, share)
        return self.where(lambda identity: identity not in back), self.where(lambda identity: identity in back)


def _chosen(identities: Iterable[str], share: float) -> set[str]:
    """By a checksum of the name, so that neither alphabet nor the rest of the store decides much. Never all of them."""
    ordered = sorted(identities, key=lambda name: (zlib.crc32(name.encode()), name))
    return set(ordered[: max(0, min(math.ceil(share * len(ordered)), len(ordered) - 1))])


def style_pictures(
    store: Store, size: int, splits: Iterable[str] = ("train",), without_generators: Collection[str] = ()
) -> StylePictures:
    """All style pictures of the splits, less the fakes of some generators, and of all photos. Raises StoreError for a
    damaged file."""
    wanted = set(splits)
    videos = (video for video in store.videos if video.facts.split in wanted)
    kept = [video for video in videos if video.facts.label == "real" or video.facts.generator not in without_generators]
    return StylePictures(
        tuple(run for video in kept for run in _runs(video, size, store.geometry)),
        tuple(run for photo in store.photos for run in _runs(photo, size, store.geometry)),
    )


def _runs(video: StoredVideo, size: int, geometry: Geometry) -> Iterable[PictureRun]:
    for index in range(video.clips):
        wide = torch.from_numpy(video.frames(index)).permute(0, 3, 1, 2).float()
        small = resized(style_part(wide, geometry), size).round().clamp(0, 255).to(torch.uint8)
        yield PictureRun(video.facts.identity, video.facts.key, video.facts.label, small)


@dataclass(frozen=True, kw_only=True)
class PictureMix:
    """What a step draws."""

    pairs: int = 8
    """A batch has twice as many pictures."""
    photos: float = 0.35
    """Share of pairs that are two photos."""
    furthest: int = 6
    """Frames between the two of a clip, at most."""
    moved: float = 0.7
    """Share of pairs that are turned, scaled and shifted a little."""
    coded: float = 0.5
    """Share of pairs that are seen through compression and grain, and wanted without."""


@dataclass(frozen=True, eq=False)
class DrawnPictures:
    """Pairs [first, second, first, second, ...]."""

    seen: Tensor
    """[2P,3,R,R] float32 in [-1,1]: what the encoder gets."""
    wanted: Tensor
    """The same without compression: what is to come back."""
    neighbours: Tensor = field(repr=False)
    """[P] bool: two frames of one clip."""


def drawn_pictures(pictures: StylePictures, mix: PictureMix, chance: Chance) -> DrawnPictures:
    """One batch. Raises ValueError where there is nothing to draw from."""
    if not pictures.clips and not pictures.photos:
        raise ValueError("there are no pictures to learn from")
    drawn = [_pair(pictures, mix, chance) for _ in range(mix.pairs)]
    raw = torch.cat([pair for pair, _ in drawn]).float() / 255
    placed = _placed(raw, mix, chance)
    wanted = [reencoded(pair, _light(chance)) for pair in placed.view(mix.pairs, 2, *placed.shape[1:])]
    seen = [reencoded(pair, _compression(chance)) if chance.happens(mix.coded) else pair for pair in wanted]
    neighbours = torch.tensor([close for _, close in drawn])
    return DrawnPictures(torch.cat(seen) * 2 - 1, torch.cat(wanted) * 2 - 1, neighbours)


def _pair(pictures: StylePictures, mix: PictureMix, chance: Chance) -> tuple[Tensor, bool]:
    if pictures.photos and (not pictures.clips or chance.happens(mix.photos)):
        return torch.cat([chance.one_of(pictures.photos).pictures[:1] for _ in range(2)]), False
    run = pictures.clip(chance).pictures
    first = chance.whole(0, len(run))
    second = min(max(first + chance.whole(1, mix.furthest + 1) * (1 if chance.happens(0.5) else -1), 0), len(run) - 1)
    return run[[first, second]], True


def _placed(raw: Tensor, mix: PictureMix, chance: Chance) -> Tensor:
    """Some pairs turned, scaled and shifted, as another landmark detector would have framed them."""
    rows = torch.eye(2, 3).repeat(len(raw), 1, 1)
    moved = [pair for pair in range(mix.pairs) if chance.happens(mix.moved)]
    for pair in moved:
        angle, zoom = math.radians(chance.uniform(-4, 4)), chance.uniform(0.94, 1.06)
        cos, sin = math.cos(angle) * zoom, math.sin(angle) * zoom
        shift = [chance.uniform(-0.05, 0.05) for _ in range(2)]
        rows[2 * pair : 2 * pair + 2] = torch.tensor([[cos, -sin, shift[0]], [sin, cos, shift[1]]])
    chosen = torch.tensor([2 * pair + member for pair in moved for member in (0, 1)], dtype=torch.long)
    if not moved:
        return raw
    grid = functional.affine_grid(rows[chosen], [len(chosen), *raw.shape[1:]], align_corners=False)
    placed = raw.clone()
    placed[chosen] = functional.grid_sample(raw[chosen], grid, padding_mode="border", align_corners=False)
    return placed


def _light(chance: Chance) -> Reencoding:
    return Reencoding(
        flip=chance.happens(0.5),
        scale=chance.uniform(0.6, 1.0) if chance.happens(0.25) else 1.0,
        contrast=1 + chance.uniform(-0.15, 0.15),
        brightness=chance.uniform(-0.07, 0.07),
        saturation=1 + chance.uniform(-0.25, 0.25),
        gamma=1 + chance.uniform(-0.15, 0.15),
    )


def _compression(chance: Chance) -> Reencoding:
    """Mild: the pictures are shrunk, and a video's blocks and grain were shrunk with them."""
    return Reencoding(
        quality=chance.uniform(75, 97),
        offset=(chance.whole(0, 8), chance.whole(0, 8)),
        noise=chance.uniform(0.0, 0.015),
        noise_seed=chance.whole(0, 2**31),
    )
