"""How good a network is on identities that it did not learn from, while it trains. Not the evaluation of a pack.

Two figures, because each alone misleads: the share of drawn pairs in which the fake scores above its own original, and
the AUC of the data's generated videos against its real ones.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from styleflow.training.bank import Bank, BankedVideo
from styleflow.training.batches import Batch, BatchMix, Framing, drawn_batch
from styleflow.training.chance import Chance
from styleflow.training.loop import Numbers

Judge = Callable[[Batch], Tensor]
"""[B] scores of a batch's clips, higher for fake."""


def paired_accuracy(
    bank: Bank,
    mix: BatchMix,
    framing: Framing,
    judge: Judge,
    *,
    batches: int,
    seed: int,
    device: torch.device | str = "cpu",
) -> Numbers:
    """Share of pairs in which the fake scores higher, over all kinds (`paired`) and per kind (`paired/<kind>`).

    What is judged is drawn on `device`, where the network is.
    """
    right: defaultdict[str, list[float]] = defaultdict(list)
    for number in range(batches):
        batch = drawn_batch(bank, mix, framing, Chance.seeded(seed, number), torch.device(device))
        scores = judge(batch).cpu()
        for kind, higher in zip(batch.kinds[1::2], (scores[1::2] > scores[::2]).tolist(), strict=True):
            right[kind].append(float(higher))
    every = [value for values in right.values() for value in values]
    by_kind = {f"paired/{kind}": sum(values) / len(values) for kind, values in sorted(right.items())}
    return {"paired": sum(every) / max(1, len(every)), **by_kind}


def video_scores(
    bank: Bank, mix: BatchMix, framing: Framing, judge: Judge, *, device: torch.device | str = "cpu"
) -> Iterator[tuple[BankedVideo, float]]:
    """Every video's mean clip score, as it is stored, without re-encoding."""
    for video in bank.videos:
        clips = (plain_batch(video, number, mix, framing, device) for number in range(video.clips))
        scores = [float(judge(clip)[0]) for clip in clips]
        yield video, sum(scores) / len(scores)


def plain_batch(
    video: BankedVideo, number: int, mix: BatchMix, framing: Framing, device: torch.device | str = "cpu"
) -> Batch:
    """One stored clip from its first frame on, on `device`."""
    span = (mix.frames - 1) * mix.frame_step + 1
    clip = video.clip(number, slice(0, span, mix.frame_step))[0].to(device)
    content = framing.content(clip)
    return Batch(
        content=content[None],
        labels=torch.tensor([float(video.fake)], device=device),
        masks=torch.zeros_like(content[None, :, :1]),
        mask_known=torch.tensor([False], device=device),
        kinds=(video.generator or "real",),
        style=framing.style(clip)[None] if mix.style else None,
    )


def area_under_curve(real: Sequence[float], fake: Sequence[float]) -> float:
    """ROC AUC: how often a fake scores above a real, ties half. NaN where either is missing."""
    if not real or not fake:
        return float("nan")
    difference = torch.tensor(fake, dtype=torch.float64)[:, None] - torch.tensor(real, dtype=torch.float64)[None]
    return float((difference > 0).double().mean() + 0.5 * (difference == 0).double().mean())


def separation(scores: Sequence[tuple[BankedVideo, float]]) -> Numbers:
    """AUC over videos (`auc`), per generator (`auc/<generator>`), and the paired share of the data's own pairs."""
    real = [score for video, score in scores if not video.fake]
    by_generator: defaultdict[str, list[float]] = defaultdict(list)
    for video, score in scores:
        if video.fake:
            by_generator[video.generator].append(score)
    found = {"auc": area_under_curve(real, [score for values in by_generator.values() for score in values])}
    found |= {f"auc/{name}": area_under_curve(real, values) for name, values in sorted(by_generator.items())}
    of_key = {video.key: score for video, score in scores}
    pairs = [(score, of_key[video.pair]) for video, score in scores if video.fake and video.pair in of_key]
    if pairs:
        found["paired/data"] = sum(fake > original for fake, original in pairs) / len(pairs)
    return {name: value for name, value in found.items() if value == value}  # drops what is no number
