"""One evaluation from a manifest to the report's folder; everything slow is kept and can be resumed.

<out>/predictions.jsonl     one line a video
<out>/statistics.jsonl      what the trivial baseline sees
<out>/robustness.jsonl      one line a video and perturbation
<out>/calibration.json      a proposed calibration, where one was asked for
<out>/evaluation.json, evaluation.html
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from styleflow.datasets.manifest import Manifest
from styleflow.detection.analyze import AnalysisOptions
from styleflow.detection.engine import Detector
from styleflow.detection.pipeline import describe
from styleflow.evaluation.calibration import CalibrationError, ScalingWish
from styleflow.evaluation.compose import Material, compose
from styleflow.evaluation.discrimination_tables import Contender
from styleflow.evaluation.ledger import Ledger, read_ledger
from styleflow.evaluation.operating_points import FittedCalibration, Rates, calibrate
from styleflow.evaluation.perturbations import perturbation_name
from styleflow.evaluation.predictions import Prediction, Subject, latest, measuring, predict, predict_all, video_scores
from styleflow.evaluation.report import EvaluationReport, Provenance, write_report
from styleflow.evaluation.robustness import RobustnessWish, predict_perturbed
from styleflow.evaluation.roster import Listed, listed, require_files, require_usable
from styleflow.evaluation.scores import EvaluationError
from styleflow.evaluation.tables import Sampler
from styleflow.evaluation.trivial_run import measure_all, trivial_contender
from styleflow.packs import Calibration, sha256_of

TRAINING_SPLIT = "train"
LEDGERS = ("predictions.jsonl", "statistics.jsonl", "robustness.jsonl")
Step = Callable[[str, int, int], None]
"""Told after every video: what is being done, how many are, of how many."""


@dataclass(frozen=True, kw_only=True)
class CalibrationWish:
    """To fit a calibration on the measured videos."""

    scaling: ScalingWish
    rates: Rates
    policy: str = "default"


@dataclass(frozen=True, kw_only=True)
class EvaluationWish:
    """What a caller asks for."""

    manifest: Path
    out: Path
    command: str
    split: str = "validation"
    seed: int = 0
    resamples: int = 1000
    resume: bool = False
    skip_bad: bool = False
    """Go on without videos that are missing, unreadable or without a face; they are counted all the same."""
    baseline_manifest: Path | None = None
    """Whose training split the trivial baseline learns on, and says which generators were there to learn from; None for
    the same manifest."""
    robustness: RobustnessWish | None = None
    calibration: CalibrationWish | None = None
    beside: Mapping[str, Path] = field(default_factory=dict)
    """Files of predictions by other networks over the same videos."""
    left_out: Mapping[str, Path] = field(default_factory=dict)
    """Files of predictions, by the generator that their network did not see."""
    options: AnalysisOptions = field(default_factory=AnalysisOptions)


def evaluate(wish: EvaluationWish, detector: Detector, step: Step = lambda *_: None) -> EvaluationReport:
    """Run what is missing, and write the report.

    Raises BadVideos (after everything was kept) unless they are to be skipped, EvaluationError for an empty split,
    results that are in the way, or other files that do not fit, CalibrationError (after the report was written) where a
    calibration was asked for and the scores say nothing, and DatasetError for a manifest that cannot be used.
    """
    _refuse_overwriting(wish)
    manifest = Manifest.from_csv(wish.manifest)
    videos = listed(manifest, wish.split)
    if not wish.skip_bad:
        require_files(videos)
    beside = {name: read_predictions(path) for name, path in wish.beside.items()}
    left_out = {name: read_predictions(path) for name, path in wish.left_out.items()}
    predictions = _predictions(wish, videos, detector, step)
    if not wish.skip_bad:
        require_usable(videos, predictions)
    teaching = Manifest.from_csv(wish.baseline_manifest) if wish.baseline_manifest else manifest
    trivial, origin = _trivial(wish, videos, teaching, step)
    proposed, impossible = _proposed(wish, predictions)
    material = Material(
        model=detector.card.model,
        predictions=predictions,
        lines={video.subject.path: video.line for video in videos},
        trivial=trivial,
        calibration=detector.card.calibration,
        proposed=proposed,
        beside=beside,
        left_out=left_out,
        perturbed=_perturbed(wish, videos, detector, step),
        learnt_generators=_learnt_generators(teaching),
    )
    sampler = Sampler(seed=wish.seed, resamples=wish.resamples)
    report = compose(material, provenance(wish, detector, origin), sampler)
    write_report(report, wish.out)
    if impossible is not None:
        raise impossible
    return report


def read_predictions(path: Path) -> list[Prediction]:
    """Of a file that an evaluation left. Raises EvaluationError for what is none, and for one that cannot be read."""
    try:
        _, lines, _ = read_ledger(path)
        return latest(lines)
    except OSError as error:
        raise EvaluationError(f"There is no file {path.name} that can be read.") from error
    except ValueError as error:
        raise EvaluationError(f"{path.name} is no file of predictions.") from error


def provenance(wish: EvaluationWish, detector: Detector, trivial: str) -> Provenance:
    """Everything needed to run the same again."""
    pipeline, sampling = describe(detector), wish.options.sampling
    return Provenance(
        manifest=wish.manifest.name,
        manifest_sha256=sha256_of(wish.manifest),
        split=wish.split,
        model=pipeline.model,
        weights_sha256=pipeline.pack_sha256,
        scoring_sha256=pipeline.scoring_sha256,
        calibration=pipeline.calibration,
        code_version=pipeline.code_version,
        seed=wish.seed,
        resamples=wish.resamples,
        command=wish.command,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        device=pipeline.device,
        precision=pipeline.precision,
        pooling=wish.options.policy.pooling_name,
        sampling=f"{sampling.mode}, {sampling.clips} clips",
        trivial_baseline=trivial,
        libraries=pipeline.libraries,
    )


def _ledger(wish: EvaluationWish, name: str, head: Mapping[str, Any]) -> Ledger:
    return Ledger(wish.out / name, {"kind": name.partition(".")[0], **head})


def _refuse_overwriting(wish: EvaluationWish) -> None:
    """Hours of work are not lost to a forgotten option."""
    found = [name for name in LEDGERS if (wish.out / name).exists()]
    if found and not wish.resume:
        raise EvaluationError(f"{wish.out.name} holds {found[0]} already: resume it, or name another folder.")


def _head(wish: EvaluationWish, detector: Detector) -> dict[str, Any]:
    """Where any of these differs, a score would."""
    options = wish.options
    return {
        "manifest_sha256": sha256_of(wish.manifest),
        "weights_sha256": detector.card.weights.sha256,
        "scoring_sha256": measuring(detector).card.scoring_sha256,
        "code_version": describe(detector).code_version,
        "precision": detector.precision,
        "pooling": options.policy.pooling_name,
        "sampling": asdict(options.sampling),
    }


def _predictions(wish: EvaluationWish, videos: Sequence[Listed], detector: Detector, step: Step) -> list[Prediction]:
    ledger, raw = _ledger(wish, "predictions.jsonl", _head(wish, detector)), measuring(detector)
    counted = _counting("judging", len(videos), step)
    files = {video.subject.path: video.file for video in videos}
    return predict_all(
        [video.subject for video in videos],
        ledger,
        lambda subject, _: predict(subject, files[subject.path], raw, wish.options),
        done=lambda _: counted(),
    )


def _trivial(
    wish: EvaluationWish, videos: Sequence[Listed], teaching: Manifest, step: Step
) -> tuple[Contender | None, str]:
    has_training = any(entry.split == TRAINING_SPLIT for entry in teaching.entries)
    teachers = listed(teaching, TRAINING_SPLIT) if has_training else []
    every = list({str(video.file): video for video in (*videos, *teachers)}.values())
    ledger = _ledger(wish, "statistics.jsonl", {})
    counted = _counting("measuring trivial statistics", len(every), step)
    return trivial_contender(teachers, videos, measure_all(every, ledger, done=lambda _: counted()), wish.seed)


def _learnt_generators(teaching: Manifest) -> frozenset[str] | None:
    rows = [entry for entry in teaching.entries if entry.split == TRAINING_SPLIT]
    return frozenset(entry.generator for entry in rows if entry.generator) if rows else None


def _perturbed(wish: EvaluationWish, videos: Sequence[Listed], detector: Detector, step: Step) -> list[Prediction]:
    plan = wish.robustness
    if plan is None:
        return []
    head = {**_head(wish, detector), "seed": plan.seed, "max_clips": plan.max_clips}
    ledger, raw = _ledger(wish, "robustness.jsonl", head), measuring(detector)
    treatments = {perturbation_name(*treatment): treatment for treatment in plan.treatments()}
    counted = _counting("judging perturbed videos", len(videos) * len(treatments), step)
    files = {video.subject.path: video.file for video in videos}

    def judge(subject: Subject, name: str | None) -> Prediction:
        assert name is not None
        return predict_perturbed(subject, files[subject.path], raw, plan, treatments[name], wish.options)

    return predict_all(
        [video.subject for video in videos], ledger, judge, perturbations=list(treatments), done=lambda _: counted()
    )


def _proposed(
    wish: EvaluationWish, predictions: Sequence[Prediction]
) -> tuple[FittedCalibration | None, CalibrationError | None]:
    """Writes it as well. The error, where one was asked for and cannot be had."""
    plan = wish.calibration
    if plan is None:
        return None, None
    scores = video_scores(predictions)
    people = len(set(scores.identities.tolist()))
    try:
        fitted = calibrate(
            scores,
            wish=plan.scaling,
            rates=plan.rates,
            policy=plan.policy,
            measured_on=f"{wish.manifest.name}, split {wish.split}: {len(scores)} videos of {people} identities",
            seed=wish.seed,
        )
    except CalibrationError as error:
        return None, error
    text = json.dumps(calibration_to_json(fitted), indent=2, allow_nan=False)
    (wish.out / "calibration.json").write_text(text + "\n", encoding="utf-8")
    return fitted, None


def calibration_to_json(fitted: FittedCalibration) -> dict[str, Any]:
    """`calibration` is the part of a pack's card; `abstain` and the points stand beside it."""
    return {
        "calibration": fitted.calibration.model_dump(mode="json"),
        "abstain": fitted.abstain,
        "points": [asdict(point) for point in fitted.points],
    }


def read_calibration(path: Path) -> Calibration:
    """The card's part of a `calibration.json`. Raises ValueError for what is none, OSError where it cannot be read."""
    return Calibration.model_validate(json.loads(path.read_text(encoding="utf-8"))["calibration"])


def _counting(what: str, of: int, step: Step) -> Callable[[], None]:
    count = 0

    def one_more() -> None:
        nonlocal count
        count += 1
        step(what, count, of)

    return one_more
