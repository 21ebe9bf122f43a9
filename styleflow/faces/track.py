"""Following several faces through a video, a few frames at a time.

Faces are looked for on key frames only; between two key frames of the same face its box and points are
interpolated. A *track* is one face over time. A *run* is a part of the video whose frames follow each other without
a hole: it ends with its segment, and where the caller breaks it off. A *stretch* is a part of a track within one run,
without a hole; only within a stretch can a clip be cut. Nothing here sees a pixel; a face may carry a look, and where
that changes at once by more than a shot does, a cut ends the stretch and begins another track.

Limits, known and accepted: identity is position and size, cuts aside. Two people who change places between two
runs (the windows of a uniform plan, say), or within a gap, are joined; one who moves away in that time becomes a second
track. A face that is seen only between two key frames is not seen at all.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from styleflow.faces.detect import Face
from styleflow.faces.look import changed
from styleflow.report import Box


@dataclass(frozen=True, kw_only=True)
class TrackRules:
    """When two boxes are one face."""

    min_overlap: float = 0.5
    """Intersection over union of a face on two key frames that follow each other."""
    max_missed: int = 1
    """Key frames in a row on which a face may be missed without ending its stretch."""
    max_gap_seconds: float = 1.0
    """How long after the end of a stretch a face at the same place continues the track."""
    max_shift: float = 0.5
    """From one run to the next: distance of centres, in mean box sides."""
    max_growth: float = 1.5
    """From one run to the next: ratio of box sides, either way."""
    max_open: int = 16
    """Faces followed at once; the largest and surest are kept."""
    takeover: float = 1.5
    """How many times more prominent a new face must be to take the place of an open one."""


@dataclass(frozen=True)
class FrameMark:
    """Which frame. `index` counts the decoded frames of its segment, from 0."""

    segment: int
    index: int
    time_seconds: float


@dataclass(frozen=True, eq=False)
class Sighting:
    """One face on one frame. Frames of one stretch follow each other without a hole."""

    track: int
    stretch: int
    mark: FrameMark
    box: Box
    points: NDArray[np.float64]
    """(5, 2), x and y in pixels of the frame."""
    confidence: float | None
    """0..1; None where box and points were interpolated."""


@dataclass(frozen=True)
class Waiting:
    """A face missed on the last key frame: its sightings may still come, so keep pixels around its last
    box."""

    stretch: int
    box: Box


@dataclass(frozen=True)
class Step:
    """What one key frame settled."""

    sightings: tuple[Sighting, ...] = ()
    """In order of time within each stretch. May reach back over the frames for which its stretch was
    waiting."""
    waiting: tuple[Waiting, ...] = ()
    ended: tuple[int, ...] = ()
    """Stretches that get no further sighting."""


@dataclass(eq=False)
class _Open:
    track: int
    stretch: int
    run: int
    face: Face
    mark: FrameMark
    unsettled: list[FrameMark] = field(default_factory=list)
    missed: int = 0


class Tracker:
    """Turns the faces on key frames into sightings on all frames. The order of the faces given does not
    matter."""

    def __init__(self, rules: TrackRules | None = None) -> None:
        self._rules = rules or TrackRules()
        self._open: list[_Open] = []
        self._idle: list[_Open] = []
        self._latest: FrameMark | None = None
        self._run = 0
        self._broken = False
        self._hole_seconds = 0.0
        self._tracks = 0
        self._stretches = 0
        self.faces_ignored = 0
        """Faces left aside because as many as allowed were already followed."""

    def advance(self, marks: Sequence[FrameMark], faces: Iterable[Face]) -> Step:
        """Take the faces on the last frame of `marks`, which are the frames since the previous key frame.

        All marks are of one segment and later than those given before.
        """
        ended = self._enter(marks)
        ordered = sorted(faces, key=_canonical)
        partners = _pairs(
            (agreement, i, j)
            for i, track in enumerate(self._open)
            for j, face in enumerate(ordered)
            if (agreement := self._overlap(track, face)) is not None
        )
        sightings: list[Sighting] = []
        for i, track in enumerate(self._open):
            track.unsettled.extend(marks)
            if i in partners:
                sightings.extend(_settle(track, ordered[partners[i]]))
            else:
                track.missed += 1
        fresh = [face for j, face in enumerate(ordered) if j not in partners.values()]
        ended += self._close([track for track in self._open if self._is_over(track, fresh)])
        born, displaced = self._begin(fresh, marks[-1])
        waiting = tuple(Waiting(track.stretch, track.face.box) for track in self._open if track.missed)
        return Step((*sightings, *born), waiting, tuple(ended + displaced))

    def break_off(self) -> Step:
        """The next frame does not follow the last one: every stretch ends, and a face found near the place of one
        continues its track in a new stretch."""
        self._run += 1
        self._broken = True
        return self.finish()

    def finish(self) -> Step:
        """No more frames: every stretch ends."""
        return Step(ended=tuple(self._close(list(self._open))))

    def _begin(self, faces: Sequence[Face], mark: FrameMark) -> tuple[list[Sighting], list[int]]:
        former = self._former_tracks(faces, mark)
        sightings: list[Sighting] = []
        displaced: list[int] = []
        for j, face in enumerate(faces):
            if len(self._open) >= self._rules.max_open:
                weakest = min(self._open, key=lambda track: prominence(track.face))
                if prominence(face) <= self._rules.takeover * prominence(weakest.face):
                    self.faces_ignored += 1
                    continue
                displaced.extend(self._close([weakest]))
            track = former[j] if j in former else self._next_track()
            self._open.append(_Open(track, self._stretches, self._run, face, mark))
            sightings.append(Sighting(track, self._stretches, mark, face.box, face.points, face.confidence))
            self._stretches += 1
        return sightings, displaced

    def _former_tracks(self, faces: Sequence[Face], mark: FrameMark) -> dict[int, int]:
        """The idle track that each of these faces continues."""
        self._idle = [track for track in self._idle if self._may_return(track, mark)]
        pairs = _pairs(
            (agreement, i, j)
            for i, track in enumerate(self._idle)
            for j, face in enumerate(faces)
            if (agreement := self._agreement(track, face)) is not None
        )
        continued = {j: self._idle[i].track for i, j in pairs.items()}
        self._idle = [track for i, track in enumerate(self._idle) if i not in pairs]
        return continued

    def _may_return(self, track: _Open, mark: FrameMark) -> bool:
        if track.mark.segment != mark.segment:
            return track.run == self._run - 1
        gap = mark.time_seconds - track.mark.time_seconds
        # time in which nobody could be seen is no time away
        return gap - (self._hole_seconds if track.run == self._run - 1 else 0.0) <= self._rules.max_gap_seconds

    def _agreement(self, track: _Open, face: Face) -> float | None:
        if track.run != self._run - 1:
            return self._overlap(track, face)
        shift, growth = displacement(track.face.box, face.box)
        agrees = shift <= self._rules.max_shift and growth <= self._rules.max_growth
        return -shift if agrees else None

    def _overlap(self, track: _Open, face: Face) -> float | None:
        """How well a face agrees with one of the same run; None where it is not the same face."""
        share = overlap(track.face.box, face.box)
        return share if share >= self._rules.min_overlap and not changed(track.face.look, face.look) else None

    def _is_over(self, track: _Open, fresh: Sequence[Face]) -> bool:
        """Missed too often, or after a cut: another face is at its place."""
        return track.missed > self._rules.max_missed or any(
            track.missed and overlap(track.face.box, face.box) >= self._rules.min_overlap for face in fresh
        )

    def _enter(self, marks: Sequence[FrameMark]) -> list[int]:
        """Begin a new run where one is due; returns the stretches that end by that."""
        before, self._latest = self._latest, marks[-1]
        ended = self.break_off().ended if before and before.segment != marks[0].segment else ()
        if before and self._broken:
            self._hole_seconds, self._broken = marks[0].time_seconds - before.time_seconds, False
        return list(ended)

    def _close(self, tracks: list[_Open]) -> list[int]:
        for track in tracks:
            self._open.remove(track)
            track.unsettled.clear()
            self._idle.append(track)
        return [track.stretch for track in tracks]

    def _next_track(self) -> int:
        self._tracks += 1
        return self._tracks - 1


def overlap(a: Box, b: Box) -> float:
    """Intersection over union, 0..1."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)


def displacement(a: Box, b: Box) -> tuple[float, float]:
    """Distance of the centres in mean sides, and the ratio of the larger side to the smaller (>= 1)."""
    side_a, side_b = ((box[2] - box[0] + box[3] - box[1]) / 2 for box in (a, b))
    distance = np.hypot(a[0] + a[2] - b[0] - b[2], a[1] + a[3] - b[1] - b[3]) / 2
    return float(distance / ((side_a + side_b) / 2)), max(side_a / side_b, side_b / side_a)


def prominence(face: Face) -> float:
    """Size in pixels weighed by confidence: which faces to keep when there are too many."""
    return face.size * face.confidence


def _pairs(candidates: Iterable[tuple[float, int, int]]) -> dict[int, int]:
    """One-to-one, the best agreement first; ties go to the lower numbers."""
    pairs: dict[int, int] = {}
    taken: set[int] = set()
    for _, i, j in sorted(candidates, key=lambda candidate: (-candidate[0], candidate[1], candidate[2])):
        if i not in pairs and j not in taken:
            pairs[i] = j
            taken.add(j)
    return pairs


def _settle(track: _Open, face: Face) -> list[Sighting]:
    """The sightings from the frame after the track's last one up to the key frame, which shows `face`."""
    marks = track.unsettled
    start, end = track.mark.time_seconds, marks[-1].time_seconds
    shares = np.interp([mark.time_seconds for mark in marks], [start, max(end, start + 1e-9)], [0.0, 1.0])
    before = np.array(track.face.box), track.face.points
    between = [
        Sighting(
            track.track,
            track.stretch,
            mark,
            _box(before[0] + share * (np.array(face.box) - before[0])),
            before[1] + share * (face.points - before[1]),
            None,
        )
        for mark, share in zip(marks[:-1], shares[:-1], strict=True)
    ]
    last = Sighting(track.track, track.stretch, marks[-1], face.box, face.points, face.confidence)
    track.face, track.mark, track.unsettled, track.missed = face, marks[-1], [], 0
    return [*between, last]


def _box(values: NDArray[np.float64]) -> Box:
    left, top, right, bottom = values.tolist()
    return (left, top, right, bottom)


def _canonical(face: Face) -> tuple[float, Box, float]:
    return (-prominence(face), face.box, face.confidence)
