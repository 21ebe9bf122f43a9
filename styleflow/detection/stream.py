"""From frames to clips of one face, holding a few frames and the crops of the open clips, never a video.

Faces are looked for on every fourth frame of a run of frames without a hole in time and on its last; frames wait
until the next key frame tells where the faces between were.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from styleflow.detection.pace import Pace
from styleflow.faces.align import Crop, cut_crop
from styleflow.faces.detect import FaceDetector
from styleflow.faces.look import look_at
from styleflow.faces.track import FrameMark, Sighting, Step, Tracker, TrackRules
from styleflow.video.clips import CLIP_FRAMES, Window, windows
from styleflow.video.sandbox import Frame

KEY_EVERY = 4
"""Frames from one key frame to the next: a sixth of a second of usual video, in which boxes move nearly
straight."""
HELD_BYTES = 64 * 2**20
"""Frames of several key intervals are held for one call of the face detector while they fit in this."""
MOST_KEYS = 8


@dataclass(frozen=True, eq=False)
class FaceClip:
    """32 consecutive frames of one face with a crop of each; fewer are mirrored at their ends to 32."""

    track: int
    sightings: tuple[Sighting, ...]
    crops: tuple[Crop, ...]
    natural: slice
    """Where the frames stand in order of time; everything outside is a mirrored repetition."""


@dataclass(frozen=True, eq=False)
class Settled:
    """What is known for good after some frames."""

    sightings: tuple[Sighting, ...] = ()
    clips: tuple[FaceClip, ...] = ()


@dataclass(eq=False)
class _Stretch:
    """The last frames of a stretch, and crops of frames whose sightings are still open."""

    latest: deque[tuple[Sighting, Crop]] = field(default_factory=lambda: deque(maxlen=CLIP_FRAMES))
    frames: int = 0
    waiting: dict[FrameMark, Crop] = field(default_factory=dict)


class ClipCutter:
    """Cuts stretches into clips by the rule of `video.clips.windows`, while keeping the last 32 crops of
    each."""

    def __init__(self) -> None:
        self._stretches: dict[int, _Stretch] = {}

    def take(self, step: Step, frames: Mapping[FrameMark, NDArray[np.uint8]]) -> Iterator[FaceClip]:
        """The clips that `step` completes. `frames` are those that the tracker just advanced over."""
        for sighting in step.sightings:
            yield from self._add(sighting, frames)
        for waiting in step.waiting:
            held = self._stretches[waiting.stretch].waiting
            held.update({mark: cut_crop(pixels, waiting.box) for mark, pixels in frames.items()})
        for number in step.ended:
            stretch = self._stretches.pop(number)
            for window in windows(stretch.frames)[stretch.frames // CLIP_FRAMES :]:
                yield _clip(stretch, window)

    def _add(self, sighting: Sighting, frames: Mapping[FrameMark, NDArray[np.uint8]]) -> Iterator[FaceClip]:
        stretch = self._stretches.setdefault(sighting.stretch, _Stretch())
        crop = stretch.waiting.pop(sighting.mark, None) or cut_crop(frames[sighting.mark], sighting.box)
        stretch.latest.append((sighting, crop))
        stretch.frames += 1
        if stretch.frames % CLIP_FRAMES == 0:
            yield _clip(stretch, windows(stretch.frames)[-1])


class FaceStream:
    """Takes frames in order and gives sightings and clips as they become certain."""

    def __init__(self, detector: FaceDetector, rules: TrackRules) -> None:
        self._detector = detector
        self._tracker = Tracker(rules)
        self._cutter = ClipCutter()
        self.pace = Pace()
        """The times of the frames taken so far."""
        self._held: list[Frame] = []
        self._keys: list[int] = []
        self._segment: int | None = None
        self._position = 0

    @property
    def faces_ignored(self) -> int:
        """Faces left aside because as many as allowed were already followed."""
        return self._tracker.faces_ignored

    def push(self, frame: Frame) -> Settled:
        """Take the next frame."""
        settled = Settled()
        hole = self.pace.take(frame.segment, frame.time_seconds)
        if hole or frame.segment != self._segment:
            settled = self._settle_held()
            self._segment, self._position = frame.segment, 0
        if hole:
            settled = _join(settled, Settled(clips=tuple(self._cutter.take(self._tracker.break_off(), {}))))
        self._held.append(frame)
        if self._position % KEY_EVERY == 0:
            self._keys.append(len(self._held) - 1)
        self._position += 1
        if len(self._keys) >= keys_at_once(frame.pixels.nbytes):
            settled = _join(settled, self._advance())
        return settled

    def finish(self) -> Settled:
        """There are no more frames."""
        return _join(self._settle_held(), Settled(clips=tuple(self._cutter.take(self._tracker.finish(), {}))))

    def _settle_held(self) -> Settled:
        if not self._held:
            return Settled()
        last = len(self._held) - 1
        if last not in self._keys:
            self._keys.append(last)
        return self._advance()

    def _advance(self) -> Settled:
        """Look for faces on the key frames held, and let go of all frames up to the last of them."""
        found = self._detector.detect([self._held[key].pixels for key in self._keys])
        sightings: list[Sighting] = []
        clips: list[FaceClip] = []
        start = 0
        for key, faces in zip(self._keys, found, strict=True):
            frames = {
                FrameMark(frame.segment, frame.index, frame.time_seconds): frame.pixels
                for frame in self._held[start : key + 1]
            }
            pixels = self._held[key].pixels
            looked_at = [replace(face, look=look_at(pixels, face.box)) for face in faces]
            step = self._tracker.advance(list(frames), looked_at)
            sightings.extend(step.sightings)
            clips.extend(self._cutter.take(step, frames))
            start = key + 1
        self._held, self._keys = self._held[start:], []
        return Settled(tuple(sightings), tuple(clips))


def keys_at_once(frame_bytes: int) -> int:
    """How many key frames to gather for one call of the face detector, so that the frames held stay few
    bytes."""
    return max(1, min(MOST_KEYS, HELD_BYTES // (KEY_EVERY * frame_bytes)))


def _clip(stretch: _Stretch, window: Window) -> FaceClip:
    dropped = stretch.frames - len(stretch.latest)
    sightings, crops = zip(*(stretch.latest[position - dropped] for position in window.positions), strict=True)
    natural = window.positions.index(window.first)
    return FaceClip(sightings[0].track, sightings, crops, slice(natural, natural + window.last - window.first + 1))


def _join(first: Settled, second: Settled) -> Settled:
    return Settled(first.sightings + second.sightings, first.clips + second.clips)
