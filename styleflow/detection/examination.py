"""One video being looked at: frames go in, records of faces and judged clips come out, pixels are let go."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from statistics import median
from typing import TypeVar

from styleflow.detection.engine import Detector
from styleflow.detection.evidence import TrackRecord, box_size
from styleflow.detection.gallery import Gallery
from styleflow.detection.inputs import ClipInput, QualityFloor, prepare
from styleflow.detection.pace import Pace
from styleflow.detection.stream import KEY_EVERY, FaceClip, FaceStream, Settled
from styleflow.faces.align import UnusablePoints
from styleflow.faces.track import TrackRules
from styleflow.video.sandbox import Frame

Item = TypeVar("Item")


@dataclass
class Stopwatch:
    """Seconds spent per stage."""

    seconds: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))

    @contextmanager
    def measuring(self, stage: str) -> Iterator[None]:
        """Add the time that the block takes."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[stage] += time.perf_counter() - start

    def waiting_for(self, stage: str, items: Iterable[Item]) -> Iterator[Item]:
        """Hand the items on, and add the time that each takes to come."""
        source = iter(items)
        while True:
            with self.measuring(stage):
                item = next(source, None)
            if item is None:
                return
            yield item

    def milliseconds(self) -> dict[str, int]:
        """As the report gives it."""
        return {stage: round(seconds * 1000) for stage, seconds in self.seconds.items()}


class Examination:
    """Holds a few frames, the open clips' crops and one batch of clips; everything else is records."""

    def __init__(
        self,
        detector: Detector,
        *,
        rules: TrackRules,
        min_face_px: float,
        floor: QualityFloor,
        checkpoint: Callable[[], None],
        clock: Stopwatch,
        gallery: Gallery | None = None,
    ) -> None:
        self._detector = detector
        self._stream = FaceStream(detector.faces, rules)
        self._min_face_px = min_face_px
        self._floor = floor
        self._checkpoint = checkpoint
        self.clock = clock
        self.gallery = gallery
        """Pictures of the faces, where they are wanted."""
        self._batch: list[tuple[FaceClip, ClipInput]] = []
        self.records: dict[int, TrackRecord] = {}
        self.frames = 0

    @property
    def faces_ignored(self) -> int:
        """Faces left aside because as many as allowed were already followed."""
        return self._stream.faces_ignored

    @property
    def pace(self) -> Pace:
        """The times of the frames taken so far."""
        return self._stream.pace

    def push(self, frame: Frame) -> None:
        """Take the next frame. What `checkpoint` raises goes through."""
        if self.frames % KEY_EVERY == 0:
            self._checkpoint()
        self.frames += 1
        with self.clock.measuring("detect"):
            settled = self._stream.push(frame)
        self._take(settled)

    def finish(self) -> None:
        """There are no more frames: judge what is left."""
        self._checkpoint()
        with self.clock.measuring("detect"):
            settled = self._stream.finish()
        self._take(settled)
        self._judge()

    def _take(self, settled: Settled) -> None:
        for sighting in settled.sightings:
            self.records.setdefault(sighting.track, TrackRecord(sighting.track)).see(sighting)
        for clip in settled.clips:
            self._prepare(clip)

    def _prepare(self, clip: FaceClip) -> None:
        record = self.records[clip.track]
        if median(box_size(sighting.box) for sighting in clip.sightings) < self._min_face_px:
            return
        record.large_clips += 1
        with self.clock.measuring("align"):
            try:
                pictures, quality = prepare(clip, self._detector.card.preprocessing)
            except UnusablePoints:  # as good as a picture without detail
                return
        if not self._floor.admits(quality):
            return
        record.judgeable_clips += 1
        self._batch.append((clip, pictures))
        if len(self._batch) >= self._detector.clips_at_once:
            self._judge()

    def _judge(self) -> None:
        if not self._batch:
            return
        self._checkpoint()
        batch, self._batch = self._batch, []
        with self.clock.measuring("network"):
            judgements = self._detector.judge([pictures for _, pictures in batch])
        for (clip, _), judgement in zip(batch, judgements, strict=True):
            record = self.records[clip.track]
            record.judged(clip, judgement)
            if self.gallery is not None:
                with self.clock.measuring("crops"):
                    self.gallery.offer(clip, len(record.clips) - 1, judgement)
