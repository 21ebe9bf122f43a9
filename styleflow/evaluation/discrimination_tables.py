"""How well fakes are told from reals: over all videos, per generator, per data set, without one generator."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from styleflow.datasets.manifest import UNKNOWN
from styleflow.evaluation.bootstrap import Measured
from styleflow.evaluation.metrics import DISCRIMINATION, curve_measures, discrimination
from styleflow.evaluation.predictions import Prediction, Subject, frame_scores, scores_of_subjects
from styleflow.evaluation.scores import Indices, Scores
from styleflow.evaluation.tables import Cell, Sampler, Table, counts, explained

LEAST_REALS_NOTE = "With fewer real videos than 1 / rate, a true positive rate is the one without any false positive."
_COUNTS = ("real", "fake", "identities")


@dataclass(frozen=True, kw_only=True)
class Contender:
    """Something that scores videos: the model, another one beside it, the trivial statistics."""

    name: str
    values: Mapping[str, float]
    """By the video's path, higher for fake."""

    @classmethod
    def of(cls, name: str, predictions: Iterable[Prediction]) -> Contender:
        """The scored videos' pooled logits."""
        found = {line.subject.path: line.logit for line in predictions if line.logit is not None}
        return cls(name=name, values=found)

    def scores(self, subjects: Sequence[Subject]) -> Scores:
        """Rows of those that it scored."""
        known = [subject for subject in subjects if subject.path in self.values]
        return scores_of_subjects(known, [self.values[subject.path] for subject in known])


def overall_table(
    subjects: Sequence[Subject],
    contenders: Sequence[Contender],
    trivial: Contender | None,
    predictions: Sequence[Prediction],
    sampler: Sampler,
) -> Table:
    """One row a contender, videos as units, the trivial statistics beside them; the first contender's frames last."""
    rows: list[tuple[Cell, ...]] = []
    for contender in (*contenders, *([trivial] if trivial else [])):
        scores = contender.scores(subjects)
        gain: Cell = "-" if contender is trivial else lead_over(contender, trivial, subjects, sampler)
        rows.append((contender.name, *discrimination_cells(scores, sampler), gain))
    frames = frame_scores(predictions)
    measured = sampler.measure(frames, lambda rows: curve_measures(frames.labels[rows], frames.values[rows]))
    why = Measured.missing("a measure of videos")
    cells = [explained(measured.get(name, why), frames) for name in DISCRIMINATION]
    rows.append((f"{contenders[0].name}, frames", *counts(frames), *cells, "-"))
    return Table(
        key="overall",
        title="All videos",
        note="The last column is the AUC less that of the trivial statistics, on the videos that both score. "
        + LEAST_REALS_NOTE,
        columns=("detector", *_COUNTS, *DISCRIMINATION, "AUC lead"),
        rows=tuple(rows),
    )


def lead_over(
    contender: Contender, trivial: Contender | None, subjects: Sequence[Subject], sampler: Sampler
) -> Measured:
    """AUC of the one less that of the other, resampled together."""
    if trivial is None:
        return Measured.missing("no trivial baseline")
    common = [subject for subject in subjects if subject.path in contender.values and subject.path in trivial.values]
    ours, theirs = contender.scores(common), trivial.scores(common)

    def difference(rows: Indices) -> dict[str, float]:
        labels = ours.labels[rows]
        return {
            "lead": curve_measures(labels, ours.values[rows])["auc"]
            - curve_measures(labels, theirs.values[rows])["auc"]
        }

    return explained(sampler.measure(ours, difference)["lead"], ours)


def generator_table(
    subjects: Sequence[Subject], model: Contender, trivial: Contender | None, sampler: Sampler
) -> Table:
    """The fakes of each generator against all reals of the set."""
    groups = {name: [s for s in subjects if s.label == "real" or s.generator == name] for name in generators(subjects)}
    return _grouped(
        "generators",
        "Per generator",
        "Fakes of one generator against all real videos.",
        "generator",
        groups,
        model,
        trivial,
        sampler,
    )


def novelty_table(
    subjects: Sequence[Subject], contenders: Sequence[Contender], learnt: Collection[str], sampler: Sampler
) -> Table:
    """Fakes by generators that the training split has, and by those that it has not, for every contender."""
    named = [name for name in generators(subjects) if name != UNKNOWN]  # two unknown ones need not be the same
    known = [name for name in named if name in learnt]
    new = [name for name in named if name not in learnt]
    groups = {"learnt from": known, "new": new}
    rows = []
    for group, names in groups.items():
        chosen = [subject for subject in subjects if subject.label == "real" or subject.generator in names]
        for contender in contenders if names else ():
            rows.append((group, contender.name, *discrimination_cells(contender.scores(chosen), sampler)))
    members = "; ".join(f"{group}: {', '.join(names) or 'none'}" for group, names in groups.items())
    return Table(
        key="novelty",
        title="Generators that were there to learn from, and others",
        note="Fakes of several generators against all real videos. The manifest says whose fakes the training split "
        f"has, which holds for networks that were trained on it ({members}).",
        columns=("generators", "detector", *_COUNTS, *DISCRIMINATION),
        rows=tuple(rows),
    )


def dataset_table(subjects: Sequence[Subject], model: Contender, trivial: Contender | None, sampler: Sampler) -> Table:
    """Each data set by itself: across sets, nothing but the videos changes."""
    names = sorted({subject.dataset for subject in subjects})
    groups = {name: [subject for subject in subjects if subject.dataset == name] for name in names}
    return _grouped(
        "datasets", "Per data set", "Real and fake videos of one data set.", "data set", groups, model, trivial, sampler
    )


def left_out_table(runs: Mapping[str, Sequence[Prediction]], sampler: Sampler) -> Table:
    """`runs` maps a generator to the predictions of a network that never saw it."""
    rows = []
    for name, predictions in sorted(runs.items()):
        subjects = [line.subject for line in predictions if line.subject.generator in (None, name)]
        scores = Contender.of(name, predictions).scores(subjects)
        rows.append((name, *discrimination_cells(scores, sampler)))
    return Table(
        key="left_out",
        title="Leave one generator out",
        note="Each row is another network, trained without that generator: its fakes against all real videos.",
        columns=("generator left out", *_COUNTS, *DISCRIMINATION),
        rows=tuple(rows),
    )


def _grouped(
    key: str,
    title: str,
    note: str,
    column: str,
    groups: Mapping[str, Sequence[Subject]],
    model: Contender,
    trivial: Contender | None,
    sampler: Sampler,
) -> Table:
    rows = []
    for name, subjects in groups.items():
        beside = trivial.scores(subjects) if trivial else None
        other = discrimination_cells(beside, sampler)[len(_COUNTS)] if beside else Measured.missing("not computed")
        rows.append((name, *discrimination_cells(model.scores(subjects), sampler), other))
    columns = (column, *_COUNTS, *DISCRIMINATION, "trivial AUC")
    return Table(key=key, title=title, note=note, columns=columns, rows=tuple(rows))


def generators(subjects: Iterable[Subject]) -> list[str]:
    """That made any of the fakes."""
    return sorted({subject.generator for subject in subjects if subject.label == "fake" and subject.generator})


def discrimination_cells(scores: Scores, sampler: Sampler) -> tuple[Cell, ...]:
    """Counts, then the measures of DISCRIMINATION."""
    if not len(scores):
        return (0, 0, 0, *(Measured.missing("no video was scored") for _ in DISCRIMINATION))
    measured = sampler.measure(scores, lambda rows: discrimination(scores.take(rows)))
    return (*counts(scores), *(explained(measured[name], scores, name) for name in DISCRIMINATION))
