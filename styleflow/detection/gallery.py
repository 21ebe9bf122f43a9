"""Pictures of the faces that a score is about: of the clips of each face that speak most, the frame at which the
network looked most.

A picture is the aligned face, as the network saw it, and small: what is held of a video of any length stays below a
few megabytes. One that cannot be made is left out; it never ends an analysis.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import cv2
import numpy as np

from styleflow.detection.engine import ClipJudgement
from styleflow.detection.stream import FaceClip
from styleflow.faces.align import ALIGNED_PX, clip_alignment, warp
from styleflow.report import FaceCrop, FaceTrack

PER_FACE = 3
MOST = 16
"""Pictures of one video."""
MOST_HELD = 192
"""Pictures held while a video is looked at, of however many faces; those of the lowest clips go first."""
JPEG_QUALITY = 85


@dataclass(frozen=True, kw_only=True, eq=False)
class Picture:
    """A face on one frame, as a JPEG of 256 by 256 pixels without metadata."""

    track: int
    clip: int
    """Position among the judged clips of the face."""
    place: tuple[int, int]
    """Segment and index of the frame."""
    time_seconds: float
    logit: float
    """Of the clip."""
    jpeg: bytes


class Gallery:
    """Takes clips as they are judged; keeps few pictures."""

    def __init__(self) -> None:
        self._held: dict[int, list[Picture]] = {}
        self._count = 0
        self.failures = 0
        """How many pictures could not be made."""

    def offer(self, clip: FaceClip, number: int, judgement: ClipJudgement) -> None:
        """Keep a picture of the clip, the `number`-th that was judged of its face, where it is among the highest."""
        held = self._held.get(clip.track, [])
        if len(held) >= PER_FACE and judgement.logit <= held[-1].logit:
            return
        try:
            picture = _picture(clip, number, judgement, {one.place for one in held})
        except Exception:  # noqa: BLE001 (whatever a picture meets, the analysis is not about it)
            self.failures += 1
            return
        if picture is not None:
            kept = sorted([*held, picture], key=lambda one: -one.logit)[:PER_FACE]
            self._held[clip.track] = kept
            self._count += len(kept) - len(held)
            self._make_room()

    def best(self, tracks: Sequence[int]) -> list[Picture]:
        """At most MOST pictures of these faces, given in order of their score: the best of each, then the second of
        each, and so on."""
        held = [self._held.get(track, []) for track in tracks]
        rounds = ([pictures[turn] for pictures in held if turn < len(pictures)] for turn in range(PER_FACE))
        return list(chain.from_iterable(rounds))[:MOST]

    def _make_room(self) -> None:
        while self._count > MOST_HELD:
            lowest = min(self._held.values(), key=lambda pictures: pictures[-1].logit)
            gone = lowest.pop()
            self._count -= 1
            if not lowest:
                del self._held[gone.track]


def shown(pictures: Sequence[Picture], tracks: Sequence[tuple[int, FaceTrack]]) -> list[tuple[FaceCrop, bytes]]:
    """What each picture shows, in terms of the report. `tracks` are the reported faces by their number."""
    reported = dict(tracks)
    return [
        (_crop(f"crop-{position}", picture, reported[picture.track]), picture.jpeg)
        for position, picture in enumerate(pictures, start=1)
    ]


def _crop(crop_id: str, picture: Picture, track: FaceTrack) -> FaceCrop:
    frames = track.frames
    row = frames.time_seconds.index(picture.time_seconds)
    return FaceCrop(
        crop_id=crop_id,
        track_id=track.track_id,
        clip_index=picture.clip,
        frame_index=frames.frame_index[row],
        time_seconds=picture.time_seconds,
        score=frames.score[row],
        attention=frames.attention[row],
    )


def _picture(clip: FaceClip, number: int, judgement: ClipJudgement, seen: set[tuple[int, int]]) -> Picture | None:
    """None where every frame of the clip is shown already: the last clip of a face may overlap the one before."""
    marks = [sighting.mark for sighting in clip.sightings]
    free = [
        position
        for position in range(len(marks))[clip.natural]
        if (marks[position].segment, marks[position].index) not in seen
    ]
    if not free:
        return None
    position = max(free, key=lambda place: float(judgement.attention[place]))
    alignment = clip_alignment(np.stack([sighting.points for sighting in clip.sightings]))
    aligned = warp(clip.crops[position], alignment, ALIGNED_PX)
    encoded, jpeg = cv2.imencode(
        ".jpg", cv2.cvtColor(aligned, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
    )
    if not encoded:
        raise ValueError("the picture could not be encoded")
    mark = marks[position]
    return Picture(
        track=clip.track,
        clip=number,
        place=(mark.segment, mark.index),
        time_seconds=mark.time_seconds,
        logit=judgement.logit,
        jpeg=jpeg.tobytes(),
    )
