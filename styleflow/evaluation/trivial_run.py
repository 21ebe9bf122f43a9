"""The trivial baseline over manifests: measure every video once, learn on one part, score another."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from styleflow.errors import JobError
from styleflow.evaluation.baselines import (
    TrivialStatistics,
    cross_validated_logits,
    statistics_from_json,
    statistics_to_json,
    trivial_detector,
    trivial_logits,
    trivial_statistics,
)
from styleflow.evaluation.discrimination_tables import Contender
from styleflow.evaluation.ledger import Ledger
from styleflow.evaluation.roster import Listed
from styleflow.evaluation.scores import EvaluationError

NAME = "trivial statistics"
FOLDS = 5
Measurements = Mapping[str, TrivialStatistics]
"""By the video's file."""


def measure_all(
    videos: Sequence[Listed], ledger: Ledger, *, done: Callable[[Listed], None] = lambda _: None
) -> Measurements:
    """Statistics of every video that can be opened; those of the ledger are not measured again."""
    known = {line["file"]: statistics_from_json(line["statistics"]) for line in ledger.resume()}
    for video in videos:
        file = str(video.file)
        if file not in known:
            try:
                known[file] = trivial_statistics(video.file)
            except (JobError, OSError):
                pass  # the prediction of the same video says why
            else:
                ledger.add({"file": file, "statistics": statistics_to_json(known[file])})
        done(video)
    return known


def trivial_contender(
    learnt_on: Sequence[Listed], scored: Sequence[Listed], measured: Measurements, seed: int
) -> tuple[Contender | None, str]:
    """Scores of the videos of `scored`, and in words what was learnt on.

    Without videos to learn on, or where both lists share one, each video is scored by a regression on the other
    identities of `scored`. None where a class is missing.
    """
    known = [video for video in scored if str(video.file) in measured]
    teachers = [video for video in learnt_on if str(video.file) in measured]
    rows = [measured[str(video.file)] for video in known]
    apart = not {str(video.file) for video in teachers} & {str(video.file) for video in known}
    try:
        if teachers and apart:
            model = trivial_detector(_labels(teachers), [measured[str(video.file)] for video in teachers])
            logits: NDArray[np.float64] = trivial_logits(model, rows) if rows else np.empty(0)
            origin = f"{len(teachers)} videos of the training split"
        else:
            people = [video.subject.identity for video in known]
            logits = cross_validated_logits(_labels(known), rows, people, folds=FOLDS, seed=seed)
            origin = "the measured videos themselves, each scored by a fit on other identities"
    except EvaluationError as error:
        return None, f"nothing: {error}"
    values = {video.subject.path: float(logit) for video, logit in zip(known, logits, strict=True)}
    return Contender(name=NAME, values=values), origin


def _labels(videos: Sequence[Listed]) -> list[int]:
    return [int(video.subject.label == "fake") for video in videos]
