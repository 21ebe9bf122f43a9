"""Predictions of a detector that is as good as asked for."""

from __future__ import annotations

import numpy as np

from styleflow.evaluation.predictions import Prediction, Subject, TrackLogits


def subject(
    number: int, label: str, *, generator: str | None = None, pair: str | None = None, **changes: str
) -> Subject:
    told = {"identity": f"person-{number}", "split": "validation", "dataset": "drawn", **changes}
    return Subject(
        path=f"{label}/{generator or 'camera'}-{number}.mp4",
        label="fake" if label == "fake" else "real",
        generator=generator,
        pair=pair,
        **told,
    )


def scored(of: Subject, logit: float, perturbation: str | None = None) -> Prediction:
    probability = 1 / (1 + np.exp(-logit))
    return Prediction(
        subject=of,
        outcome="scored",
        logit=logit,
        tracks=(TrackLogits(logits=(logit,), spans=((0, 31),)),),
        frame_scores=(round(float(probability), 6),) * 3,
        perturbation=perturbation,
    )


def predictions(
    *, people: int = 20, gap: float = 2.0, seed: int = 0, generators: tuple[str, ...] = ("swap", "talk")
) -> list[Prediction]:
    """A real and a fake of every person; the fake's logit is higher by `gap` on average."""
    random = np.random.default_rng(seed)
    lines = []
    for number in range(people):
        real = subject(number, "real")
        fake = subject(number, "fake", generator=generators[number % len(generators)], pair=real.path)
        lines.append(scored(real, float(random.normal())))
        lines.append(scored(fake, float(random.normal() + gap)))
    return lines
