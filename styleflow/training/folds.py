"""Folds of people: nobody is learnt from in one fold and judged in another, as the body or as the face of a swap."""

from __future__ import annotations

import zlib
from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import Protocol


class Made(Protocol):
    """Whose video it is, whose face it shows, and what made it."""

    @property
    def identity(self) -> str: ...

    @property
    def donor(self) -> str: ...

    @property
    def generator(self) -> str: ...


def circles_of(videos: Iterable[Made]) -> dict[str, str]:
    """Of every identity the circle that it belongs to: identities and donors that some video joins are in one circle.

    A circle is named by its first member in the alphabet.
    """
    above: dict[str, str] = {}

    def first(name: str) -> str:
        above.setdefault(name, name)
        while above[name] != name:
            above[name] = above[above[name]]
            name = above[name]
        return name

    identities = set[str]()
    for video in videos:
        identities.add(video.identity)
        ends = sorted({first(video.identity), first(video.donor or video.identity)})
        above[ends[-1]] = ends[0]
    return {identity: first(identity) for identity in sorted(identities)}


def folds_of(videos: Iterable[Made], folds: int) -> dict[str, int]:
    """The fold of every identity; a circle is never split. Each generator's circles, and those with real videos alone,
    are dealt out evenly by the number of their identities.

    The order within each is that of a checksum of the name, so that no alphabet decides. Deal them from all videos, not
    from a selection: what a run leaves out must not move people from one fold to another.
    """
    listed = tuple(videos)
    circles = circles_of(listed)
    strata: defaultdict[str, defaultdict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for video in listed:
        strata[video.generator][circles[video.identity]].add(video.identity)
    dealt: dict[str, int] = {}
    for generator in sorted(strata, reverse=True):
        weights = {circle: len(identities) for circle, identities in strata[generator].items()}
        _deal(weights, folds, dealt)
    return {identity: dealt[circle] for identity, circle in circles.items()}


def _deal(weights: dict[str, int], folds: int, dealt: dict[str, int]) -> None:
    """Put each circle that has no fold yet into the one that is lightest so far, the heaviest circles first."""
    filled = Counter[int]()
    for circle in weights.keys() & dealt.keys():
        filled[dealt[circle]] += weights[circle]
    fresh = weights.keys() - dealt.keys()
    for circle in sorted(fresh, key=lambda name: (-weights[name], zlib.crc32(name.encode()), name)):
        dealt[circle] = min(range(folds), key=lambda fold: (filled[fold], fold))
        filled[dealt[circle]] += weights[circle]
