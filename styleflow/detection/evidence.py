"""What is kept about each face while a video is looked at, and the evidence that becomes of it."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from statistics import fmean, median

from styleflow.detection.engine import ClipJudgement
from styleflow.detection.score import Policy, TrackFindings, calibrated, pool_track
from styleflow.detection.stream import FaceClip
from styleflow.faces.track import Sighting
from styleflow.packs import Calibration
from styleflow.report import Box, ClipScore, FaceTrack, FrameEvidence

Place = tuple[int, int]
"""Segment and frame index: which frame of the video."""
Levels = tuple[float | None, float | None, float | None]

_NO_FLOW: Levels = (None, None, None)


@dataclass(frozen=True)
class ClipRecord:
    """A clip that is judged, without its pixels."""

    start_seconds: float
    end_seconds: float
    places: tuple[Place, ...]
    """Its distinct frames, in order of time."""
    logit: float

    @property
    def frame_rate(self) -> float:
        """Frames a second."""
        return (len(self.places) - 1) / (self.end_seconds - self.start_seconds)


@dataclass(eq=False)
class TrackRecord:
    """Everything about one face except pixels, in columns that grow with time."""

    number: int
    places: list[Place] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    boxes: list[Box] = field(default_factory=list)
    confidences: list[float | None] = field(default_factory=list)
    flows: dict[Place, Levels] = field(default_factory=dict)
    attentions: dict[Place, float] = field(default_factory=dict)
    clips: list[ClipRecord] = field(default_factory=list)
    large_clips: int = 0
    judgeable_clips: int = 0

    def see(self, sighting: Sighting) -> None:
        """Add one frame."""
        self.places.append((sighting.mark.segment, sighting.mark.index))
        self.times.append(sighting.mark.time_seconds)
        self.boxes.append(sighting.box)
        self.confidences.append(sighting.confidence)

    def judged(self, clip: FaceClip, judgement: ClipJudgement) -> None:
        """Add what the network said about a clip. A frame that an earlier clip covered keeps that clip's
        evidence."""
        marks = [sighting.mark for sighting in clip.sightings]
        natural = range(len(marks))[clip.natural]
        for position in natural:
            place = (marks[position].segment, marks[position].index)
            self.attentions.setdefault(place, float(judgement.attention[position]))
            if position > natural.start:
                self.flows.setdefault(place, _levels(judgement.flow[position - 1].tolist()))
        first, last = marks[natural[0]], marks[natural[-1]]
        places = tuple((marks[position].segment, marks[position].index) for position in natural)
        self.clips.append(ClipRecord(first.time_seconds, last.time_seconds, places, judgement.logit))

    @property
    def face_size(self) -> float:
        """Median over frames of the shorter side of the box, in pixels."""
        return median(map(box_size, self.boxes))

    @property
    def confidence(self) -> float:
        """Mean over the frames on which the face was detected."""
        return fmean(confidence for confidence in self.confidences if confidence is not None)

    def score(self, policy: Policy) -> float | None:
        """Pooled logit; None for a face of which no clip was judged."""
        return pool_track([clip.logit for clip in self.clips], policy) if self.clips else None

    def findings(self, min_face_px: float) -> TrackFindings:
        """As far as decisions need it."""
        return TrackFindings(
            large_enough=self.face_size >= min_face_px,
            large_clips=self.large_clips,
            judgeable_clips=self.judgeable_clips,
            logits=tuple(clip.logit for clip in self.clips),
        )


def box_size(box: Box) -> float:
    """The shorter side in pixels."""
    return min(box[2] - box[0], box[3] - box[1])


def frames_seen(records: Iterable[TrackRecord]) -> int:
    """Distinct frames on which any of these faces was seen."""
    return len({place for record in records for place in record.places})


def frames_judged(records: Iterable[TrackRecord]) -> int:
    """Distinct frames in a judged clip of any of these faces."""
    return len({place for record in records for clip in record.clips for place in clip.places})


def most_telling(records: Iterable[TrackRecord], most: int, scoring: Policy | None) -> list[TrackRecord]:
    """At most so many faces to report, in order of their first appearance.

    Where there are scores, `scoring` says how, and the highest come first: the face that decided is always among
    them. Elsewhere (None) a choice by score would tell the scores, so those with most judged clips come first. Then
    those that fill most of the video's frames and pixels.
    """

    def rank(record: TrackRecord) -> tuple[float, int, float, int]:
        score = record.score(scoring) if scoring else None
        size = len(record.places) * record.face_size
        return (-score if score is not None else math.inf, -len(record.clips), -size, record.number)

    return sorted(sorted(records, key=rank)[:most], key=lambda record: (record.places[0], record.number))


def face_track(record: TrackRecord, calibration: Calibration | None, policy: Policy) -> FaceTrack:
    """The face as it is reported. `calibration` is None where no number may be given."""
    score = record.score(policy) if calibration else None
    return FaceTrack(
        track_id=f"face-{record.number + 1}",
        start_seconds=record.times[0],
        end_seconds=record.times[-1],
        frame_count=len(record.places),
        detection_confidence=record.confidence,
        face_size_px=record.face_size,
        score=score,
        probability=calibrated(score, calibration) if calibration and score is not None else None,
        clips=tuple(clip_score(index, clip, calibration) for index, clip in enumerate(record.clips)),
        frames=frame_evidence(record, calibration),
    )


def clip_score(index: int, clip: ClipRecord, calibration: Calibration | None) -> ClipScore:
    """One judged clip; without calibration it has no numbers."""
    return ClipScore(
        index=index,
        start_seconds=clip.start_seconds,
        end_seconds=clip.end_seconds,
        first_frame=clip.places[0][1],
        last_frame=clip.places[-1][1],
        logit=clip.logit if calibration else None,
        probability=calibrated(clip.logit, calibration) if calibration else None,
    )


def frame_evidence(record: TrackRecord, calibration: Calibration | None) -> FrameEvidence:
    """The columns of a track. A frame's score is the mean probability of the clips that contain it."""
    scores = frame_scores(record.clips, calibration) if calibration else {}
    flows = [record.flows.get(place, _NO_FLOW) for place in record.places]
    coarse, middle, fine = (tuple(flow[level] for flow in flows) for level in range(3))
    return FrameEvidence(
        frame_index=tuple(index for _, index in record.places),
        time_seconds=tuple(record.times),
        box=tuple(record.boxes),
        detection_confidence=tuple(record.confidences),
        score=tuple(scores.get(place) for place in record.places),
        flow_coarse=coarse,
        flow_middle=middle,
        flow_fine=fine,
        attention=tuple(record.attentions.get(place) for place in record.places),
    )


def frame_scores(clips: Sequence[ClipRecord], calibration: Calibration) -> dict[Place, float]:
    """Mean calibrated probability of the clips that contain each frame."""
    containing: defaultdict[Place, list[float]] = defaultdict(list)
    for clip in clips:
        probability = calibrated(clip.logit, calibration)
        for place in clip.places:
            containing[place].append(probability)
    return {place: fmean(values) for place, values in containing.items()}


def _levels(norms: Sequence[float]) -> Levels:
    coarse, middle, fine = (norm if math.isfinite(norm) else None for norm in norms)
    return coarse, middle, fine
