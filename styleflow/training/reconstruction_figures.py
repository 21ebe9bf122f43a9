"""How well people come back that the encoder never learnt from, in figures and to look at."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from styleflow.training.batch_norms import statistics_of_the_batch
from styleflow.training.reconstruction import face_weights, weighted_error
from styleflow.training.style_pictures import PictureRun, StylePictures

Map = Callable[[Tensor], Tensor]
AT_ONCE = 64


def in_parts(mapped: Map, pictures: Tensor) -> Tensor:
    """The same as `mapped(pictures)` where rows do not see each other, without holding everything at once."""
    return torch.cat([mapped(part) for part in torch.split(pictures, AT_ONCE)])


def plain(pictures: Tensor) -> Tensor:
    """uint8 -> float32 in [-1,1]."""
    return pictures.float() / 127.5 - 1


def spread(run: PictureRun, count: int) -> list[int]:
    """Up to `count` frames of a run, evenly spread."""
    frames = len(run.pictures)
    return sorted({index * frames // count for index in range(count)})


def sampled(pictures: StylePictures, frames: int) -> Tensor:
    """`frames` of every clip, and every photo: [N,3,R,R] in [-1,1]; N may be 0."""
    runs = [*pictures.clips, *pictures.photos]
    return plain(torch.cat([run.pictures[spread(run, frames)] for run in runs])) if runs else torch.empty(0)


def reconstruction_figures(module: nn.Module, returned: Map, judged: StylePictures, face: float) -> Mapping[str, float]:
    """On people held back:

    - `error`: mean absolute difference in [-1,1], the middle of the face counting `face` times;
    - `error/mean_picture`: what answering with the mean of these pictures would cost;
    - `error/batch_norms_training`: `error` with the batch norms of `module` in their training mode;
    - `psnr` in dB, over whole pictures;
    - `change`: the share of what differs between frames of a clip, a quarter of it apart, that came back: 1 is all,
      0 is what a reconstruction that never moves would get.
    """
    pictures = sampled(judged, frames=4)
    if not len(pictures):
        return {}
    made = in_parts(returned, pictures)
    # mixed, as training's batches are: frames of one clip would have statistics of their own
    shuffled = pictures[torch.randperm(len(pictures), generator=torch.Generator().manual_seed(0))]
    with statistics_of_the_batch(module):
        training = in_parts(returned, shuffled)
    return {
        "error": weighted_error(made, pictures, face),
        "error/mean_picture": weighted_error(pictures.mean(dim=0, keepdim=True), pictures, face),
        "error/batch_norms_training": weighted_error(training, shuffled, face),
        "psnr": float(-10 * torch.log10(((made - pictures) / 2).square().mean())),
        "change": share_of_change(returned, judged.clips, face),
    }


def share_of_change(returned: Map, runs: Sequence[PictureRun], face: float) -> float:
    """1 - |change that came back - true change| / |true change|; 0 where nothing moves."""
    missed = whole = 0.0
    for run in runs:
        pictures = plain(run.pictures[spread(run, 4)])
        made = returned(pictures)
        should, moved = (row[1:] - row[:-1] for row in (pictures, made))
        mask = face_weights(pictures.shape[-1], face)
        missed += float(((moved - should).abs() * mask).sum())
        whole += float((should.abs() * mask).sum())
    return 1 - missed / whole if whole > 0 else 0.0


def sheet_rows(returned: Map, judged: StylePictures, columns: int = 6) -> list[tuple[Tensor, Tensor]]:
    """One row per identity with clips, frames from different clips first, and one of photos; each beside its return."""
    of_identity: defaultdict[str, list[PictureRun]] = defaultdict(list)
    for run in judged.clips:
        of_identity[run.identity].append(run)
    rows = []
    for runs in of_identity.values():
        chosen = runs[:: max(1, len(runs) // columns)][:columns]
        each = -(-columns // len(chosen))
        rows.append(torch.cat([run.pictures[spread(run, each)] for run in chosen])[:columns])
    if judged.photos:
        rows.append(torch.cat([photo.pictures[:1] for photo in judged.photos[:columns]]))
    return [(plain(row), returned(plain(row))) for row in rows]
