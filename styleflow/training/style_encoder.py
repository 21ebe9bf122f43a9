"""Trains the compact style encoder as an inversion encoder, together with a small style-modulated generator.

What is kept is the encoder, under the names of GradualStyleEncoder. A run's folder holds, besides the loop's
checkpoint and log, `encoder.safetensors`, `generator.safetensors`, `figures.json` and `contact-sheet.png`; they are
written whenever a call ends, whether the run is finished or not.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from styleflow.models.sizes import COMPACT, StyleEncoderSizes
from styleflow.models.style_encoder import GradualStyleEncoder
from styleflow.training.batch_norms import settle_batch_norms
from styleflow.training.chance import Chance
from styleflow.training.contact_sheet import contact_sheet, write_png
from styleflow.training.loop import CHECKPOINT, LoopWish, Numbers, fit
from styleflow.training.reconstruction import Features, LossWeights, reconstruction_loss, weighted_error
from styleflow.training.reconstruction_figures import in_parts, reconstruction_figures, sampled, sheet_rows
from styleflow.training.store import Store
from styleflow.training.style_flow_figures import flow_figures
from styleflow.training.style_generator import StyleGenerator, StyleGeneratorSizes
from styleflow.training.style_pictures import DrawnPictures, PictureMix, StylePictures, drawn_pictures, style_pictures

ENCODER, GENERATOR = "encoder.safetensors", "generator.safetensors"
FIGURES, SHEET = "figures.json", "contact-sheet.png"
SETTLING_BATCHES, SETTLING_PAIRS = 24, 16


@dataclass(frozen=True, kw_only=True)
class EncoderTraining:
    """How the encoder is trained. Encoder and generator must agree in picture size, styles and their width."""

    encoder: StyleEncoderSizes = COMPACT.style_encoder
    generator: StyleGeneratorSizes = field(default_factory=StyleGeneratorSizes)
    mix: PictureMix = field(default_factory=PictureMix)
    weights: LossWeights = field(default_factory=LossWeights)
    loop: LoopWish = field(
        default_factory=lambda: LoopWish(
            steps=10_000, learning_rate=2e-3, optimiser="adam", weight_decay=0.0, average=0.998, judge_every=500
        )
    )
    encoder_rate: float = 0.5
    """The encoder's learning rate, in parts of the generator's."""
    held_back: float = 0.1
    """Share of the identities that are judged by and never learnt from, where the caller does not name them."""

    def __post_init__(self) -> None:
        encoder, generator = self.encoder, self.generator
        ours = (encoder.input_size, encoder.styles, encoder.style_width)
        if ours != (generator.output_size, generator.styles, generator.style_width):
            raise ValueError("the generator must make pictures of the encoder's size from the encoder's styles")


@dataclass(frozen=True)
class TrainedEncoder:
    """How a call of `train_style_encoder` ended."""

    encoder: GradualStyleEncoder
    step: int
    finished: bool
    """False where time ran out: call again to go on."""
    figures: Numbers


@dataclass(eq=False)
class EncoderTrainee:
    """Encoder and generator with their loss, for the loop."""

    wish: EncoderTraining
    learnt: StylePictures
    judged: StylePictures
    features: Features | None = None

    def __post_init__(self) -> None:
        torch.manual_seed(self.wish.loop.seed)
        self.encoder = GradualStyleEncoder(self.wish.encoder)
        self.generator = StyleGenerator(self.wish.generator)
        self.module: nn.Module = nn.ModuleDict({"encoder": self.encoder, "generator": self.generator})
        self.module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def groups(self, wish: LoopWish) -> list[dict[str, Any]]:
        return [
            {"params": list(self.encoder.parameters()), "lr": wish.learning_rate * self.wish.encoder_rate},
            {"params": list(self.generator.parameters()), "lr": wish.learning_rate},
        ]

    def draw(self, step: int, chance: Chance) -> DrawnPictures:  # noqa: ARG002  # every step is alike
        return drawn_pictures(self.learnt, self.wish.mix, chance)

    def loss(self, drawn: DrawnPictures) -> tuple[Tensor, Numbers]:
        device = self.generator.constant.device
        made = self.returned(drawn.seen.to(device)).float()
        wanted = drawn.wanted.to(device).contiguous(memory_format=torch.channels_last)
        return reconstruction_loss(made, wanted, drawn.neighbours.to(device), self.wish.weights, self.features)

    def judge(self) -> Numbers:
        """`error` is what reconstruction costs on people held back; `goal` its negative."""
        pictures = sampled(self.judged, frames=1).to(self.generator.constant.device)
        if not len(pictures):
            return {}
        error = weighted_error(in_parts(self.returned, pictures), pictures, self.wish.weights.face)
        return {"error": error, "goal": -error}

    def returned(self, pictures: Tensor) -> Tensor:
        """Through the encoder and back. [N,3,R,R] -> [N,3,R,R], in the modules' present mode."""
        styles = self.encoder(pictures.contiguous(memory_format=torch.channels_last))
        made: Tensor = self.generator(styles)
        return made


def train_style_encoder(
    store: Store,
    out: Path,
    wish: EncoderTraining,
    *,
    features: Features | None = None,
    held_back: Collection[str] | None = None,
    without_generators: Collection[str] = (),
    device: torch.device | str = "cpu",
    stop_after_seconds: float = math.inf,
    say: Callable[[str], None] = lambda _: None,
) -> TrainedEncoder:
    """Train from the folder's checkpoint, or from the start, until the steps or the time are used up.

    `features` adds a perceptual loss; it must be on the device, and is not trained. `held_back` names the identities
    that are judged by and never learnt from; fakes of `without_generators` are neither. The returned encoder is the
    average, on the CPU, in eval mode, its batch norms settled. Raises StoreError, TrainingDiverged, and ValueError for
    a store without pictures.
    """
    pictures = style_pictures(store, wish.encoder.input_size, without_generators=without_generators)
    if held_back is None:
        learnt, judged = pictures.held_back(wish.held_back)
    else:
        learnt, judged = (
            pictures.where(lambda name: name not in held_back),
            pictures.where(lambda name: name in held_back),
        )
    trainee = EncoderTrainee(wish, learnt, judged, features)
    fitted = fit(trainee, out, wish.loop, device=device, stop_after_seconds=stop_after_seconds, say=say)
    return kept(trainee, out, fitted.step, finished=fitted.finished)


def kept(trainee: EncoderTrainee, out: Path, step: int, *, finished: bool) -> TrainedEncoder:
    """Write what the checkpoint's average is worth: parameters, figures and contact sheet."""
    trainee.module.to("cpu").load_state_dict(average_in(out / CHECKPOINT))
    settle_batch_norms(trainee.encoder, _settling(trainee))
    trainee.module.eval()
    judged, encode = trainee.judged, partial(in_parts, trainee.encoder)
    with torch.inference_mode():
        found = {"step": float(step)}
        found |= reconstruction_figures(trainee.module, trainee.returned, judged, trainee.wish.weights.face)
        found |= flow_figures(encode, judged.clips)
        rows = sheet_rows(trainee.returned, judged)
    _write_parameters(out / ENCODER, trainee.encoder)
    _write_parameters(out / GENERATOR, trainee.generator)
    _write_figures(out / FIGURES, found)
    if rows:
        write_png(out / SHEET, contact_sheet(rows, enlarged=2))
    return TrainedEncoder(trainee.encoder, step, finished, found)


def average_in(checkpoint: Path) -> dict[str, Tensor]:
    """The averaged parameters in a checkpoint of the loop (the last ones where it keeps no average), by name:
    `encoder.*` and `generator.*`."""
    found = torch.load(checkpoint, map_location="cpu", weights_only=True)
    chosen: dict[str, Tensor] = found["progress"]["best"] or found["progress"]["average"] or found["module"]
    return chosen


def _settling(trainee: EncoderTrainee) -> Iterator[Tensor]:
    """Pictures as they are served, mixed over people, for the batch norms' statistics."""
    chance = Chance.seeded(trainee.wish.loop.seed, 2**30)
    mix = replace(trainee.wish.mix, pairs=SETTLING_PAIRS, moved=0.0, coded=0.25)
    for _ in range(SETTLING_BATCHES):
        yield drawn_pictures(trainee.learnt, mix, chance).seen


def _write_parameters(path: Path, module: nn.Module) -> None:
    unfinished = path.with_suffix(f".{os.getpid()}.part")
    save_file({name: value.contiguous() for name, value in module.state_dict().items()}, unfinished)
    os.replace(unfinished, path)


def _write_figures(path: Path, found: Numbers) -> None:
    unfinished = path.with_suffix(f".{os.getpid()}.part")
    unfinished.write_text(json.dumps(dict(found), indent=2) + "\n", encoding="utf-8")
    os.replace(unfinished, path)
