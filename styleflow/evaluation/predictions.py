"""What a detector says about every video of a manifest: `detection.analyze`, once a video, kept as it goes.

A pack without calibration reports no number, rightly. To measure it, its detector is given a calibration that changes
nothing (slope 1, no intercept): the way to the score is then the served one from the first byte to the pooling, and
the score is the raw logit.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import Any, Literal

from pydantic import TypeAdapter

from styleflow.detection.analyze import AnalysisOptions, analyze
from styleflow.detection.engine import Detector
from styleflow.errors import JobError
from styleflow.evaluation.ledger import Ledger
from styleflow.evaluation.scores import Scores
from styleflow.packs import Calibration
from styleflow.report import Thresholds, VideoReport

FAILED: Literal["failed"] = "failed"
"""Beside the outcomes: we could not do our work, and the error says why."""
_DIGITS = 6

AS_IT_IS = Calibration(
    method="temperature",
    slope=1.0,
    thresholds=Thresholds(policy="none", weak=1.0, suspicious=1.0, strong=1.0),
    measured_on="nothing: raw logits",
)


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What a manifest says about one video, as far as measuring needs it."""

    path: str
    label: Literal["real", "fake"]
    generator: str | None
    identity: str
    pair: str | None
    split: str
    dataset: str


@dataclass(frozen=True, kw_only=True)
class TrackLogits:
    """One face: raw logits of its clips, and where those lie."""

    logits: tuple[float, ...]
    spans: tuple[tuple[int, int], ...]
    """First and last frame of each clip."""


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """One line. Numbers exist exactly where `outcome` is `scored`."""

    subject: Subject
    outcome: Literal["scored", "not_applicable", "inconclusive", "failed"]
    reason: str | None = None
    """The report's reason, or the error's code and message."""
    perturbation: str | None = None
    """What was done to the video before, such as `gaussian_blur:3`."""
    logit: float | None = None
    """Pooled over the clips of a face and the faces of the video, as served."""
    tracks: tuple[TrackLogits, ...] = ()
    frame_scores: tuple[float, ...] = ()
    """Per judged frame, in order: the highest of its faces' mean sigmoid(logit) over the clips that hold it, 0..1."""
    seconds: float | None = field(default=None, compare=False)
    """That the analysis took."""

    @property
    def scored(self) -> bool:
        return self.outcome == "scored"

    @property
    def key(self) -> tuple[str, str | None]:
        """No two lines of a file share it."""
        return self.subject.path, self.perturbation


_ADAPTER: TypeAdapter[Prediction] = TypeAdapter(Prediction)


def prediction_to_json(prediction: Prediction) -> dict[str, Any]:
    """JSON values; `prediction_from_json` reads them back equal."""
    return dict(_ADAPTER.dump_python(prediction, mode="json"))


def prediction_from_json(value: Mapping[str, Any]) -> Prediction:
    """Raises pydantic.ValidationError for what is no prediction."""
    return _ADAPTER.validate_python(value)


def measuring(detector: Detector) -> Detector:
    """The same detector with raw logits for scores, whatever its card says."""
    return replace(detector, card=detector.card.model_copy(update={"calibration": AS_IT_IS}))


def predict(
    subject: Subject,
    path: Path,
    detector: Detector,
    options: AnalysisOptions | None = None,
    *,
    perturbation: str | None = None,
) -> Prediction:
    """Judge one video; `detector` comes from `measuring`. A video that cannot be analysed gives a failed prediction
    with the error, never a score; errors that are not about this video (GPU memory, say) count as well, and stand in
    the reason. Anything but JobError and OSError passes through."""
    try:
        report = analyze(path, detector, options=options)
    except JobError as error:
        return Prediction(subject=subject, outcome=FAILED, reason=f"{error.code}: {error}", perturbation=perturbation)
    except OSError as error:
        reason = f"unreadable: {error.strerror or type(error).__name__}"
        return Prediction(subject=subject, outcome=FAILED, reason=reason, perturbation=perturbation)
    return from_report(subject, report, perturbation)


def from_report(subject: Subject, report: VideoReport, perturbation: str | None = None) -> Prediction:
    """The part of a report that measuring needs."""
    judged = [track for track in report.tracks if track.score is not None]
    return Prediction(
        subject=subject,
        outcome=report.outcome.value,
        reason=report.reason,
        perturbation=perturbation,
        logit=report.score,
        tracks=tuple(
            TrackLogits(
                logits=tuple(clip.logit for clip in track.clips if clip.logit is not None),
                spans=tuple((clip.first_frame, clip.last_frame) for clip in track.clips),
            )
            for track in judged
        ),
        frame_scores=_frame_scores(report),
        seconds=report.timing_ms.get("total", 0) / 1000,
    )


def _frame_scores(report: VideoReport) -> tuple[float, ...]:
    highest: defaultdict[float, float] = defaultdict(float)
    for track in report.tracks:
        for time, score in zip(track.frames.time_seconds, track.frames.score, strict=True):
            if score is not None:
                highest[time] = max(highest[time], score)
    return tuple(round(highest[time], _DIGITS) for time in sorted(highest))


def predict_all(
    subjects: Iterable[Subject],
    ledger: Ledger,
    judge: Callable[[Subject, str | None], Prediction],
    *,
    perturbations: Sequence[str | None] = (None,),
    done: Callable[[Prediction], None] = lambda _: None,
) -> list[Prediction]:
    """One prediction a subject and perturbation, in their order. Those that the ledger holds are not made again, except
    failed ones: what failed may have been mended."""
    known = {line.key: line for line in latest(ledger.resume()) if line.outcome != FAILED}
    predictions = []
    for perturbation, subject in product(perturbations, subjects):
        found = known.get((subject.path, perturbation))
        if found is None:
            found = judge(subject, perturbation)
            ledger.add(prediction_to_json(found))
        else:
            found = replace(found, subject=subject)
        predictions.append(found)
        done(found)
    return predictions


def latest(lines: Iterable[Mapping[str, Any]]) -> list[Prediction]:
    """Of a ledger's lines, the last of each key."""
    return list({line.key: line for line in map(prediction_from_json, lines)}.values())


# --- into columns ---------------------------------------------------------------------------------


def video_scores(predictions: Sequence[Prediction]) -> Scores:
    """One row per scored video: its pooled logit."""
    rows = [(line.subject, line.logit) for line in predictions if line.logit is not None]
    return scores_of_subjects([subject for subject, _ in rows], [logit for _, logit in rows])


def scores_of_subjects(subjects: Sequence[Subject], values: Sequence[float]) -> Scores:
    """Rows of any value per video, higher for fake."""
    return Scores.of(
        [int(subject.label == "fake") for subject in subjects],
        values,
        [subject.identity for subject in subjects],
        names=[subject.path for subject in subjects],
        originals={subject.path: subject.pair for subject in subjects if subject.pair and subject.label == "fake"},
    )


def frame_scores(predictions: Sequence[Prediction]) -> Scores:
    """One row per judged frame, with the label of its video."""
    rows = [(line.subject, score) for line in predictions for score in line.frame_scores]
    return Scores.of(
        [int(subject.label == "fake") for subject, _ in rows],
        [score for _, score in rows],
        [subject.identity for subject, _ in rows],
    )
