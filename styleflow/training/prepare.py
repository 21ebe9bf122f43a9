"""From videos to the store, once: decoding, tracking, alignment and framing are serving's own code.

A video gives the clips of its most prominent face, spread evenly over its length, at the scale at which the content
branch reads them (training/geometry.py), with 68 landmarks per frame for the masks of pseudo-fakes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import cv2
import numpy as np
from numpy.typing import NDArray

from styleflow.detection.evidence import box_size
from styleflow.detection.inputs import QualityFloor, measure, resized
from styleflow.detection.stream import FaceClip, FaceStream
from styleflow.errors import StyleFlowError
from styleflow.faces.align import ALIGNED_PX, Affine, clip_alignment, compose, cut_crop, warp
from styleflow.faces.detect import FaceDetector
from styleflow.faces.track import TrackRules
from styleflow.training.geometry import Geometry
from styleflow.training.store import Store, StoredVideo, VideoFacts, read_video
from styleflow.video.clips import Sampling, plan_sampling
from styleflow.video.sandbox import open_video

Landmarker = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
"""(N, W, W, 3) RGB uint8 in the wide framing -> (N, 68, 2), x and y in its pixels."""

MIN_FACE_PX = 48.0


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """What is kept of each video."""

    clips_per_video: int = 4
    frame_step: int = 1
    """Keep every so manieth frame of a clip: 1 for training of the style branch."""
    min_face_px: float = MIN_FACE_PX
    floor: QualityFloor = field(default_factory=QualityFloor)


@dataclass(frozen=True)
class Prepared:
    """What became of one source. `trouble` says why nothing was kept."""

    key: str
    clips: int
    bytes_written: int
    trouble: str = ""
    kept_before: bool = False


def prepare_video(
    source: Path, facts: VideoFacts, store: Store, faces: FaceDetector, landmarker: Landmarker, wish: Preparation
) -> Prepared:
    """Write one video's file, unless one made from the same bytes is there. A video that fails is told, not raised."""
    before = already(store, facts)
    if before is not None:
        return Prepared(facts.key, before.clips, before.path.stat().st_size, kept_before=True)
    try:
        found = [
            (clip.sightings[0].mark.time_seconds, wide_pictures(clip, store.geometry))
            for clip in clips_of(source, faces, wish)
        ]
    except (StyleFlowError, OSError) as error:
        return Prepared(facts.key, 0, 0, trouble=f"{type(error).__name__}: {error}")
    if not found:
        return Prepared(facts.key, 0, 0, trouble="no clip with a face that is large and clear enough")
    kept = [clip[:: wish.frame_step] for _, clip in found]
    path = store.write(facts, kept, [landmarker(clip) for clip in kept], starts=[start for start, _ in found])
    return Prepared(facts.key, len(kept), path.stat().st_size)


def already(store: Store, facts: VideoFacts, folder: str = "clips") -> StoredVideo | None:
    """The file that was made from the same bytes for the same facts, if it is there and whole."""
    path = store.path_of(facts.key, folder)
    if not path.exists():
        return None
    try:
        found = read_video(path, store.geometry.wide_size)
    except StyleFlowError:
        return None
    return found if found.facts == facts else None


def clips_of(source: Path, faces: FaceDetector, wish: Preparation) -> Iterator[FaceClip]:
    """The clips of the most prominent face in each stretch of the video. Raises the leaves of MediaError."""
    for segment in _segments(source, faces, wish.clips_per_video):
        admitted = [clip for clip in segment if _admitted(clip, wish)]
        if admitted:
            yield max(admitted, key=_prominence)


def _segments(source: Path, faces: FaceDetector, clips: int) -> Iterator[list[FaceClip]]:
    """The clips found in each window of the plan."""
    with open_video(source) as video:
        plan = plan_sampling(video.facts, Sampling(mode="uniform", clips=clips))
        stream, found, segment = FaceStream(faces, TrackRules()), list[FaceClip](), 0
        for frame in video.frames(plan):
            if frame.segment != segment:
                found.extend(stream.finish().clips)
                yield found
                stream, found, segment = FaceStream(faces, TrackRules()), [], frame.segment
            found.extend(stream.push(frame).clips)
        found.extend(stream.finish().clips)
        yield found


def _admitted(clip: FaceClip, wish: Preparation) -> bool:
    if clip.natural.stop - clip.natural.start < len(clip.crops) or _prominence(clip) < wish.min_face_px:
        return False
    alignment = clip_alignment(_points(clip))
    return wish.floor.admits(measure(clip, [warp(crop, alignment, ALIGNED_PX) for crop in clip.crops]))


def _prominence(clip: FaceClip) -> float:
    return float(median(box_size(sighting.box) for sighting in clip.sightings))


def _points(clip: FaceClip) -> NDArray[np.float64]:
    return np.stack([sighting.points for sighting in clip.sightings])


def wide_pictures(clip: FaceClip, geometry: Geometry) -> NDArray[np.uint8]:
    """(T, W, W, 3): each crop through the clip's one alignment, with the margins, at the content branch's scale."""
    onto = wide_alignment(clip_alignment(_points(clip)), geometry)
    return resized(np.stack([warp(crop, onto, geometry.side) for crop in clip.crops]), geometry.wide_size)


def wide_alignment(alignment: Affine, geometry: Geometry) -> Affine:
    """The map from the frame to the wide picture before scaling."""
    return compose(np.array([[1.0, 0.0, geometry.left_margin], [0.0, 1.0, geometry.top_margin]]), alignment)


def prepare_photo(
    source: Path, facts: VideoFacts, store: Store, faces: FaceDetector, landmarker: Landmarker
) -> Prepared:
    """As `prepare_video`, for the largest face of a photo: a clip of one frame."""
    before = already(store, facts, "photos")
    if before is not None:
        return Prepared(facts.key, before.clips, before.path.stat().st_size, kept_before=True)
    pixels = cv2.imread(str(source))
    if pixels is None:
        return Prepared(facts.key, 0, 0, trouble="not a readable picture")
    rgb = cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB).astype(np.uint8, copy=False)
    found = faces.detect([rgb])[0]
    if not found or found[0].size < MIN_FACE_PX:
        return Prepared(facts.key, 0, 0, trouble="no face that is large enough")
    onto = wide_alignment(clip_alignment(found[0].points), store.geometry)
    wide = resized(warp(cut_crop(rgb, found[0].box), onto, store.geometry.side)[np.newaxis], store.geometry.wide_size)
    path = store.write(facts, [wide], [landmarker(wide)], "photos")
    return Prepared(facts.key, 1, path.stat().st_size)


def total_bytes(results: Sequence[Prepared]) -> int:
    return sum(result.bytes_written for result in results)
